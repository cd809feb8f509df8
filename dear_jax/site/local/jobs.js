import { Cancelled } from './link.js';

const EARLY = 0.03; // Share of the work from which the time left is estimated.

/** Runs jobs one by one. */
export class Jobs {
  constructor() {
    this._jobs = new Map(); // By id, oldest first.
    this._running = false;
  }

  /**
   * Queues work on a photo; other work on it that waits or runs is cancelled.
   * @param {string} id Of the job.
   * @param {string} photo
   * @param {'damage'|'restore'} kind
   * @param {(on: object) => Promise<void>} work Called with what to tell: `onLoaded`,
   *   `onProgress`, and a `signal` by which it is cancelled.
   * @returns {import('./api.js').Job}
   */
  add(id, photo, kind, work) {
    const before = this.ofPhoto(photo);
    if (before) this.cancel(before.id);
    const stop = new AbortController();
    const job = { id, photo, kind, state: 'queued', progress: 0, message: '', began: 0, work, stop };
    this._jobs.set(id, job);
    this._next();
    return this.state(id);
  }

  /** How far a job is; null: it is not known. @returns {?import('./api.js').Job} */
  state(id) {
    const job = this._jobs.get(id);
    if (!job) return null;
    const { photo, kind, state, progress, message, began } = job;
    const seconds = (performance.now() - began) / 1000;
    const known = state === 'running' && progress >= EARLY;
    const left = known ? (seconds * (1 - progress)) / progress : null;
    return { id, photo, kind, state, ahead: this._ahead(job), progress, seconds_left: left, message };
  }

  /** The newest job of a photo; null: there is none. */
  ofPhoto(photo) {
    const job = [...this._jobs.values()].findLast((other) => other.photo === photo);
    return job ? this.state(job.id) : null;
  }

  /** Cancels a job: at once for whoever looks, soon for the processor. */
  cancel(id) {
    const job = this._jobs.get(id);
    if (!job || !['queued', 'running'].includes(job.state)) return;
    job.state = 'cancelled';
    job.stop.abort();
  }

  _ahead(job) {
    if (job.state !== 'queued') return 0;
    const waiting = [...this._jobs.values()].filter(({ state }) => state === 'queued');
    return waiting.indexOf(job) + this._running;
  }

  async _next() {
    if (this._running) return;
    const job = [...this._jobs.values()].find(({ state }) => state === 'queued');
    if (!job) return;
    this._running = true;
    await this._run(job);
    this._running = false;
    this._next();
  }

  async _run(job) {
    const end = (state, message) => {
      if (job.state === 'running') Object.assign(job, { state, message });
    };
    Object.assign(job, { state: 'running', began: performance.now() });
    const onLoaded = (share) => {
      job.message = `Loading the model, ${Math.round(100 * share)} %`;
    };
    const onProgress = (share) => {
      if (job.message) Object.assign(job, { message: '', began: performance.now() });
      job.progress = share;
    };
    try {
      await job.work({ onLoaded, onProgress, signal: job.stop.signal });
      end('done', '');
    } catch (error) {
      if (!(error instanceof Cancelled)) end('failed', error.message);
    }
    job.work = null; // With what it holds.
  }
}
