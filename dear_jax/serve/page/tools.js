const NAMES = ['brush', 'eraser', 'rectangle', 'lasso', 'move'];
const GROWTH = 1.15; // Of the brush, for a key or a notch of the wheel.

/** Painting on the stage: with mouse, pen, finger, or keys alone. */
export class Tools {
  /**
   * @param {import('./viewer.js').Viewer} viewer
   * @param {HTMLInputElement} sizeInput The brush's diameter, in pixels of the photo.
   * @param {(sentence: string) => void} say Tells those who cannot see it.
   */
  constructor(viewer, sizeInput, say) {
    this._viewer = viewer;
    this._canvas = viewer.canvas;
    this._size = sizeInput;
    this._say = say;
    this._shape = null; // An unfinished rectangle or lasso, or what is dragged.
    this._pointer = null; // Where the mouse is, on the photo.
    this._cursor = null; // Where the keys are, on the photo.
    this._space = false;
    this.tool = 'brush';
    /** What is painted on; null: nothing can be. @type {?import('./history.js').History} */
    this.history = null;
    viewer.decorate = (context, view) => this._decorate(context, view);
    this._watch();
  }

  /** Takes another tool. @param {string} name */
  choose(name) {
    this._abandon();
    this.tool = name;
    for (const other of NAMES) {
      document.getElementById(other).setAttribute('aria-pressed', String(other === name));
    }
    this._pointAs();
    this._viewer.redraw();
  }

  /** Takes another photo's marks. */
  setHistory(history) {
    this._abandon();
    this.history = history;
    this._cursor = null;
    this._pointAs();
  }

  /** The brush's diameter in pixels of the photo. */
  get size() {
    return Number(this._size.value);
  }

  /** Makes the brush larger or smaller. @param {1|-1} direction */
  resize(direction) {
    const step = Math.max(1, this.size * (GROWTH - 1));
    this._size.value = Math.round(this.size + direction * step);
    this._size.dispatchEvent(new Event('input'));
    this._viewer.redraw();
  }

