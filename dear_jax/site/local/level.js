/**
 * How degraded a photo is, as one number from 0 (clean) to 1. The numbers and what they
 * mean are those of dear_jax/inference/degradation.py.
 */
import { qualityOfPixels, spread } from './quality.js';

const [HARDEST_BLUR, HARDEST_NOISE, HARDEST_QUALITY] = [2.6, 24, 20];
const [TILE, MOST_TILES] = [128, 64];
const [SMALL, LARGE, SMOOTHEST, SHARPEST] = [3, 7, 0.05, 0.95];
const SHARPEST_SHARE = 0.5;
const FEWEST = 24;
const MAD = 0.6745;
const [ROUNDING, LEAST_SHARE] = [0.3, 0.02];
const FINE = 98;
const [DOUBTFUL, CERTAIN] = [0.5, 0.9];
// Fits for photos without compression, and with it.
const NOISY = [[-4.36, 13.73, -2.54, -10.73, -8.36, 0], [-0.42, 3.97, -0.78, -2.38, -0.71, 1.69]];
const NOISE = [[0.68, 1.28, 0.65, -0.45, -1.0, 0], [1.02, 0.85, 0.23, -0.24, -0.37, 1.02]];
const BLUR = [[-2.45, 0.93, 0.13, -4.27, -1.26, 0], [-3.64, 0.27, 0.15, -5.22, -0.53, -0.04]];

/**
 * The level of a photo; what is missing of it has no effect.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} photo RGBA.
 * @param {Uint8Array} mask 1 = missing.
 * @param {?number} quality JPEG quality of its file; null: as the pixels show it.
 * @returns {number} From 0 to 1.
 */
export function estimateLevel(photo, mask, quality) {
  quality ??= qualityOfPixels(photo, mask);
  const fit = quality < FINE ? 1 : 0;
  const traits = traitsOf(tilesOf(photo, mask));
  if (!traits) return 0;
  const terms = [1, ...traits, Math.min(coarseness(quality), 1)];
  const dot = (fits) => fits[fit].reduce((sum, factor, i) => sum + factor * terms[i], 0);
  const noisy = 1 / (1 + Math.exp(-dot(NOISY)));
  const noise = within(Math.expm1(dot(NOISE)), HARDEST_NOISE);
  const blur = within(dot(BLUR), HARDEST_BLUR);
  if (fit) return levelOf(blur, noisy * noise, quality);
  const share = within((noisy - DOUBTFUL) / (CERTAIN - DOUBTFUL), 1);
  return levelOf(share * blur, share * noise, quality);
}

/** The severity of a JPEG quality, 1 at the hardest. */
function coarseness(quality) {
  const scale = (q) => (q < 50 ? 5000 / q : 200 - 2 * q);
  return scale(quality) / scale(HARDEST_QUALITY);
}

function levelOf(blur, noise, quality) {
  const severities = [blur / HARDEST_BLUR, noise / HARDEST_NOISE, coarseness(quality)];
  return Math.sqrt(severities.reduce((sum, s) => sum + Math.min(s, 1) ** 2, 0) / 3);
}

function within(value, most) {
  return Math.min(Math.max(value, 0), most);
}

/** Luma in [0, 255], and what is known, of tiles of a photo. */
function tilesOf({ data, width, height }, mask) {
  let places = [];
  for (let top = 0; top < height; top += TILE) {
    for (let left = 0; left < width; left += TILE) places.push([top, left]);
  }
  if (places.length > MOST_TILES) places = spread(places, MOST_TILES);
  return places.map(([top, left]) => {
    const [rows, columns] = [Math.min(TILE, height - top), Math.min(TILE, width - left)];
    const luma = new Float64Array(rows * columns);
    const known = new Uint8Array(rows * columns);
    for (let y = 0, to = 0; y < rows; y++) {
      for (let x = 0; x < columns; x++, to++) {
        const at = (top + y) * width + left + x;
        known[to] = nearHole(mask, width, height, top + y, left + x) ? 0 : 1;
        if (mask[at]) continue;
        luma[to] = 0.299 * data[4 * at] + 0.587 * data[4 * at + 1] + 0.114 * data[4 * at + 2];
      }
    }
    return { luma, known, rows, columns };
  });
}

