import { saveBlob } from './files.js';
import { decodeMask } from './png.js';
import { decoded, openFile, pixelsOf } from './reading.js';

const HELD = 60_000_000; // Pixels of images that are kept decoded.

/**
 * A photo, and all that belongs to it: what a browser can keep over a reload.
 * @typedef {object} Kept
 * @property {string} id
 * @property {string} name
 * @property {Blob} file As it came.
 * @property {object} head See `headOf`.
 * @property {number} width
 * @property {number} height
 * @property {string[]} remarks
 * @property {number} revision How often something was changed.
 * @property {number} marked Revision of the mask; 0: nothing is.
 * @property {?Blob} mask
 * @property {?Blob} damage What was found.
 * @property {?object} result Its `file` and `mask`, and what the page is told of it.
 */

/** The photos that are open, in this browser's memory. */
export class Photos {
  constructor() {
    /** @type {Map<string, Kept>} */
    this._photos = new Map();
    this._held = new Map(); // Blob -> its image, the newest last.
  }

  /** All of them, oldest first. */
  get all() {
    return [...this._photos.values()];
  }

  /** The photo of that id, undefined if there is none. */
  find(id) {
    return this._photos.get(id);
  }

  /**
   * Opens a photo.
   * @param {Blob} file
   * @param {string} name
   * @returns {Promise<Kept>}
   */
  async add(file, name) {
    const { image, head, remarks } = await openFile(file);
    const { width, height } = image;
    const id = crypto.randomUUID?.() ?? String(Math.random());
    const photo = {
      id, name, file, head, width, height, remarks,
      revision: 0, marked: 0, mask: null, damage: null, result: null,
    };
    this._hold(file, image);
    this.take(photo);
    return photo;
  }

  /** Takes a photo that was kept. @param {Kept} photo */
  take(photo) {
    this._photos.set(photo.id, photo);
  }

  /** Lets go of a photo. */
  remove(id) {
    const photo = this._photos.get(id);
    this._photos.delete(id);
    if (photo) for (const file of [photo.file, photo.result?.file]) this._release(file);
  }

  /** The pixels of a photo; see `pixelsOf`. @param {Kept} photo */
  async pixels(photo) {
    return pixelsOf(await this._image(photo.file));
  }

  /** What is marked, 1 = missing. @param {Kept} photo @returns {Promise<Uint8Array>} */
  async mask({ mask, width, height }) {
    return mask ? decodeMask(mask, width, height) : new Uint8Array(width * height);
  }

  /**
   * A part of an image.
   * @param {Blob} file
   * @param {import('./api.js').Window} window In pixels of the image.
   * @param {number} width Of the picture.
   * @param {number} height
   * @returns {Promise<ImageBitmap>}
   */
  async picture(file, { top, left, bottom, right }, width, height) {
    const image = await this._image(file);
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext('2d');
    context.fillStyle = '#fff';
    context.fillRect(0, 0, width, height);
    // Pixels are shown as squares; what is too large is made smaller smoothly.
    context.imageSmoothingEnabled = width <= right - left && height <= bottom - top;
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, left, top, right - left, bottom - top, 0, 0, width, height);
    return canvas.transferToImageBitmap();
  }

  /** Saves photo and result side by side. @param {Kept} photo @param {string} name */
  async saveBoth({ file, result }, name) {
    const height = Math.min(Math.max(result.height, 256), 1024);
    const width = Math.max(1, Math.round((result.width * height) / result.height));
    const gap = Math.round(height / 64);
    const canvas = new OffscreenCanvas(2 * width + 3 * gap, height + 2 * gap);
    const context = canvas.getContext('2d');
    context.fillStyle = '#fff';
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = 'high';
    for (const [i, blob] of [file, result.file].entries()) {
      const image = await this._image(blob);
      context.imageSmoothingEnabled = image.height > height;
      context.drawImage(image, gap + i * (width + gap), gap, width, height);
    }
    saveBlob(await canvas.convertToBlob({ type: 'image/png' }), name);
  }

  async _image(file) {
    const held = this._held.get(file) ?? decoded(file);
    this._held.delete(file);
    this._hold(file, held);
    return held;
  }

  _hold(file, image) {
    this._held.set(file, image);
    Promise.resolve(image).then(
      () => this._makeRoom(),
      () => this._held.delete(file),
    );
  }

  async _makeRoom() {
    const images = await Promise.all(this._held.values());
    let pixels = images.reduce((sum, { width, height }) => sum + width * height, 0);
    for (const [file] of this._held) {
      if (pixels <= HELD || this._held.size < 2) return;
      const image = await this._held.get(file);
      pixels -= image.width * image.height;
      this._release(file);
    }
  }

  _release(file) {
    // Not closed, for it may be drawn at this moment: the browser sees to it.
    this._held.delete(file);
  }
}
