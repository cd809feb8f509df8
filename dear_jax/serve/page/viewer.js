import { MaskCanvas } from './canvas.js';
import { View } from './view.js';

const STEP = 1.25; // Of a key that enlarges.

/** The stage: shows a photo, what is marked on it, and its result. */
export class Viewer {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onView Called after the view changed.
   */
  constructor(canvas, onView = () => {}) {
    this.canvas = canvas;
    this.view = new View();
    /** Pictures before and after; null: none. */
    this.before = null;
    this.after = null;
    /** Part of the stage's visible photo that shows the photo as it was, from 0 to 1. */
    this.split = 0.5;
    /** Whether the result is shown, the marks otherwise. */
    this.showsResult = false;
    /** Whether the photo alone is shown, as long as a key is held. */
    this.original = false;
    /** Called when marks changed. */
    this.onMarks = () => {};
    /** Draws over everything: cursors and unfinished shapes. */
    this.decorate = () => {};
    this._context = canvas.getContext('2d');
    this._marks = null;
    this._onView = onView;
    this._frame = 0;
    this._watchPointers();
    new ResizeObserver(() => this._resize()).observe(canvas.parentElement);
  }

  /** How much larger than on paper the photo is: 1 is a pixel of the page per pixel. */
  get zoom() {
    return this.view.scale / this.view.ratio;
  }

  /** Whether all is drawn, as sharp as it is. */
  get settled() {
    return !this._frame && [this.before, this.after].every((pictures) => pictures?.settled ?? true);
  }

  /** The marks of another photo, or none. @param {?import('./history.js').History} history */
  setMarks(history) {
    this._marks = history && new MaskCanvas(history.mask);
    if (history) {
      history.onChange = (part) => {
        this._marks.change(part);
        this.redraw();
        this.onMarks();
      };
    }
    this.redraw();
  }

  /** A pixel of the photo, on the page. @returns {{x: number, y: number}} */
  toScreen(photoX, photoY) {
    const [x, y] = this.view.toDevice(photoX, photoY);
    const box = this.canvas.getBoundingClientRect();
    return { x: box.left + x / this.view.ratio, y: box.top + y / this.view.ratio };
  }

  /** A point of the page, on the photo. @returns {{x: number, y: number}} */
  toPhoto(pageX, pageY) {
    const [x, y] = this.view.toPhoto(...this._device(pageX, pageY));
    return { x, y };
  }

  /** Enlarges around the middle, or a point of the page. */
  zoomBy(factor, pageX, pageY) {
    if (pageX === undefined) this.view.zoomBy(factor);
    else this.view.zoomBy(factor, ...this._device(pageX, pageY));
    this.moved();
  }

  /** Moves the photo by pixels of the page. */
  panBy(dx, dy) {
    this.view.panBy(dx * this.view.ratio, dy * this.view.ratio);
    this.moved();
  }

  /** Shows all of the photo. */
  fit() {
    this.view.fit();
    this.moved();
  }

  /** Shows the photo at its own size, a pixel per pixel of the screen. */
  actual() {
    this.zoomBy(1 / this.view.scale);
  }

  /** Notes that the view changed. */
  moved() {
    this._onView();
    this.redraw();
  }

  /** Draws anew, with the next frame. */
  redraw() {
    this._frame ||= requestAnimationFrame(() => {
      this._frame = 0;
      this._draw();
    });
  }

  /** The part of the stage, in pixels of the page, that the photo is seen in. */
  shown() {
    const { view } = this;
    const { left, right, top, bottom } = view.visible();
    const [x0, y0] = view.toDevice(left, top);
    const [x1, y1] = view.toDevice(right, bottom);
    const [l, t, r, b] = [x0, y0, x1, y1].map((value) => value / view.ratio);
    return { left: l, top: t, right: r, bottom: b };
  }

  /**
   * What a key does to the view.
   * @param {KeyboardEvent} event
   * @returns {boolean} Whether it did something.
   */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const far = event.shiftKey ? 200 : 60;
    const actions = {
      '+': () => this.zoomBy(STEP),
      '=': () => this.zoomBy(STEP),
      '-': () => this.zoomBy(1 / STEP),
      0: () => this.fit(),
      1: () => this.actual(),
      ArrowLeft: () => this.panBy(far, 0),
      ArrowRight: () => this.panBy(-far, 0),
      ArrowUp: () => this.panBy(0, far),
      ArrowDown: () => this.panBy(0, -far),
    };
    actions[event.key]?.();
    return event.key in actions;
  }

  _device(pageX, pageY) {
    const box = this.canvas.getBoundingClientRect();
    return [(pageX - box.left) * this.view.ratio, (pageY - box.top) * this.view.ratio];
  }

  _resize() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(clientWidth * ratio));
    const height = Math.max(1, Math.round(clientHeight * ratio));
    if (width === this.view.width && height === this.view.height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.view.setStage(width, height, ratio);
    this._onView();
    this._draw(); // At once, for a canvas is empty when its size changed.
  }

  _draw() {
    const { view } = this;
    const context = this._context;
    context.clearRect(0, 0, view.width, view.height);
    if (!this.before) return;
    this.before.follow(view);
    this.before.draw(context, view);
    const comparing = this.showsResult && this.after?.ready;
    if (this.showsResult) this.after?.follow(view);
    if (comparing && !this.original) {
      const { left, right } = this.shown();
      const edge = Math.round((left + (right - left) * this.split) * view.ratio);
      context.save();
      context.beginPath();
      context.rect(edge, 0, view.width - edge, view.height);
      context.clip();
      this.after.draw(context, view);
      context.restore();
    }
    if (!this.showsResult && !this.original) this._marks?.draw(context, view);
    this.decorate(context, view);
  }

  /** Wheel, two fingers, and the middle of a mouse; tools see to the rest. */
  _watchPointers() {
    const { canvas } = this;
    const fingers = new Map();
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return {
        x: (a.x + b.x) / 2,
        y: (a.y + b.y) / 2,
        distance: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y)),
      };
    };
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      if (event.shiftKey || !this.before) return; // Tools change the brush's size.
      const lines = event.deltaMode === 1 ? 16 : 1;
      const strength = event.ctrlKey ? 0.01 : 0.0016; // Ctrl: a touchpad's pinch.
      this.zoomBy(Math.exp(-event.deltaY * lines * strength), event.clientX, event.clientY);
    }, { passive: false });
    canvas.addEventListener('pointerdown', (event) => {
      if (event.pointerType === 'touch') {
        fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      }
    });
    canvas.addEventListener('pointermove', (event) => {
      if (!fingers.has(event.pointerId)) return;
      const old = fingers.size === 2 ? spread() : null;
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (!old) return;
      const now = spread();
      this.view.panBy((now.x - old.x) * this.view.ratio, (now.y - old.y) * this.view.ratio);
      this.zoomBy(now.distance / old.distance, now.x, now.y);
    });
    for (const kind of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      canvas.addEventListener(kind, (event) => fingers.delete(event.pointerId));
    }
    /** Whether two fingers are on the stage. */
    this.pinching = () => fingers.size > 1;
  }
}
