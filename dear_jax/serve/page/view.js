const MOST = 400; // Pixels of the screen that a pixel of the photo may take.
const BAR = 64; // Pixels of the page for the buttons below a photo.
const KEPT = 48; // Pixels of the page by which a photo always stays in sight.

/** Where a photo lies on the stage, and how large. No DOM here. */
export class View {
  constructor() {
    /** Pixels of the screen to a pixel of the page. */
    this.ratio = 1;
    /** Size of the stage in pixels of the screen. */
    this.width = 1;
    this.height = 1;
    /** Size of the photo in its pixels. */
    this.photoWidth = 1;
    this.photoHeight = 1;
    /** Pixels of the screen to a pixel of the photo. */
    this.scale = 1;
    /** Where the photo's corner lies, in whole pixels of the screen. */
    this.x = 0;
    this.y = 0;
    this._fitted = true;
  }

  /** Whether all of the photo is shown, as large as it can be. */
  get fitted() {
    return this._fitted;
  }

  /** The scale at which all of the photo is shown. */
  get fitScale() {
    const [width, height] = this._room();
    return Math.min(width / this.photoWidth, height / this.photoHeight, MOST);
  }

  /** Shows all of the photo. */
  fit() {
    this.scale = this.fitScale;
    const [width, height] = this._room();
    const edge = this._edge();
    this.x = Math.round(edge + (width - this.photoWidth * this.scale) / 2);
    this.y = Math.round(edge + (height - this.photoHeight * this.scale) / 2);
    this._fitted = true;
  }

  /** Takes another photo. */
  setPhoto(width, height) {
    [this.photoWidth, this.photoHeight] = [width, height];
    this.fit();
  }

  /** Takes another size of the stage; what is in its middle stays there. */
  setStage(width, height, ratio) {
    const [x, y] = this.toPhoto(this.width / 2, this.height / 2);
    const change = ratio / this.ratio;
    [this.width, this.height, this.ratio] = [width, height, ratio];
    if (this._fitted) {
      this.fit();
      return;
    }
    this.scale *= change;
    this.x = Math.round(width / 2 - x * this.scale);
    this.y = Math.round(height / 2 - y * this.scale);
    this._keepInSight();
  }

  /**
   * Enlarges by a factor; the point of the screen stays where it is.
   * @param {number} factor
   * @param {number} [x]
   * @param {number} [y]
   */
  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    const least = Math.min(this.fitScale, this.ratio) / 2;
    const scale = Math.max(least, Math.min(MOST, this.scale * factor));
    const [photoX, photoY] = this.toPhoto(x, y);
    this.scale = scale;
    this.x = Math.round(x - photoX * scale);
    this.y = Math.round(y - photoY * scale);
    this._fitted = false;
    this._keepInSight();
  }

  /** Moves the photo by pixels of the screen. */
  panBy(dx, dy) {
    this.x = Math.round(this.x + dx);
    this.y = Math.round(this.y + dy);
    this._fitted = false;
    this._keepInSight();
  }

  /** Moves the photo so that a point of it can be seen. */
  reveal(photoX, photoY) {
    const [x, y] = this.toDevice(photoX, photoY);
    const edge = Math.min(40 * this.ratio, this.width / 4, this.height / 4);
    const dx = Math.max(0, edge - x) + Math.min(0, this.width - edge - x);
    const dy = Math.max(0, edge - y) + Math.min(0, this.height - edge - y);
    if (dx || dy) this.panBy(dx, dy);
  }

  /** A point of the photo, on the screen. @returns {[number, number]} */
  toDevice(photoX, photoY) {
    return [this.x + photoX * this.scale, this.y + photoY * this.scale];
  }

  /** A point of the screen, on the photo. @returns {[number, number]} */
  toPhoto(x, y) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  /** The part of the photo that can be seen. @returns {import('./api.js').Window} */
  visible() {
    const [left, top] = this.toPhoto(0, 0);
    const [right, bottom] = this.toPhoto(this.width, this.height);
    return {
      top: Math.min(this.photoHeight, Math.max(0, top)),
      left: Math.min(this.photoWidth, Math.max(0, left)),
      bottom: Math.max(0, Math.min(this.photoHeight, bottom)),
      right: Math.max(0, Math.min(this.photoWidth, right)),
    };
  }

  _edge() {
    return this.ratio * (this.width / this.ratio < 600 ? 8 : 24);
  }

  /** The room for a whole photo: the stage without its edges and the bar below. */
  _room() {
    const edge = this._edge();
    const bar = BAR * this.ratio;
    return [Math.max(1, this.width - 2 * edge), Math.max(1, this.height - edge - bar)];
  }

  _keepInSight() {
    const kept = KEPT * this.ratio;
    const [width, height] = [this.photoWidth * this.scale, this.photoHeight * this.scale];
    const [least, most] = [Math.min(kept, width), Math.min(kept, height)];
    this.x = Math.round(Math.max(least - width, Math.min(this.width - least, this.x)));
    this.y = Math.round(Math.max(most - height, Math.min(this.height - most, this.y)));
  }
}
