import * as api from './api.js';
import { pause, persist } from './connection.js';
import { asSentence } from './messages.js';
import { toRuns } from './shapes.js';
import { decodeMask } from './png.js';

const POLL = 250; // Milliseconds between questions about a job; more while it waits.

/** Has the server find damage and restore photos, and tells how far it is. */
export class Work {
  /** @param {import('./desk.js').Desk} desk */
  constructor(desk) {
    this._desk = desk;
  }

  /**
   * Restores a photo.
   * @param {import('./desk.js').Entry} entry
   * @param {object} options
   * @returns {Promise<import('./api.js').Job>} The job when it is over.
   */
  async restore(entry, options) {
    await persist(() => this._desk.store(entry));
    return this._follow(entry, await api.restore(entry.photo.id, options));
  }

  /**
   * Finds damage and marks it. What was found just before is replaced.
   * @param {import('./desk.js').Entry} entry
   * @param {number} sensitivity From 0 to 1.
   * @returns {Promise<import('./api.js').Job>}
   */
  async find(entry, sensitivity) {
    await this._desk.marks(entry);
    return this._follow(entry, await api.findDamage(entry.photo.id, sensitivity));
  }

  /** Goes on with what the server was doing when the page was loaded. */
  async resume(entry) {
    const { job } = entry.photo;
    if (!job || entry.job || !['queued', 'running'].includes(job.state)) return null;
    return this._follow(entry, job);
  }

  /** Cancels what is done with a photo. @param {import('./desk.js').Entry} entry */
  async cancel(entry) {
    if (entry.job) await api.cancel(entry.job.id);
  }

  async _follow(entry, job) {
    const { id, kind } = job;
    this._desk.setJob(entry, job);
    while (job.state === 'queued' || job.state === 'running') {
      await pause(POLL * Math.min(20, 1 + job.ahead));
      if (!this._desk.entries.includes(entry)) return { ...job, state: 'cancelled' };
      try {
        job = await persist(() => api.job(id));
      } catch (error) {
        const sentence = error.status === 404
          ? 'The program was started anew meanwhile. Please try once more.'
          : error.message;
        job = { ...job, state: 'failed', message: sentence };
      }
      if (job.state === 'failed') job.message = asSentence(job.message);
      if (job.state === 'queued' || job.state === 'running') this._desk.setJob(entry, job);
    }
    try {
      if (job.state === 'done') await this._take(entry, kind);
    } finally {
      this._desk.setJob(entry, null);
    }
    return job;
  }

  async _take(entry, kind) {
    if (kind === 'restore') {
      await this._desk.refresh(entry);
      return;
    }
    const history = await this._desk.marks(entry);
    const { id, width, height } = entry.photo;
    const found = await persist(() => api.getDamage(id));
    const runs = toRuns(await decodeMask(found, width, height));
    if (history.last?.kind === 'found') history.undo();
    if (runs.length) history.apply({ kind: 'found', runs });
    this._desk.marked(entry);
    await this._desk.store(entry);
    entry.found = runs.length > 0;
  }
}
