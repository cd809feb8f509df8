import { saveBlob } from './files.js';
import { decodeMask, encodeMask } from './png.js';
import { toRuns } from './shapes.js';

const $ = (id) => document.getElementById(id);

/** The buttons that change what is marked. */
export class MarkButtons {
  /** @param {object} page What belongs to the page, see main.js. */
  constructor(page) {
    this._page = page;
    const apply = (step) => () => page.current?.history?.apply(step());
    const actions = {
      undo: () => page.current?.history?.undo(),
      redo: () => page.current?.history?.redo(),
      invert: apply(() => ({ kind: 'invert' })),
      clear: apply(() => ({ kind: 'clear' })),
      widen: apply(() => ({ kind: 'widen', radius: this._widening() })),
      find: () => this._find([page.current]),
      'find-all': () => this._find(page.desk.entries),
      'save-marks': () => this._save(),
    };
    for (const [id, action] of Object.entries(actions)) $(id).addEventListener('click', action);
    for (const name of ['brush', 'eraser', 'rectangle', 'lasso', 'move']) {
      $(name).addEventListener('click', () => {
        page.showMode(false);
        page.tools.choose(name);
      });
    }
    $('load-marks').addEventListener('change', () => this._load());
    $('brush-size').addEventListener('input', () => this._showSize());
    page.viewer.onMarks = () => {
      this.show();
      page.desk.marked(page.current);
    };
  }

  /** Shows what can be undone and so on. */
  show() {
    const history = this._page.current?.history;
    $('undo').disabled = !history?.canUndo && !history?.drawing;
    $('redo').disabled = !history?.canRedo;
    for (const id of ['widen', 'invert', 'clear', 'save-marks']) $(id).disabled = !history;
  }

  /** Shows whether damage is looked for, or something else is done. */
  showJob(job) {
    const busy = job !== null;
    $('find').disabled = busy || this._page.current?.state !== 'here';
    $('find').toggleAttribute('data-busy', job?.kind === 'damage');
    $('find').querySelector('span').textContent =
      job?.kind === 'damage' ? 'Looking for damage …' : 'Find damage for me';
  }

  /** Gives the brush a size that suits a photo. @param {import('./api.js').Photo} photo */
  fitBrush({ width, height }) {
    const long = Math.max(width, height);
    const most = Math.max(20, Math.round(long / 3));
    const input = $('brush-size');
    if (Number(input.max) !== most) {
      input.max = most;
      input.value = Math.max(3, Math.round(long / 30));
    }
    this._showSize();
  }

  _showSize() {
    const { value } = $('brush-size');
    $('brush-size-value').textContent = value === '1' ? '1 pixel' : `${value} pixels`;
    $('brush-size').setAttribute('aria-valuetext', $('brush-size-value').textContent);
  }

  _widening() {
    const { width, height } = this._page.current.photo;
    return Math.max(1, Math.round(Math.max(width, height) / 400));
  }

  async _find(entries) {
    const { controls, desk, messages, work } = this._page;
    const open = entries.filter((entry) => entry?.state === 'here' && !entry.job);
    messages.clear();
    this._page.showMode(false);
    const find = async (entry) => {
      try {
        const job = await work.find(entry, controls.sensitivity);
        entry.sentence = job.state === 'failed' ? job.message : '';
        if (entry === this._page.current) this._tell(entry, job);
      } catch (error) {
        entry.sentence = error.message;
        if (entry === this._page.current) messages.fail(error);
      }
      desk.learn(entry, entry.photo);
    };
    await Promise.all(open.map(find));
    if (open.length > 1) messages.say(this._summary(open));
  }

  _tell(entry, job) {
    const { messages } = this._page;
    if (job.state === 'failed') messages.fail(job.message);
    if (job.state !== 'done') return;
    const percent = entry.history.share * 100;
    const amount = percent < 1 ? 'less than 1' : Math.round(percent);
    messages.say(entry.found
      ? `${amount} % of the photo is marked. Correct the marks as you like.`
      : 'No damage was found. Try more sensitivity, or mark it by hand.');
  }

  _summary(entries) {
    const found = entries.filter((entry) => entry.found).length;
    return `Damage was found in ${found} of ${entries.length} photos.`;
  }

  async _load() {
    const { current, messages } = this._page;
    const [file] = $('load-marks').files;
    $('load-marks').value = '';
    if (!file || !current?.history) return;
    const { width, height } = current.photo;
    try {
      const mask = await decodeMask(file, width, height);
      current.history.apply({ kind: 'loaded', runs: toRuns(mask) });
      messages.say('The marks were loaded.');
    } catch (error) {
      messages.fail(error);
    }
  }

  _save() {
    const { name, history } = this._page.current;
    const { data, width, height } = history.mask;
    saveBlob(encodeMask(data, width, height), `${name.replace(/\.[^.]*$/, '')}-mask.png`);
  }
}