/** Whether a pixel is missing, or beside one: there may be what is left of the damage. */
function nearHole(mask, width, height, y, x) {
  for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row++) {
    for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column++) {
      if (mask[row * width + column]) return true;
    }
  }
  return false;
}

/** Logarithms of smoothness (twice), sharpness and diagonal deviation; null: unknown. */
function traitsOf(tiles) {
  const smooth = [];
  for (const side of [SMALL, LARGE]) {
    const left = joined(tiles.map((tile) => leftByPlanes(tile, side)));
    if (left.length < FEWEST && side === SMALL) return null;
    // Of small photos, or between many holes, there may be no large window.
    smooth.push(left.length ? quantile(left, SMOOTHEST) : smooth[0]);
  }
  const [near, far] = [0, 1].map((i) => joined(tiles.map((tile) => steps(tile)[i])));
  if (!far.some((step) => step > 0)) return null;
  const least = quantile(far.slice(), SHARPEST);
  let [between, outer] = [0, 0];
  far.forEach((step, i) => {
    if (step < least) return;
    between += near[i];
    outer += step;
  });
  const share = Math.min(between / outer, SHARPEST_SHARE);
  const deviation = quantile(joined(tiles.map(diagonal)), 0.5) / MAD;
  return [
    ...smooth.map((s) => Math.log(s + ROUNDING)),
    Math.log(share + LEAST_SHARE),
    Math.log(deviation + ROUNDING),
  ];
}

/** Standard deviations from planes fitted to known windows of side x side. */
function leftByPlanes({ luma, known, rows, columns }, side) {
  if (Math.min(rows, columns) < side) return [];
  const mean = luma.reduce((a, b) => a + b) / luma.length;
  const half = side >> 1;
  const ramp = (side * (side * side - 1)) / 12; // The sum of squares of -half ... half.
  const found = [];
  for (let top = 0; top + side <= rows; top++) {
    for (let left = 0; left + side <= columns; left++) {
      let [sum, squares, down, across, whole] = [0, 0, 0, 0, true];
      for (let y = 0; y < side && whole; y++) {
        for (let x = 0, at = (top + y) * columns + left; x < side; x++, at++) {
          if (!known[at]) {
            whole = false;
            break;
          }
          const value = luma[at] - mean;
          sum += value;
          squares += value * value;
          down += (y - half) * value;
          across += (x - half) * value;
        }
      }
      if (!whole) continue;
      const rest = squares - (sum * sum) / side ** 2 - (down ** 2 + across ** 2) / (side * ramp);
      found.push(Math.sqrt(Math.max(rest, 0) / (side ** 2 - 3)));
    }
  }
  return found;
}

/** Sizes of the finest diagonal Haar coefficients, at all places. */
function diagonal({ luma, known, rows, columns }) {
  const found = [];
  for (let y = 1; y < rows; y++) {
    for (let x = 1, at = y * columns + 1; x < columns; x++, at++) {
      const above = at - columns;
      if (!(known[at] && known[at - 1] && known[above] && known[above - 1])) continue;
      found.push(Math.abs(luma[at] - luma[at - 1] - luma[above] + luma[above - 1]) / 2);
    }
  }
  return found;
}

/** Steps between the middle two and the outer two of four pixels in line. */
function steps({ luma, known, rows, columns }) {
  const [near, far] = [[], []];
  const lines = [[1, rows, columns, columns], [columns, columns, rows, 1]];
  for (const [step, count, length, next] of lines) {
    for (let line = 0; line < count; line++) {
      for (let i = 0, at = line * next; i + 3 < length; i++, at += step) {
        const [b, c, d] = [at + step, at + 2 * step, at + 3 * step];
        if (!(known[at] && known[b] && known[c] && known[d])) continue;
        near.push(Math.abs(luma[c] - luma[b]));
        far.push(Math.abs(luma[d] - luma[at]));
      }
    }
  }
  return [near, far];
}

function joined(lists) {
  const all = new Float64Array(lists.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const list of lists) {
    all.set(list, at);
    at += list.length;
  }
  return all;
}

/** As numpy.quantile; sorts the values. */
function quantile(values, share) {
  values.sort();
  const at = share * (values.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, values.length - 1);
  return values[low] + (at - low) * (values[high] - values[low]);
}
