import * as api from './api.js';
import { line, persist } from './connection.js';
import { History } from './history.js';
import { sentenceOf, sizeInWords } from './messages.js';
import { Pictures } from './pictures.js';
import { decodeMask, encodeMask } from './png.js';

const PAUSE = 400; // Milliseconds without a change, before marks are stored.
const RECENT = 4; // Photos whose pictures are kept.

/**
 * A photo on the page.
 * @typedef {object} Entry
 * @property {number} key
 * @property {string} name
 * @property {?File} file Where it came from, if it was opened on this page.
 * @property {'sending'|'here'|'failed'|'gone'} state
 * @property {number} sent From 0 to 1.
 * @property {string} sentence What is wrong with it.
 * @property {?import('./api.js').Photo} photo What the server says of it.
 * @property {?import('./api.js').Job} job What is done with it now.
 * @property {?History} history Its marks.
 * @property {?Pictures} before What is shown of it.
 * @property {?Pictures} after What is shown of its result.
 * @property {?number} revision Of the result that is shown, or is being loaded.
 */

/**
 * The photos that are open. Says 'list' when one came or went, 'entry' when something
 * about one changed (its `detail`), 'picture' when there is something new to draw.
 */
export class Desk extends EventTarget {
  constructor() {
    super();
    /** @type {Entry[]} */
    this.entries = [];
    this._keys = 0;
    this._pending = new Set();
    this._recent = [];
    /** Of a file, at most. */
    this.maxBytes = Infinity;
    line.addEventListener('back', () => this.track(this._reunite()));
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'hidden') this._leave();
    });
    window.addEventListener('pagehide', () => this._leave());
  }

  /** Notes that something must end before the page is at rest. */
  track(promise) {
    const noted = promise.catch(() => {}).finally(() => this._pending.delete(noted));
    this._pending.add(noted);
    return promise;
  }

  /** Resolves when nothing is sent or loaded any more. */
  async rest() {
    while (this._pending.size) await Promise.all(this._pending);
  }

  /** Takes the photos that the server has of this visit. */
  async recall() {
    for (const photo of await api.photos()) this._add({ photo, name: photo.name, state: 'here' });
    this._tell('list');
  }

  /**
   * Opens files. One that fails stops no other.
   * @param {Iterable<File>} files
   * @returns {Entry[]}
   */
  open(files) {
    const entries = [...files].map((file) =>
      this._add({ file, name: file.name || 'pasted.png', state: 'sending' }));
    this._tell('list');
    this.track(this._sendAll(entries));
    return entries;
  }

  /** Takes a photo that the server made. @param {import('./api.js').Photo} photo */
  adopt(photo) {
    const entry = this._add({ photo, name: photo.name, state: 'here' });
    this._tell('list');
    return entry;
  }

  /** Removes a photo. @param {Entry} entry */
  async remove(entry) {
    this.entries = this.entries.filter((other) => other !== entry);
    clearTimeout(entry.timer);
    entry.before?.close();
    entry.after?.close();
    this._tell('list');
    if (entry.photo && entry.state === 'here') await api.remove(entry.photo.id).catch(() => {});
  }

  /** Loads a photo's marks and pictures. @param {Entry} entry */
  async prepare(entry) {
    if (entry.state !== 'here') return;
    const { id, width, height } = entry.photo;
    if (!entry.before) {
      const load = (...view) => persist(() => api.picture(entry.photo.id, ...view));
      const source = { width, height, detail: 1, base: 1, load };
      entry.before = new Pictures(source, () => this._tell('picture', entry));
      entry.started = entry.before.start();
    }
    this._prepareResult(entry);
    this._keepRecent(entry);
    await Promise.all([entry.started, this.marks(entry), entry.afterStarted]);
    if (entry.photo.id === id) this._tell('entry', entry);
  }

  /** The marks of a photo. @param {Entry} entry @returns {Promise<History>} */
  marks(entry) {
    entry.loading ??= (async () => {
      const { id, mask, width, height } = entry.photo;
      const blob = mask ? await persist(() => api.getMask(id)) : null;
      entry.history = new History(width, height, blob ? await decodeMask(blob, width, height) : undefined);
      entry.stored = entry.history.revision;
      return entry.history;
    })();
    return entry.loading;
  }

  /** Notes that marks changed: they are stored soon. @param {Entry} entry */
  marked(entry) {
    clearTimeout(entry.timer);
    let due;
    const soon = new Promise((resolve) => (due = resolve));
    this.track(soon);
    entry.due?.();
    entry.due = due;
    entry.timer = setTimeout(() => {
      due();
      this.track(this.store(entry)).catch(() => {});
    }, PAUSE);
  }

  /** Stores marks now, if they are not. @param {Entry} entry */
  store(entry) {
    clearTimeout(entry.timer);
    entry.due?.();
    const put = async () => {
      const { history } = entry;
      if (!history || entry.state !== 'here' || history.revision === entry.stored) return;
      const { revision } = history;
      const photo = await api.putMask(entry.photo.id, encoded(history));
      entry.stored = revision;
      this.learn(entry, photo);
    };
    entry.putting = (entry.putting ?? Promise.resolve()).catch(() => {}).then(put);
    return entry.putting;
  }

  /** Takes what the server says of a photo. */
  learn(entry, photo) {
    entry.photo = photo;
    if (!photo.result) forgetResult(entry);
    this._tell('entry', entry);
  }

  /** Asks the server about a photo. @param {Entry} entry */
  async refresh(entry) {
    this.learn(entry, await persist(() => api.photo(entry.photo.id)));
  }

  /** Notes how far a photo's job is. */
  setJob(entry, job) {
    entry.job = job;
    this._tell('entry', entry);
  }

  _prepareResult(entry) {
    const { result, id, width, height } = entry.photo;
    if (!result || entry.revision === result.revision) return;
    entry.revision = result.revision;
    const load = (...view) => persist(() => api.resultPicture(id, ...view));
    const base = Math.max(result.width / width, result.height / height);
    const source = { width, height, detail: Infinity, base, load };
    const after = new Pictures(source, () => this._tell('picture', entry));
    // An older result is shown until this one is there.
    entry.afterStarted = after.start().then(() => {
      if (entry.revision !== result.revision) {
        after.close();
        return;
      }
      entry.after?.close();
      entry.after = after;
      this._tell('picture', entry);
    });
  }

  /** Lets go of the pictures of photos that were not looked at lately. */
  _keepRecent(entry) {
    this._recent = [entry, ...this._recent.filter((other) => other !== entry)];
    for (const old of this._recent.splice(RECENT)) {
      old.before?.close();
      old.before = null;
      forgetResult(old);
    }
  }

  _add(known) {
    const entry = {
      key: ++this._keys, file: null, sent: 0, sentence: '', photo: null, job: null,
      history: null, before: null, after: null, revision: null, ...known,
    };
    this.entries.push(entry);
    return entry;
  }

  async _sendAll(entries) {
    for (const entry of entries) await this._send(entry);
  }

  async _send(entry) {
    const progress = (share) => {
      entry.sent = share;
      this._tell('entry', entry);
    };
    try {
      await this._check(entry.file);
      entry.photo = await persist(() => api.upload(entry.file, progress));
      entry.state = 'here';
    } catch (error) {
      entry.state = 'failed';
      entry.sentence = sentenceOf(error);
    }
    this._tell('list');
    this._tell('entry', entry);
  }

  async _check(file) {
    if (file.size > this.maxBytes) {
      const most = sizeInWords(this.maxBytes);
      throw new Error(`This file is larger than ${most}. Use the command dear restore.`);
    }
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Error('This is a folder, or a file that cannot be read. Choose a photo.');
    }
  }

  /** After the line was broken: what the server lost is sent again. */
  async _reunite() {
    const known = new Map((await api.photos()).map((photo) => [photo.id, photo]));
    for (const entry of this.entries.filter(({ state }) => state === 'here')) {
      const photo = known.get(entry.photo.id);
      if (photo) {
        this.learn(entry, photo);
      } else if (entry.file) {
        entry.stored = -1; // The marks are sent again too.
        forgetResult(entry);
        await this._send(entry);
      } else {
        entry.state = 'gone';
        entry.sentence = 'The program was started anew and has forgotten this photo. Open it again.';
        this._tell('entry', entry);
      }
      await this.store(entry).catch(() => {});
    }
    this._tell('list');
  }

  _leave() {
    for (const entry of this.entries) {
      const { history, photo, stored } = entry;
      if (entry.state !== 'here' || !history || history.revision === stored) continue;
      // Browsers send 64 KiB at most when a page is closed; more goes if it is not.
      const blob = encoded(history);
      api.putMask(photo.id, blob, !blob || blob.size < 60_000).then(() => {
        entry.stored = history.revision;
      }, () => {});
    }
  }

  _tell(kind, entry) {
    this.dispatchEvent(new CustomEvent(kind, { detail: entry }));
  }
}

function forgetResult(entry) {
  entry.after?.close();
  [entry.after, entry.revision] = [null, null];
}

function encoded({ empty, mask }) {
  return empty ? null : encodeMask(mask.data, mask.width, mask.height);
}
