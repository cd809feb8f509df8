import * as api from './api.js';

const PAUSE = 1500; // Milliseconds between tries.

/** Says 'lost' when the program is not there, 'back' when it is again. */
export const line = new EventTarget();

let waiting = null;

/** Whether the program answered last time. @returns {boolean} */
export function isOnline() {
  return waiting === null;
}

/** Resolves when the program answers. @returns {Promise<void>} */
export function online() {
  return waiting ?? Promise.resolve();
}

/**
 * Does something that needs the program; when the line breaks, again once it is back.
 * @template T
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
export async function persist(action) {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof api.Offline)) throw error;
      await online();
    }
  }
}

/** Waits. @param {number} milliseconds @returns {Promise<void>} */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

async function retry() {
  for (;;) {
    await pause(PAUSE);
    try {
      await api.about();
      return;
    } catch (error) {
      if (!(error instanceof api.Offline)) return; // It answers, if with a refusal.
    }
  }
}

api.connection.addEventListener('lost', () => {
  if (waiting) return;
  waiting = retry().then(() => {
    waiting = null;
    line.dispatchEvent(new Event('back'));
  });
  line.dispatchEvent(new Event('lost'));
});
