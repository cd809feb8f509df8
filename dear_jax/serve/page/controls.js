import * as api from './api.js';
import { asSentence, sizeInWords, timeInWords } from './messages.js';

const PAUSE = 150; // Milliseconds without a change, before a plan is asked for.
const KEPT = 'dear-options';
const ids = ['width', 'height', 'denoise', 'denoise-auto', 'texture', 'keep', 'grain', 'sensitivity'];

/** What is wanted of a photo: the size and the rest, and the plan for it. */
export class Controls {
  /** @param {() => void} onPlan Called when another plan is shown. */
  constructor(onPlan) {
    this._onPlan = onPlan;
    this._photo = null;
    this._about = { denoise: false, texture: false };
    this._timer = 0;
    this._stop = null;
    /** Whether the photo can be restored as it is wanted. */
    this.possible = false;
    this._inputs = Object.fromEntries(ids.map((id) => [id, document.getElementById(id)]));
    this._sizes = [...document.querySelectorAll('#size-choice input[name=size]')];
    this._plan = document.getElementById('plan');
    this._recall();
    this._watch();
    this._show();
  }

  /** Shows what the model can do. @param {object} about */
  setAbout(about) {
    this._about = about;
    document.getElementById('denoise-box').hidden = !about.denoise;
    document.getElementById('texture-box').hidden = !about.texture;
  }

  /** Takes another photo. @param {?import('./api.js').Photo} photo */
  setPhoto(photo) {
    const other = photo?.id !== this._photo?.id;
    this._photo = photo;
    if (other) {
      this.possible = false;
      this._plan.textContent = photo ? '…' : '';
      if (photo && this._choice !== 'own') this._inputs.width.value = 2 * photo.width;
      this._lockShape('width');
      this._show();
    }
    this.replan();
  }

  /** How sensitive the search for damage is, from 0 to 1. */
  get sensitivity() {
    return Number(this._inputs.sensitivity.value);
  }

  /**
   * What the server is asked for.
   * @param {import('./api.js').Photo} photo
   * @returns {object}
   */
  options(photo) {
    const { width, height, denoise, texture, keep, grain } = this._inputs;
    const options = {};
    const choice = this._choice;
    if (choice === 'own') {
      const across = Number(width.value) || photo.width;
      const down = photo.id === this._photo?.id ? Number(height.value) : 0;
      options.size = [across, down || follow(across, photo.height / photo.width)];
    } else if (choice !== '1') {
      options.scale = Number(choice);
    }
    if (this._about.denoise) {
      options.denoise = this._inputs['denoise-auto'].checked ? 'auto' : Number(denoise.value);
    }
    if (this._about.texture && Number(texture.value) > 0) options.texture = Number(texture.value);
    if (keep.checked) options.keep_known = true;
    if (grain.checked) options.grain = true;
    return options;
  }

  /** Asks what restoring would take, soon. */
  replan() {
    clearTimeout(this._timer);
    this._stop?.abort();
    this._plan.dataset.state = this._photo ? 'waiting' : '';
    if (!this._photo) return;
    this._timer = setTimeout(() => this._ask(), PAUSE);
  }

  get _choice() {
    return this._sizes.find((input) => input.checked)?.value ?? '1';
  }

  _watch() {
    const { width, height } = this._inputs;
    width.addEventListener('input', () => this._lockShape('width'));
    height.addEventListener('input', () => this._lockShape('height'));
    for (const input of [...this._sizes, ...Object.values(this._inputs)]) {
      input.addEventListener('input', () => {
        this._show();
        this._keep();
        if (input.id !== 'sensitivity') this.replan();
      });
    }
  }

  _lockShape(given) {
    if (!this._photo) return;
    const { width, height } = this._inputs;
    const shape = this._photo.height / this._photo.width;
    if (given === 'height') {
      width.value = follow(Number(height.value), 1 / shape) || '';
    } else {
      width.value ||= this._photo.width * 2;
      height.value = follow(Number(width.value), shape) || '';
    }
  }

  _show() {
    const own = this._choice === 'own';
    document.getElementById('own-size').dataset.off = String(!own);
    this._inputs.width.disabled = this._inputs.height.disabled = !own;
    const auto = this._inputs['denoise-auto'].checked;
    this._inputs.denoise.disabled = auto;
    say('denoise', auto ? 'as needed' : level(this._inputs.denoise, ['none', 'a little', 'much', 'all']));
    say('texture', level(this._inputs.texture, ['true', 'a little', 'much', 'crisp']));
    say('sensitivity', level(this._inputs.sensitivity, ['lowest', 'low', 'medium', 'high', 'highest']));
  }

  async _ask() {
    const stop = new AbortController();
    this._stop = stop;
    try {
      const plan = await api.plan(this._photo.id, this.options(this._photo), stop.signal);
      if (!stop.signal.aborted) this._answer(plan);
    } catch (error) {
      if (stop.signal.aborted || error instanceof api.Offline) return;
      this._answer({ refusal: error.message });
    }
  }

  _answer(plan) {
    this.possible = !plan.refusal;
    this._plan.dataset.state = plan.refusal ? 'refused' : 'possible';
    if (plan.refusal) {
      this._plan.textContent = asSentence(plan.refusal);
    } else {
      const size = document.createElement('strong');
      const rest = document.createElement('span');
      size.textContent = `${plan.width} × ${plan.height} pixels`;
      const parts = plan.seconds === null ? [] : [`about ${timeInWords(plan.seconds)}`];
      if (plan.bytes) parts.push(`${sizeInWords(plan.bytes)} of memory`);
      rest.textContent = parts.join(', ');
      this._plan.replaceChildren(size, ' ', rest);
    }
    this._onPlan();
  }

  _keep() {
    const kept = { size: this._choice };
    for (const [id, input] of Object.entries(this._inputs)) {
      kept[id] = input.type === 'checkbox' ? input.checked : input.value;
    }
    localStorage.setItem(KEPT, JSON.stringify(kept));
  }

  _recall() {
    let kept;
    try {
      kept = JSON.parse(localStorage.getItem(KEPT)) ?? {};
    } catch {
      return;
    }
    for (const [id, input] of Object.entries(this._inputs)) {
      if (!(id in kept)) continue;
      if (input.type === 'checkbox') input.checked = kept[id] === true;
      else input.value = kept[id];
    }
    for (const input of this._sizes) input.checked = input.value === (kept.size ?? '1');
  }
}

function follow(side, shape) {
  return side > 0 ? Math.max(1, Math.round(side * shape)) : 0;
}

function level(input, words) {
  const share = (input.value - input.min) / (input.max - input.min);
  return words[Math.round(share * (words.length - 1))];
}

function say(id, words) {
  document.getElementById(`${id}-value`).textContent = words;
  document.getElementById(id).setAttribute('aria-valuetext', words);
}
