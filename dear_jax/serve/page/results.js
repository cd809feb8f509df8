import * as api from './api.js';
import { saveUrl } from './files.js';

const $ = (id) => document.getElementById(id);

/** Restoring, and what can be done with the result. */
export class Results {
  /** @param {object} page What belongs to the page, see main.js. */
  constructor(page) {
    this._page = page;
    const save = (what) => () => saveUrl(api.resultUrl(page.current.photo.id, what));
    const actions = {
      restore: () => this._restore([page.current]),
      'restore-all': () => this._restore(page.desk.entries),
      cancel: () => this._cancel(),
      'save-photo': save('file'),
      'save-mask': save('mask'),
      'save-both': save('both'),
      continue: () => this._goOn(),
      zip: () => this._saveAll(),
    };
    for (const [id, action] of Object.entries(actions)) $(id).addEventListener('click', action);
  }

  /**
   * Shows the result of a photo, or its marks.
   * @param {?import('./desk.js').Entry} entry
   * @param {boolean} shown Whether the result is.
   */
  show(entry, shown) {
    const result = entry?.photo?.result ?? null;
    $('mode-result').disabled = !result;
    $('mode-result').setAttribute('aria-pressed', String(shown));
    $('mode-marks').setAttribute('aria-pressed', String(!shown));
    $('mark-part').hidden = shown;
    $('result-part').hidden = !shown;
    for (const id of ['compare', 'tag-before', 'tag-after']) $(id).hidden = !shown;
    if (!shown || !result) return;
    $('result-size').textContent =
      `${result.width} × ${result.height} pixels, from ${entry.photo.width} × ${entry.photo.height}`;
    const remarks = result.remarks.map((words) => {
      const item = document.createElement('li');
      item.textContent = words.charAt(0).toUpperCase() + words.slice(1);
      return item;
    });
    $('remarks').replaceChildren(...remarks);
  }

  /** Shows what came of a job. */
  async ended(entry, job) {
    const { compare, current, desk, messages, showMode, viewer } = this._page;
    entry.sentence = job.state === 'failed' ? job.message : '';
    desk.learn(entry, entry.photo);
    if (job.kind !== 'restore' || entry !== current) {
      if (job.state === 'failed' && entry === current) messages.fail(job.message);
      return;
    }
    if (job.state === 'failed') {
      messages.fail(job.message);
    } else if (job.state === 'cancelled') {
      messages.say('Cancelled. Your marks are still there.');
    } else if (job.state === 'done') {
      entry.shows = 'result';
      await desk.track(desk.prepare(entry));
      if (entry !== this._page.current) return;
      viewer.after = entry.after;
      showMode(true);
      compare.reveal();
      if (document.activeElement === document.body) $('save-photo').focus({ preventScroll: true });
      messages.say('Restored. Drag the line to compare, zoom in for detail.');
    }
  }

  async _restore(entries) {
    const { controls, desk, messages, work } = this._page;
    const open = entries.filter((entry) => entry?.state === 'here' && !entry.job);
    messages.clear();
    const restore = async (entry) => {
      try {
        const job = await work.restore(entry, controls.options(entry.photo));
        await this.ended(entry, job);
        return job.state === 'done';
      } catch (error) {
        entry.sentence = error.message;
        desk.learn(entry, entry.photo);
        if (entry === this._page.current) messages.fail(error);
        return false;
      }
    };
    const done = await Promise.all(open.map(restore));
    if (open.length < 2) return;
    const failed = open.filter((entry, i) => !done[i] && entry.sentence);
    const count = done.filter(Boolean).length;
    if (failed.length) {
      messages.fail(`${count} of ${open.length} photos are restored. ` +
        failed.map(({ name, sentence }) => `${name}: ${sentence}`).join(' '));
    } else {
      messages.say(`${count} of ${open.length} photos are restored.`);
    }
  }

  async _cancel() {
    const { current, messages, work } = this._page;
    $('cancel').disabled = true;
    try {
      await work.cancel(current);
    } catch (error) {
      messages.fail(error);
    } finally {
      $('cancel').disabled = false;
    }
  }

  async _goOn() {
    const { choose, current, desk, messages } = this._page;
    $('continue').disabled = true;
    try {
      choose(desk.adopt(await api.goOn(current.photo.id)));
      messages.say('The result is open as a new photo.');
    } catch (error) {
      messages.fail(error);
    } finally {
      $('continue').disabled = false;
    }
  }

  _saveAll() {
    const ids = this._page.desk.entries
      .filter(({ photo }) => photo?.result)
      .map(({ photo }) => photo.id);
    saveUrl(api.zipUrl(ids));
  }
}
