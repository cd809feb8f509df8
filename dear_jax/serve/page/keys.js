const HOVER = 4000; // Milliseconds after a movement of the mouse, in which Tab is a tool.

/**
 * Watches the keys of the whole page.
 * @param {object} page
 * @param {import('./viewer.js').Viewer} page.viewer
 * @param {import('./tools.js').Tools} page.tools
 */
export function watchKeys({ viewer, tools }) {
  const stage = viewer.canvas;
  const button = document.getElementById('original');
  let hovered = -Infinity;
  stage.parentElement.addEventListener('pointermove', () => (hovered = performance.now()));
  stage.parentElement.addEventListener('pointerleave', () => (hovered = -Infinity));
  const peek = (held) => {
    viewer.original = held;
    button.setAttribute('aria-pressed', String(held));
    viewer.redraw();
  };
  peek(false);
  watchButton(button, peek);

  window.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || document.querySelector('dialog[open]')) return;
    const typing = event.target.matches('input:not([type=checkbox], [type=radio], [type=file])');
    const onStage = event.target === stage || event.target === document.body;
    if (!viewer.showsResult && history(event, tools)) {
      event.preventDefault();
    } else if (event.ctrlKey || event.metaKey || event.altKey) {
      // The browser's own.
    } else if (event.key === 'Tab' && !event.shiftKey && performance.now() - hovered < HOVER) {
      // Only while the mouse is at work on the photo: else Tab goes on to the next control.
      event.preventDefault();
      if (!event.repeat) peek(true);
    } else if (typing) {
      // What is typed belongs to its field.
    } else if (event.key === 'b' || event.key === 'B') {
      if (!event.repeat) peek(true);
    } else if (event.key === '[' || event.key === ']') {
      tools.resize(event.key === ']' ? 1 : -1);
    } else if (onStage && (tools.key(event) || viewer.key(event))) {
      event.preventDefault();
    } else if (['+', '=', '-', '0'].includes(event.key)) {
      viewer.key(event);
    }
  });
  window.addEventListener('keyup', ({ key }) => {
    if (['Tab', 'b', 'B'].includes(key) && viewer.original) peek(false);
  });
  window.addEventListener('blur', () => peek(false));
}

function history(event, tools) {
  if (!event.ctrlKey && !event.metaKey) return false;
  const key = event.key.toLowerCase();
  if (key !== 'z' && key !== 'y') return false;
  if (key === 'y' || event.shiftKey) tools.history?.redo();
  else tools.history?.undo();
  return true;
}

/** A button that works as long as it is held. */
function watchButton(button, peek) {
  button.addEventListener('pointerdown', (event) => {
    button.setPointerCapture(event.pointerId);
    peek(true);
  });
  for (const kind of ['pointerup', 'pointercancel', 'lostpointercapture', 'blur']) {
    button.addEventListener(kind, () => peek(false));
  }
  button.addEventListener('contextmenu', (event) => event.preventDefault());
  button.addEventListener('keydown', (event) => {
    if (event.key === ' ' || event.key === 'Enter') peek(true);
  });
  button.addEventListener('keyup', () => peek(false));
}
