const PAUSE = 80; // Milliseconds without a movement, before a picture is asked for.
const BASE = 2048; // Longest side of the picture that lies below all others.
const MOST = 4096; // Longest side that may be asked for.
const KEPT = 16; // Pictures of parts that are kept.
const STRIPS = 4; // Parts that are asked for one by one; rather than more, the whole.

/**
 * Pictures of a photo, or of its result, for the screen: a whole one of low resolution
 * that is always there, and over it sharp ones of the parts that were looked at.
 */
export class Pictures {
  /**
   * @param {object} source
   * @param {number} source.width Of the photo.
   * @param {number} source.height
   * @param {number} source.detail Pixels that there are to a pixel of the photo: the
   *   screen enlarges beyond, Infinity: there is more in whatever is asked for.
   * @param {number} source.base Pixels of the base to a pixel of the photo, at most.
   * @param {(window, width, height, signal) => Promise<ImageBitmap>} source.load
   * @param {() => void} onChange Called when there is something new to draw.
   */
  constructor(source, onChange) {
    this._source = source;
    this._onChange = onChange;
    this._base = null;
    this._parts = [];
    this._timer = 0;
    this._asked = null;
    this._stop = null;
    this._closed = false;
    /** Whether a sharp picture is on its way. */
    this.loading = false;
    const scale = Math.min(source.base, BASE / Math.max(source.width, source.height));
    this._baseSize = [source.width, source.height].map((n) => Math.max(1, Math.round(n * scale)));
  }

  /** Whether something can be drawn. */
  get ready() {
    return this._base !== null;
  }

  /** Whether nothing sharper is on its way, or soon will be. */
  get settled() {
    return !this._timer && !this.loading;
  }

  /** Loads the picture that lies below all others. */
  async start() {
    const base = await this._source.load(null, ...this._baseSize);
    if (this._closed) {
      base.close();
      return;
    }
    this._base = base;
    this._onChange();
  }

  /** Asks for the part that can be seen, once the view rests. */
  follow(view) {
    const wanted = this._wanted(view);
    const name = wanted && JSON.stringify(wanted);
    if (name === this._asked) return;
    this._asked = name;
    clearTimeout(this._timer);
    this._timer = 0;
    this._stop?.abort();
    this.loading = false;
    if (wanted) this._timer = setTimeout(() => this._load(wanted), PAUSE);
  }

  /**
   * Draws what can be seen, as sharp as it is there.
   * @param {CanvasRenderingContext2D} context In pixels of the screen.
   * @param {import('./view.js').View} view
   */
  draw(context, view) {
    if (!this._base) return;
    const { width, height } = this._source;
    paint(context, view, this._base, { top: 0, left: 0, bottom: height, right: width });
    const parts = [...this._parts].sort((a, b) => a.scale - b.scale);
    for (const { image, window } of parts) paint(context, view, image, window);
  }

  /** Lets go of everything. */
  close() {
    this._closed = true;
    clearTimeout(this._timer);
    this._stop?.abort();
    this._base?.close();
    for (const { image } of this._parts) image.close();
    [this._base, this._parts] = [null, []];
  }

  _wanted(view) {
    const { width, detail } = this._source;
    let scale = Math.min(view.scale, detail);
    if (!this._base || scale <= (this._baseSize[0] / width) * 1.05) return null;
    const window = view.visible();
    const [across, down] = [window.right - window.left, window.bottom - window.top];
    if (across * view.scale < 1 || down * view.scale < 1) return null;
    return { window, scale: Math.min(scale, MOST / across, MOST / down) };
  }

  /** Loads what is not there yet as sharp: after a movement, strips at the border. */
  async _load({ window, scale }) {
    this._timer = 0;
    let missing = [window];
    for (const part of this._parts) {
      if (part.scale < scale * 0.999) continue;
      missing = missing.flatMap((rest) => without(rest, part.window));
    }
    if (!missing.length) return;
    if (missing.length > STRIPS) missing = [window];
    const stop = new AbortController();
    this._stop = stop;
    this.loading = true;
    this._onChange();
    try {
      for (const part of missing) {
        const pixels = sides(part).map((n) => Math.max(1, Math.round(n * scale)));
        const image = await this._source.load(part, ...pixels, stop.signal);
        if (stop.signal.aborted) {
          image.close();
          return;
        }
        this._parts.push({ image, window: part, scale });
        if (this._parts.length > KEPT) this._parts.shift().image.close();
        this._onChange();
      }
    } catch {
      // What is there already is shown on.
    }
    if (this._stop === stop) this.loading = false;
    this._onChange();
  }
}

function sides({ top, left, bottom, right }) {
  return [right - left, bottom - top];
}

/** What is left of a window without another: up to four parts of it. */
function without(window, other) {
  const top = Math.max(window.top, other.top);
  const left = Math.max(window.left, other.left);
  const bottom = Math.min(window.bottom, other.bottom);
  const right = Math.min(window.right, other.right);
  if (top >= bottom || left >= right) return [window];
  return [
    { ...window, bottom: top },
    { ...window, top: bottom },
    { top, bottom, left: window.left, right: left },
    { top, bottom, left: right, right: window.right },
  ].filter((part) => Math.min(...sides(part)) > 1e-6);
}

function paint(context, view, image, window) {
  const [left, top] = view.toDevice(window.left, window.top).map(Math.round);
  const [right, bottom] = view.toDevice(window.right, window.bottom).map(Math.round);
  if (right <= 0 || bottom <= 0 || left >= view.width || top >= view.height) return;
  // A photo's pixels are shown as they are; what is too large is made smaller smoothly.
  context.imageSmoothingEnabled = right - left < image.width * 1.5;
  context.imageSmoothingQuality = 'high';
  context.drawImage(image, left, top, right - left, bottom - top);
}
