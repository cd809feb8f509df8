/**
 * The server, as the page sees it. Nothing else in the page sends requests, so another
 * back-end takes this one's place by having the same exports.
 *
 * @typedef {object} Job
 * @property {string} id
 * @property {string} photo
 * @property {'damage'|'restore'} kind
 * @property {'queued'|'running'|'done'|'failed'|'cancelled'} state
 * @property {number} ahead Jobs that come before it.
 * @property {number} progress From 0 to 1.
 * @property {?number} seconds_left
 * @property {string} message
 *
 * @typedef {object} Photo
 * @property {string} id
 * @property {string} name
 * @property {number} width
 * @property {number} height
 * @property {number} mask Revision; 0: nothing is marked.
 * @property {?Job} job
 * @property {?object} result
 *
 * @typedef {{top: number, left: number, bottom: number, right: number}} Window In pixels
 *   of the photo.
 */

/** A refusal by the server; its message is a sentence for the person. */
export class Refusal extends Error {
  /**
   * @param {string} sentence
   * @param {number} status
   */
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** The program does not answer. */
export class Offline extends Error {
  constructor() {
    super('The program does not answer.');
  }
}

/** Says 'lost' when the program does not answer. */
export const connection = new EventTarget();

/** What the server can do. @returns {Promise<object>} */
export function about() {
  return json('/api/about');
}

/** The photos of this visit, oldest first. @returns {Promise<Photo[]>} */
export function photos() {
  return json('/api/photos');
}

/** What is known of a photo. @param {string} id @returns {Promise<Photo>} */
export function photo(id) {
  return json(path(id));
}

/**
 * Sends a photo's file.
 * @param {File} file
 * @param {(share: number) => void} onProgress Called with 0 to 1.
 * @returns {Promise<Photo>}
 */
export function upload(file, onProgress = () => {}) {
  // XMLHttpRequest, because fetch does not say how much was sent.
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', '/api/photos');
    request.setRequestHeader('X-Name', encodeURIComponent(file.name || 'photo.png'));
    request.responseType = 'json';
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status < 300) resolve(request.response);
      else reject(new Refusal(sentence(request.response, request.status), request.status));
    };
    request.onerror = () => reject(lost());
    request.send(file);
  });
}

/** Removes a photo and all that belongs to it. @param {string} id */
export function remove(id) {
  return send(path(id), { method: 'DELETE' });
}

/**
 * A part of a photo, for the screen.
 * @param {string} id
 * @param {?Window} window Null: all of it.
 * @param {number} width Pixels of the picture.
 * @param {number} height
 * @param {AbortSignal} [signal]
 * @returns {Promise<ImageBitmap>}
 */
export function picture(id, window, width, height, signal) {
  return bitmap(`${path(id)}/picture${view(window, width, height)}`, signal);
}

/** The same part of the result. See `picture`. */
export function resultPicture(id, window, width, height, signal) {
  return bitmap(`${path(id)}/result/picture${view(window, width, height)}`, signal);
}

/** What is marked, as an image, white = missing. @returns {Promise<Blob>} */
export async function getMask(id) {
  return (await send(`${path(id)}/mask`)).blob();
}

/**
 * Stores what is marked.
 * @param {string} id
 * @param {?Blob} mask An image of the photo's size, white = missing; null: nothing is.
 * @param {boolean} [leaving] Whether the page may be closed while this is sent.
 * @returns {Promise<Photo>}
 */
export function putMask(id, mask, leaving = false) {
  const method = mask ? 'PUT' : 'DELETE';
  return json(`${path(id)}/mask`, { method, body: mask ?? undefined, keepalive: leaving });
}

/** Has damage looked for. @returns {Promise<Job>} */
export function findDamage(id, sensitivity) {
  return json(`${path(id)}/damage`, posted({ sensitivity, dilate: 1 }));
}

/** The damage that was found, as an image. @returns {Promise<Blob>} */
export async function getDamage(id) {
  return (await send(`${path(id)}/damage`)).blob();
}

/** What restoring would take. @returns {Promise<object>} */
export function plan(id, options, signal) {
  return json(`${path(id)}/plan`, { ...posted(options), signal });
}

/** Has a photo restored, with the mask that was put last. @returns {Promise<Job>} */
export function restore(id, options) {
  return json(`${path(id)}/restore`, posted(options));
}

/** How far a job is. @returns {Promise<Job>} */
export function job(id) {
  return json(`/api/jobs/${encodeURIComponent(id)}`);
}

/** Cancels a job. @returns {Promise<Job>} */
export function cancel(id) {
  return json(`/api/jobs/${encodeURIComponent(id)}`, { method: 'DELETE' });
}

/** Makes a result a photo of its own. @returns {Promise<Photo>} */
export function goOn(id) {
  return json(`${path(id)}/continue`, { method: 'POST' });
}

/**
 * Where a result can be saved from.
 * @param {string} id
 * @param {'file'|'mask'|'both'} what
 */
export function resultUrl(id, what) {
  return `${path(id)}/result/${what}`;
}

/** Where the results of several photos can be saved from. @param {string[]} ids */
export function zipUrl(ids) {
  return `/api/zip?ids=${ids.map(encodeURIComponent).join(',')}`;
}

function path(id) {
  return `/api/photos/${encodeURIComponent(id)}`;
}

function view(window, width, height) {
  const part = window
    ? `window=${window.top},${window.left},${window.bottom},${window.right}&`
    : '';
  return `?${part}width=${width}&height=${height}`;
}

function posted(content) {
  return {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(content),
  };
}

function lost() {
  connection.dispatchEvent(new Event('lost'));
  return new Offline();
}

async function send(url, options = {}) {
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw lost();
  }
  if (answer.ok) return answer;
  const content = await answer.json().catch(() => null);
  throw new Refusal(sentence(content, answer.status), answer.status);
}

async function json(url, options) {
  return (await send(url, options)).json();
}

async function bitmap(url, signal) {
  return createImageBitmap(await (await send(url, { signal })).blob());
}

function sentence(content, status) {
  const detail = content?.detail;
  return typeof detail === 'string' ? detail : `This did not work (error ${status}).`;
}
