const TILE = 512;
const COLOUR = 0xffb400ff; // Magenta, as the bytes of a pixel lie: alpha, blue, green, red.
const OPACITY = 0.5;

/** Draws a mask over a photo, in half-transparent magenta. */
export class MaskCanvas {
  /** @param {import('./shapes.js').Mask} mask */
  constructor(mask) {
    this._mask = mask;
    this._columns = Math.ceil(mask.width / TILE);
    this._rows = Math.ceil(mask.height / TILE);
    this._tiles = new Map(); // Number -> canvas, or null where nothing is marked.
    this._stale = new Map(); // Number -> the part of the tile that must be drawn anew.
  }

  /**
   * Notes that a part of the mask changed.
   * @param {?{left: number, top: number, right: number, bottom: number}} part Null: all.
   */
  change(part) {
    if (!part) {
      this._tiles.clear();
      this._stale.clear();
      return;
    }
    const left = Math.max(0, Math.floor(part.left));
    const top = Math.max(0, Math.floor(part.top));
    const right = Math.min(this._mask.width, Math.ceil(part.right));
    const bottom = Math.min(this._mask.height, Math.ceil(part.bottom));
    for (let row = Math.floor(top / TILE); row * TILE < bottom; row++) {
      for (let column = Math.floor(left / TILE); column * TILE < right; column++) {
        const number = row * this._columns + column;
        const old = this._stale.get(number) ?? { left, top, right, bottom };
        this._stale.set(number, {
          left: Math.min(old.left, left),
          top: Math.min(old.top, top),
          right: Math.max(old.right, right),
          bottom: Math.max(old.bottom, bottom),
        });
      }
    }
  }

  /**
   * Draws what can be seen.
   * @param {CanvasRenderingContext2D} context In pixels of the screen.
   * @param {import('./view.js').View} view
   */
  draw(context, view) {
    const { left, top, right, bottom } = view.visible();
    context.globalAlpha = OPACITY;
    context.imageSmoothingEnabled = view.scale < 1;
    for (let row = Math.floor(top / TILE); row < this._rows && row * TILE < bottom; row++) {
      const first = Math.floor(left / TILE);
      for (let column = first; column < this._columns && column * TILE < right; column++) {
        const tile = this._tile(row, column);
        if (!tile) continue;
        // Edges on whole pixels of the screen: neighbours meet without a seam.
        const [x, y] = view.toDevice(column * TILE, row * TILE).map(Math.round);
        const [endX, endY] = view
          .toDevice(column * TILE + tile.width, row * TILE + tile.height)
          .map(Math.round);
        context.drawImage(tile, x, y, endX - x, endY - y);
      }
    }
    context.globalAlpha = 1;
  }

  _tile(row, column) {
    const number = row * this._columns + column;
    const [left, top] = [column * TILE, row * TILE];
    const right = Math.min(this._mask.width, left + TILE);
    const bottom = Math.min(this._mask.height, top + TILE);
    const whole = { left, top, right, bottom };
    let part = this._stale.get(number);
    if (!this._tiles.get(number)) {
      if (this._tiles.has(number) && !part) return null;
      part = whole;
      if (!this._anyIn(whole)) {
        this._tiles.set(number, null);
        this._stale.delete(number);
        return null;
      }
      const canvas = document.createElement('canvas');
      canvas.width = right - left;
      canvas.height = bottom - top;
      this._tiles.set(number, canvas);
    }
    this._stale.delete(number);
    const tile = this._tiles.get(number);
    if (part) this._paint(tile, left, top, meet(part, whole));
    return tile;
  }

  _anyIn({ left, top, right, bottom }) {
    for (let y = top; y < bottom; y++) {
      const start = y * this._mask.width;
      if (this._mask.data.subarray(start + left, start + right).includes(1)) return true;
    }
    return false;
  }

  _paint(tile, tileLeft, tileTop, { left, top, right, bottom }) {
    if (right <= left || bottom <= top) return;
    const image = new ImageData(right - left, bottom - top);
    const pixels = new Uint32Array(image.data.buffer);
    for (let y = top, to = 0; y < bottom; y++) {
      const row = y * this._mask.width;
      for (let x = left; x < right; x++, to++) {
        if (this._mask.data[row + x]) pixels[to] = COLOUR;
      }
    }
    tile.getContext('2d').putImageData(image, left - tileLeft, top - tileTop);
  }
}

function meet(a, b) {
  return {
    left: Math.max(a.left, b.left),
    top: Math.max(a.top, b.top),
    right: Math.min(a.right, b.right),
    bottom: Math.min(a.bottom, b.bottom),
  };
}
