/**
 * Shapes drawn into a mask: bytes, row by row, 1 = marked. A pixel belongs to a shape if
 * its centre does, so that drawing twice is drawing once. No DOM here.
 *
 * @typedef {{width: number, height: number, data: Uint8Array}} Mask
 */

/**
 * Draws a piece of a brush stroke: what a disc covers on its way.
 * @param {Mask} mask
 * @param {number} x0 Where the disc's centre comes from.
 * @param {number} y0
 * @param {number} x1 Where it goes.
 * @param {number} y1
 * @param {number} size The disc's diameter.
 * @param {0|1} value
 */
export function drawSegment(mask, x0, y0, x1, y1, size, value) {
  const radius = size / 2;
  const [length, dx, dy] = [Math.hypot(x1 - x0, y1 - y0), x1 - x0, y1 - y0];
  const top = Math.max(0, Math.floor(Math.min(y0, y1) - radius));
  const bottom = Math.min(mask.height, Math.ceil(Math.max(y0, y1) + radius));
  for (let y = top; y < bottom; y++) {
    const row = y + 0.5;
    let [from, to] = [Infinity, -Infinity];
    for (const [x, centre] of [[x0, y0], [x1, y1]]) {
      const half = radius * radius - (row - centre) ** 2;
      if (half < 0) continue;
      from = Math.min(from, x - Math.sqrt(half));
      to = Math.max(to, x + Math.sqrt(half));
    }
    if (length > 0) {
      // The band between the discs: 0 <= along <= length and |across| <= radius.
      const inside = bandAt(row - y0, dx / length, dy / length, length, radius);
      if (inside) {
        from = Math.min(from, x0 + inside[0]);
        to = Math.max(to, x0 + inside[1]);
      }
    }
    fillRow(mask, y, from, to, value);
  }
  setPixel(mask, x0, y0, value); // A disc of one pixel may miss every centre.
  setPixel(mask, x1, y1, value);
}

/**
 * Fills a rectangle.
 * @param {Mask} mask
 * @param {{left: number, top: number, right: number, bottom: number}} box
 * @param {0|1} value
 */
export function fillBox(mask, { left, top, right, bottom }, value) {
  const first = Math.max(0, Math.ceil(top - 0.5));
  const end = Math.min(mask.height, Math.ceil(bottom - 0.5));
  for (let y = first; y < end; y++) fillRow(mask, y, left, right, value);
}

/**
 * Fills what a closed line goes round.
 * @param {Mask} mask
 * @param {number[]} points x, y, x, y ...
 * @param {0|1} value
 */
export function fillPolygon(mask, points, value) {
  const crossings = new Map(); // Row -> [x, direction] where edges cross its middle.
  for (let i = 0; i < points.length; i += 2) {
    const next = (i + 2) % points.length;
    const [x0, y0, x1, y1] = [points[i], points[i + 1], points[next], points[next + 1]];
    const down = y1 > y0;
    const [upper, lower] = down ? [y0, y1] : [y1, y0];
    const first = Math.max(0, Math.ceil(upper - 0.5));
    const end = Math.min(mask.height, Math.ceil(lower - 0.5));
    for (let y = first; y < end; y++) {
      const x = x0 + ((y + 0.5 - y0) / (y1 - y0)) * (x1 - x0);
      if (!crossings.has(y)) crossings.set(y, []);
      crossings.get(y).push([x, down ? 1 : -1]);
    }
  }
  for (const [y, row] of crossings) {
    row.sort((a, b) => a[0] - b[0]);
    let turns = 0;
    for (let i = 0; i + 1 < row.length; i++) {
      turns += row[i][1];
      if (turns) fillRow(mask, y, row[i][0], row[i + 1][0], value);
    }
  }
}

/** Marks what is not marked, and the other way round. @param {Mask} mask */
export function invert({ data }) {
  for (let i = 0; i < data.length; i++) data[i] ^= 1;
}

/**
 * Widens what is marked.
 * @param {Mask} mask
 * @param {number} radius In pixels.
 */
export function widen(mask, radius) {
  const runs = toRuns(mask.data);
  const reach = Math.floor(radius);
  for (let i = 0; i < runs.length; i += 2) {
    // A run may go over several rows.
    for (let at = runs[i]; at < runs[i] + runs[i + 1];) {
      const y = Math.floor(at / mask.width);
      const end = Math.min(runs[i] + runs[i + 1], (y + 1) * mask.width);
      const [from, to] = [at - y * mask.width, end - y * mask.width];
      for (let dy = -reach; dy <= reach; dy++) {
        if (y + dy < 0 || y + dy >= mask.height) continue;
        const half = Math.sqrt(radius * radius - dy * dy);
        fillRow(mask, y + dy, from - half, to + half, 1);
      }
      at = end;
    }
  }
}

/**
 * A mask in short: start, length, start, length ... of what is marked.
 * @param {Uint8Array} data
 * @returns {Uint32Array}
 */
export function toRuns(data) {
  const runs = [];
  for (let at = data.indexOf(1); at >= 0;) {
    let end = data.indexOf(0, at);
    if (end < 0) end = data.length;
    runs.push(at, end - at);
    at = data.indexOf(1, end);
  }
  return Uint32Array.from(runs);
}

/**
 * Marks what runs say, beside what is marked.
 * @param {Uint8Array} data
 * @param {Uint32Array} runs See `toRuns`.
 */
export function addRuns(data, runs) {
  for (let i = 0; i < runs.length; i += 2) data.fill(1, runs[i], runs[i] + runs[i + 1]);
}

/** The part of a row, from its start, that a slanted band covers; null: none. */
function bandAt(row, ux, uy, length, radius) {
  // For the point (x, row): along = x * ux + row * uy, across = row * ux - x * uy.
  let [from, to] = [-Infinity, Infinity];
  for (const [slope, offset, low, high] of [
    [ux, row * uy, 0, length],
    [-uy, row * ux, -radius, radius],
  ]) {
    if (Math.abs(slope) < 1e-12) {
      if (offset < low || offset > high) return null;
      continue;
    }
    const [a, b] = [(low - offset) / slope, (high - offset) / slope];
    from = Math.max(from, Math.min(a, b));
    to = Math.min(to, Math.max(a, b));
  }
  return from <= to ? [from, to] : null;
}

function fillRow(mask, y, from, to, value) {
  const first = Math.max(0, Math.ceil(from - 0.5));
  const end = Math.min(mask.width, Math.floor(to - 0.5) + 1);
  if (first < end) mask.data.fill(value, y * mask.width + first, y * mask.width + end);
}

function setPixel(mask, x, y, value) {
  const [column, row] = [Math.floor(x), Math.floor(y)];
  if (column < 0 || row < 0 || column >= mask.width || row >= mask.height) return;
  mask.data[row * mask.width + column] = value;
}
