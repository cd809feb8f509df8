const MEMORY = /bad_alloc|memory|allocation/i;

/** Work was cancelled. */
export class Cancelled extends Error {}

/** The worker that runs the models, as the page sees it. */
export class Link {
  constructor() {
    this._worker = null;
    this._asked = new Map(); // Id -> what is told of it.
    this._ids = 0;
  }

  /**
   * Has something done; see engine.js.
   * @param {string} kind
   * @param {object} content
   * @param {object} [more]
   * @param {Transferable[]} [more.transfer]
   * @param {(share: number) => void} [more.onLoaded] Called while files are loaded.
   * @param {(share: number) => void} [more.onProgress]
   * @param {AbortSignal} [more.signal]
   * @returns {Promise<any>}
   * @throws {Cancelled}
   * @throws {Error} With a sentence.
   */
  ask(kind, content, { transfer = [], onLoaded, onProgress, signal } = {}) {
    if (signal?.aborted) return Promise.reject(new Cancelled());
    const id = ++this._ids;
    this._worker ??= this._start();
    return new Promise((resolve, reject) => {
      this._asked.set(id, { resolve, reject, onLoaded, onProgress });
      this._worker.postMessage({ ...content, id, kind }, transfer);
      signal?.addEventListener('abort', () => this._worker?.postMessage({ cancel: id }));
    });
  }

  _start() {
    const worker = new Worker(new URL('engine.js', import.meta.url), { type: 'module' });
    worker.onmessage = ({ data }) => this._take(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this._fail(event.message || 'it could not be started');
    };
    return worker;
  }

  _take({ id, loaded, progress, done, failed }) {
    const told = this._asked.get(id);
    if (!told) return;
    if (loaded !== undefined) {
      told.onLoaded?.(loaded);
    } else if (progress !== undefined) {
      told.onProgress?.(progress);
    } else if (failed) {
      this._fail(failed);
    } else {
      this._asked.delete(id);
      if (failed === '') told.reject(new Cancelled());
      else told.resolve(done);
    }
  }

  /** After something went wrong nothing in the worker is sure: another takes its place. */
  _fail(why) {
    this._worker?.terminate();
    this._worker = null;
    const words = MEMORY.test(why)
      ? 'the memory of this browser was not enough; choose a smaller size'
      : why;
    for (const { reject } of this._asked.values()) reject(new Error(words));
    this._asked.clear();
  }
}
