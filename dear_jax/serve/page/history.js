import { addRuns, drawSegment, fillBox, fillPolygon, invert, toRuns, widen } from './shapes.js';

/**
 * What a person did to a mask.
 * @typedef {object} Step
 * @property {'stroke'|'box'|'lasso'|'found'|'loaded'|'invert'|'widen'|'clear'} kind
 * @property {0|1} [value] Whether it marks or erases.
 * @property {number} [size] Of the brush.
 * @property {number[]} [points] x, y, x, y ... in pixels of the photo.
 * @property {object} [box] left, top, right, bottom.
 * @property {Uint32Array} [runs] What was found or loaded.
 * @property {number} [radius] By which marks are widened.
 */

const BETWEEN = 12; // Steps after which a snapshot is taken, that undoing starts from.

/** A mask and all that was done to it: undone and done again without end. */
export class History {
  /**
   * @param {number} width Of the photo.
   * @param {number} height
   * @param {Uint8Array} [start] What is marked at first.
   */
  constructor(width, height, start = new Uint8Array(width * height)) {
    /** The mask as it is now, the unfinished stroke included. */
    this.mask = { width, height, data: start };
    /** Another number after every change. */
    this.revision = 0;
    /** Called with the part that changed, or null for all of it. */
    this.onChange = () => {};
    this._steps = [];
    this._done = 0;
    this._snapshots = new Map([[0, toRuns(start)]]);
    this._stroke = null;
  }

  get canUndo() {
    return this._done > 0;
  }

  get canRedo() {
    return this._done < this._steps.length;
  }

  /** Whether nothing is marked. */
  get empty() {
    return !this.mask.data.includes(1);
  }

  /** The last step that is not undone. @returns {?Step} */
  get last() {
    return this._steps[this._done - 1] ?? null;
  }

  /** How much is marked, from 0 to 1. */
  get share() {
    let count = 0;
    for (const value of this.mask.data) count += value;
    return count / this.mask.data.length;
  }

  /** Does a step. @param {Step} step */
  apply(step) {
    const before = this._done;
    const changed = draw(this.mask, step);
    this._steps.length = before;
    for (const at of this._snapshots.keys()) if (at > before) this._snapshots.delete(at);
    this._steps.push(step);
    this._done = before + 1;
    this._keep();
    this._tell(changed);
  }

  /** Begins a stroke. It becomes a step when it ends. */
  begin(x, y, size, value) {
    this._stroke = { kind: 'stroke', size, value, points: [x, y] };
    drawSegment(this.mask, x, y, x, y, size, value);
    this._tell(around([x, y], size));
  }

  /** Leads the stroke on. */
  extend(x, y) {
    const { points, size, value } = this._stroke;
    const [fromX, fromY] = points.slice(-2);
    points.push(x, y);
    drawSegment(this.mask, fromX, fromY, x, y, size, value);
    this._tell(around([fromX, fromY, x, y], size));
  }

  /** Ends the stroke. */
  end() {
    const stroke = this._stroke;
    this._stroke = null;
    if (stroke) this.apply(stroke);
  }

  /** Takes back the stroke that is not ended. */
  abandon() {
    if (!this._stroke) return;
    this._stroke = null;
    this._replay();
  }

  /** Whether a stroke has begun and not ended. */
  get drawing() {
    return this._stroke !== null;
  }

  /** Undoes the last step. */
  undo() {
    if (this.drawing) {
      this.abandon();
    } else if (this.canUndo) {
      this._done -= 1;
      this._replay();
    }
  }

  /** Does again what was undone last. */
  redo() {
    if (!this.canRedo || this.drawing) return;
    const changed = draw(this.mask, this._steps[this._done]);
    this._done += 1;
    this._keep();
    this._tell(changed);
  }

  _replay() {
    let from = this._done;
    while (!this._snapshots.has(from)) from -= 1;
    this.mask.data.fill(0);
    addRuns(this.mask.data, this._snapshots.get(from));
    for (const step of this._steps.slice(from, this._done)) draw(this.mask, step);
    this._tell(null);
  }

  _keep() {
    const whole = ['stroke', 'box', 'lasso'].includes(this.last.kind) === false;
    if (whole || this._done % BETWEEN === 0) {
      this._snapshots.set(this._done, toRuns(this.mask.data));
    }
  }

  _tell(changed) {
    this.revision += 1;
    this.onChange(changed);
  }
}

/** Draws a step; returns the part that it may have changed, null for all. */
function draw(mask, step) {
  const { points, value, size } = step;
  switch (step.kind) {
    case 'stroke':
      for (let i = 0; i < points.length; i += 2) {
        const j = Math.max(0, i - 2);
        drawSegment(mask, points[j], points[j + 1], points[i], points[i + 1], size, value);
      }
      return around(points, size);
    case 'box':
      fillBox(mask, step.box, value);
      return step.box;
    case 'lasso':
      fillPolygon(mask, points, value);
      return around(points, 0);
    case 'found':
      addRuns(mask.data, step.runs);
      return null;
    case 'loaded':
      mask.data.fill(0);
      addRuns(mask.data, step.runs);
      return null;
    case 'invert':
      invert(mask);
      return null;
    case 'widen':
      widen(mask, step.radius);
      return null;
    default:
      mask.data.fill(0);
      return null;
  }
}

function around(points, size) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < points.length; i += 2) {
    left = Math.min(left, points[i]);
    right = Math.max(right, points[i]);
    top = Math.min(top, points[i + 1]);
    bottom = Math.max(bottom, points[i + 1]);
  }
  const reach = size / 2 + 1;
  return { left: left - reach, top: top - reach, right: right + reach, bottom: bottom + reach };
}