  /**
   * What a key does while the stage has the focus.
   * @param {KeyboardEvent} event
   * @returns {boolean} Whether it did something.
   */
  key(event) {
    if (event.key === ' ') {
      this._space = true;
      this._pointAs();
      return true;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || !this._paints) return false;
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key in ways) this._step(...ways[event.key], event.shiftKey);
    else if (event.key === 'Enter') this._press();
    else if (event.key === 'Escape' && (this._shape || this.history.drawing)) this._abandon();
    else return false;
    return true;
  }

  get _paints() {
    return this.history !== null && this.tool !== 'move' && !this._viewer.showsResult;
  }

  get _value() {
    return this.tool === 'eraser' ? 0 : 1;
  }

  _watch() {
    const canvas = this._canvas;
    canvas.addEventListener('pointerdown', (event) => this._down(event));
    canvas.addEventListener('pointermove', (event) => this._move(event));
    canvas.addEventListener('pointerup', (event) => this._up(event));
    canvas.addEventListener('pointercancel', () => this._abandon());
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('pointerleave', () => {
      this._pointer = null;
      this._viewer.redraw();
    });
    canvas.addEventListener('blur', () => {
      if (this._cursor) this._finish();
      this._cursor = null;
      this._viewer.redraw();
    });
    canvas.addEventListener('wheel', (event) => {
      // Shift turns some wheels sideways.
      if (event.shiftKey) this.resize((event.deltaY || event.deltaX) < 0 ? 1 : -1);
    }, { passive: true });
    window.addEventListener('keyup', (event) => {
      if (event.key !== ' ') return;
      this._space = false;
      this._pointAs();
    });
    this._size.addEventListener('input', () => this._viewer.redraw());
  }

  _down(event) {
    if (!this._viewer.before) return;
    if (this._viewer.pinching()) {
      this._abandon(); // The first finger meant no stroke.
      return;
    }
    if (event.button > 1) return;
    this._finish();
    this._cursor = null;
    this._canvas.setPointerCapture(event.pointerId);
    const { x, y } = this._viewer.toPhoto(event.clientX, event.clientY);
    const pans = this._space || event.button === 1 || !this._paints;
    if (pans) this._shape = { kind: 'pan', x, y };
    else this._begin(x, y);
    this._pointAs();
    this._viewer.redraw();
  }

  _move(event) {
    const last = this._viewer.toPhoto(event.clientX, event.clientY);
    if (event.pointerType !== 'touch') this._pointer = last;
    if (this._viewer.pinching()) {
      this._abandon();
      return;
    }
    if (this._shape?.kind === 'pan') {
      const held = this._viewer.toScreen(this._shape.x, this._shape.y);
      this._viewer.panBy(event.clientX - held.x, event.clientY - held.y);
    } else if (event.buttons && (this._shape || this.history?.drawing)) {
      const all = event.getCoalescedEvents?.() ?? [];
      for (const each of all.length ? all : [event]) {
        const { x, y } = this._viewer.toPhoto(each.clientX, each.clientY);
        this._extend(x, y);
      }
    }
    this._viewer.redraw();
  }

  _up() {
    if (this._cursor) return;
    this._finish();
    this._pointAs();
  }

  _begin(x, y) {
    if (this.tool === 'rectangle') this._shape = { kind: 'box', from: [x, y], to: [x, y] };
    else if (this.tool === 'lasso') this._shape = { kind: 'lasso', points: [x, y] };
    else this.history.begin(x, y, this.size, this._value);
  }

  _extend(x, y) {
    if (this._shape?.kind === 'box') this._shape.to = [x, y];
    else if (this._shape?.kind === 'lasso') this._shape.points.push(x, y);
    else if (this.history.drawing) this.history.extend(x, y);
  }

  _finish() {
    const shape = this._shape;
    this._shape = null;
    if (shape?.kind === 'box') {
      const box = around(shape);
      if (box.right > box.left && box.bottom > box.top) {
        this.history.apply({ kind: 'box', box, value: 1 });
      }
    } else if (shape?.kind === 'lasso' && shape.points.length >= 6) {
      this.history.apply({ kind: 'lasso', points: shape.points, value: 1 });
    } else if (this.history?.drawing) {
      this.history.end();
    }
    this._viewer.redraw();
  }

  _abandon() {
    this._shape = null;
    this.history?.abandon();
    this._viewer.redraw();
  }

  _step(dx, dy, far) {
    const { view } = this._viewer;
    const { top, left, bottom, right } = view.visible();
    const middle = { x: Math.floor((left + right) / 2) + 0.5, y: Math.floor((top + bottom) / 2) + 0.5 };
    this._cursor ??= middle;
    // A step is seen: at least 4 pixels of the page.
    const step = Math.max(1, Math.round((4 * view.ratio) / view.scale)) * (far ? 8 : 1);
    const inside = (value, end) => Math.max(0.5, Math.min(end - 0.5, value));
    this._cursor = {
      x: inside(this._cursor.x + dx * step, view.photoWidth),
      y: inside(this._cursor.y + dy * step, view.photoHeight),
    };
    const { x, y } = this._cursor;
    view.reveal(x, y);
    this._extend(x, y);
    this._viewer.moved();
  }

  _press() {
    if (this._shape || this.history.drawing) {
      this._finish();
      this._say('The mark is done.');
      return;
    }
    if (!this._cursor) this._step(0, 0, false);
    this._begin(this._cursor.x, this._cursor.y);
    this._say('The mark has begun. Move with the arrow keys; Enter ends it, Escape takes it back.');
    this._viewer.redraw();
  }

  _pointAs() {
    const panning = this._shape?.kind === 'pan';
    const cursor = panning ? 'grabbing' : this._space || !this._paints ? 'grab' : 'crosshair';
    this._canvas.dataset.cursor = cursor;
  }

  _decorate(context, view) {
    if (!this._paints) return;
    const line = (path) => {
      // Dark below light: seen on everything.
      for (const [width, colour] of [[3, 'rgb(0 0 0 / 60%)'], [1.5, '#fff']]) {
        context.lineWidth = width * view.ratio;
        context.strokeStyle = colour;
        context.stroke(path);
      }
    };
    const path = new Path2D();
    if (this._shape?.kind === 'box') {
      const { left, top, right, bottom } = around(this._shape);
      const [x, y] = view.toDevice(left, top);
      path.rect(x, y, (right - left) * view.scale, (bottom - top) * view.scale);
    } else if (this._shape?.kind === 'lasso') {
      const { points } = this._shape;
      for (let i = 0; i < points.length; i += 2) {
        path.lineTo(...view.toDevice(points[i], points[i + 1]));
      }
    }
    const at = this._cursor ?? this._pointer;
    if (at && !this._space) {
      const [x, y] = view.toDevice(at.x, at.y);
      const brush = this.tool === 'brush' || this.tool === 'eraser';
      const cross = 6 * view.ratio;
      if (brush) {
        const radius = Math.max(1, (this.size / 2) * view.scale);
        path.moveTo(x + radius, y);
        path.arc(x, y, radius, 0, 2 * Math.PI);
      }
      if (this._cursor) {
        path.moveTo(x - cross, y);
        path.lineTo(x + cross, y);
        path.moveTo(x, y - cross);
        path.lineTo(x, y + cross);
      }
    }
    line(path);
  }
}

function around({ from, to }) {
  return {
    left: Math.min(from[0], to[0]),
    right: Math.max(from[0], to[0]),
    top: Math.min(from[1], to[1]),
    bottom: Math.max(from[1], to[1]),
  };
}
