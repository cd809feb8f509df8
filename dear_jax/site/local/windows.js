/**
 * How a photo is divided for the model: blocks that are encoded, each with the pixels
 * around it that it depends on, and tiles of the picture that are decoded from them.
 * What they are has no effect on the picture. See dear_jax/export/runtime.py.
 *
 * @typedef {{step: number, halo: number}} Facts Of a model.
 * @typedef {[number, number]} Size Height and width.
 *
 * @typedef {object} Span Pixels along one axis.
 * @property {number} low The first one that is wanted.
 * @property {number} high The one after the last.
 * @property {number} from The first one that they depend on.
 * @property {number} to The one after the last.
 *
 * @typedef {object} Block
 * @property {Span} rows
 * @property {Span} columns
 * @property {number} work
 */

/** Side of a block in pixels of the photo, and of a tile in pixels of the picture. */
const BLOCK = 512;
export const TILE = 96;
/** What a pixel costs that is encoded, to one that is decoded. */
const ENCODING = 16;

/**
 * The blocks of a photo that must be encoded.
 * @param {Facts} facts
 * @param {Size} source
 * @param {Size} target
 * @param {?Uint8Array} holes 1 where the picture is wanted, of the photo's size; null:
 *   all of it is.
 * @returns {Block[]}
 */
export function blocksOf(facts, source, target, holes) {
  const [tops, lefts] = source.map((side) => {
    // As many blocks as needed, about equally large.
    const core = sideIn(side, Math.ceil(side / BLOCK), 0, facts.step).core;
    return range(0, side, core).map((low) => [low, Math.min(low + core, side)]);
  });
  const blocks = [];
  for (const [top, bottom] of tops) {
    for (const [left, right] of lefts) {
      const whole = { top, bottom, left, right };
      const part = holes ? boxOf(holes, source[1], whole) : whole;
      if (!part) continue;
      const rows = spanOf(part.top, part.bottom, source[0], facts);
      const columns = spanOf(part.left, part.right, source[1], facts);
      const encoded = (rows.to - rows.from) * (columns.to - columns.from);
      const share = (part.bottom - part.top) * (part.right - part.left);
      const decoded = (share * target[0] * target[1]) / (source[0] * source[1]);
      blocks.push({ rows, columns, work: ENCODING * encoded + decoded });
    }
  }
  return blocks;
}

/** The work of blocks: a number that the time they take is proportional to. */
export function workOf(blocks) {
  return blocks.reduce((sum, { work }) => sum + work, 0);
}

/**
 * An axis of a tile, and the pixels that it is decoded from.
 * @typedef {object} Run
 * @property {number} start Of the picture.
 * @property {number} stop
 * @property {number} low First pixel of the photo that it reads.
 * @property {number} high Last one.
 * @property {Float64Array} positions Its pixels' centres, in pixels of the photo.
 */

/**
 * The picture's pixels whose centres lie in a span of the photo.
 * @param {Span} span
 * @param {number} size Of the photo.
 * @param {number} target Of the picture.
 * @returns {Run[]}
 */
export function runsOf({ low, high }, size, target) {
  const centre = (i) => (size * (i + 0.5)) / target - 0.5;
  const firstFrom = (edge) => {
    let i = Math.max(0, Math.floor(((edge + 0.5) * target) / size - 0.5) - 1);
    while (i < target && centre(i) < edge) i += 1;
    return i;
  };
  const first = firstFrom(low - 0.5);
  const end = high < size ? firstFrom(high - 0.5) : target;
  return range(first, end, TILE).map((start) => {
    const stop = Math.min(start + TILE, end);
    const positions = Float64Array.from({ length: stop - start }, (_, i) => centre(start + i));
    const inside = (pixel) => Math.min(Math.max(pixel, 0), size - 1);
    const reach = [positions[0], positions.at(-1)].map(Math.floor);
    return { start, stop, low: inside(reach[0] - 1), high: inside(reach[1] + 2), positions };
  });
}

/**
 * Divides an axis in parts of one size that overlap; see dear_jax/inference/tiles.py.
 * @param {number} size Of the photo.
 * @param {number} parts
 * @param {number} halo Pixels needed around what is kept.
 * @param {number} step
 * @returns {{core: number, read: number, places: [number, number][]}} Pixels that are
 *   kept and read of each, and each one's first that is read and that is kept.
 */
export function sideIn(size, parts, halo, step) {
  const core = Math.min(size, Math.ceil(Math.ceil(size / parts) / step) * step);
  const count = Math.ceil(size / core);
  // Parts end where the photo ends, so its remainder is theirs.
  let read = core + 2 * halo + step;
  read = count === 1 || read >= size ? size : Math.min(read + ((size - read) % step), size);
  const places = range(0, count, 1).map((i) => {
    const keep = Math.min(i * core, size - core);
    const low = Math.floor(Math.max(0, keep - halo) / step) * step;
    return [Math.min(low, size - read), keep];
  });
  return { core, read, places };
}

/** Whether something is marked in a part of a photo. */
export function anyIn(marks, width, { top, left, bottom, right }) {
  for (let y = top; y < bottom; y++) {
    if (marks.subarray(y * width + left, y * width + right).includes(1)) return true;
  }
  return false;
}

/** The box around what is marked in a part of a photo; null: nothing is. */
function boxOf(marks, width, { top, left, bottom, right }) {
  let box = null;
  for (let y = top; y < bottom; y++) {
    const row = marks.subarray(y * width + left, y * width + right);
    const first = row.indexOf(1);
    if (first < 0) continue;
    const [from, to] = [left + first, left + row.lastIndexOf(1) + 1];
    box ??= { top: y, left: from, bottom: y, right: to };
    box.bottom = y + 1;
    box.left = Math.min(box.left, from);
    box.right = Math.max(box.right, to);
  }
  return box;
}

function spanOf(low, high, size, { step, halo }) {
  const reach = halo + step; // Decoding reads two pixels beyond.
  const from = Math.max(0, Math.floor((low - reach) / step) * step);
  const to = Math.min(size, Math.ceil((high + reach) / step) * step);
  return { low, high, from, to };
}

function range(from, to, step) {
  return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
}
