const STEP = 0.02;

/** The line between before and after: dragged, or moved by keys. */
export class Compare {
  /**
   * @param {HTMLElement} handle
   * @param {import('./viewer.js').Viewer} viewer
   */
  constructor(handle, viewer) {
    this._handle = handle;
    this._viewer = viewer;
    this._moving = 0;
    handle.addEventListener('pointerdown', (event) => this._grab(event));
    handle.addEventListener('keydown', (event) => this._key(event));
    // The line lies over the stage, but the wheel is the stage's.
    handle.addEventListener('wheel', (event) => {
      event.preventDefault();
      viewer.canvas.dispatchEvent(new WheelEvent('wheel', event));
    }, { passive: false });
    this.set(0.5);
  }

  /** Shows how much of the photo as it was. @param {number} split From 0 to 1. */
  set(split) {
    cancelAnimationFrame(this._moving);
    this._viewer.split = Math.max(0, Math.min(1, split));
    const percent = Math.round(this._viewer.split * 100);
    this._handle.setAttribute('aria-valuenow', percent);
    this._handle.setAttribute('aria-valuetext', `${percent} % before, ${100 - percent} % after`);
    this.place();
    this._viewer.redraw();
  }

  /** Puts the line where the photo is now. */
  place() {
    const { left, right } = this._viewer.shown();
    const x = left + (right - left) * this._viewer.split;
    this._handle.style.transform = `translateX(${x}px)`;
  }

  /** Draws the line over the photo once, to show what became of it. */
  reveal() {
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) {
      this.set(0.5);
      return;
    }
    const began = performance.now();
    const move = (now) => {
      const share = Math.min(1, Math.max(0, now - began) / 900);
      this.set(1 - 0.5 * (1 - (1 - share) ** 3));
      if (share < 1) this._moving = requestAnimationFrame(move);
    };
    this.set(1);
    this._moving = requestAnimationFrame(move);
  }

  _grab(event) {
    event.preventDefault();
    this._handle.focus({ preventScroll: true });
    this._handle.setPointerCapture(event.pointerId);
    const stage = this._handle.parentElement.getBoundingClientRect();
    const { left, right } = this._viewer.shown();
    const split = (x) => (x - stage.left - left) / Math.max(1, right - left);
    const held = split(event.clientX) - this._viewer.split;
    const move = (next) => this.set(split(next.clientX) - held);
    const end = () => {
      this._handle.removeEventListener('pointermove', move);
      this._handle.removeEventListener('lostpointercapture', end);
    };
    this._handle.addEventListener('pointermove', move);
    this._handle.addEventListener('lostpointercapture', end);
  }

  _key(event) {
    const step = event.shiftKey ? 5 * STEP : STEP;
    const { split } = this._viewer;
    const places = {
      ArrowLeft: split - step,
      ArrowDown: split - step,
      ArrowRight: split + step,
      ArrowUp: split + step,
      PageDown: split - 5 * STEP,
      PageUp: split + 5 * STEP,
      Home: 0,
      End: 1,
    };
    if (!(event.key in places)) return;
    event.preventDefault();
    event.stopPropagation();
    this.set(places[event.key]);
  }
}
