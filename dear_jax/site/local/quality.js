/**
 * What a file says of itself before it is decoded, and the quality that a photo was
 * compressed at, as its pixels show it. See dear_jax/images/jpeg_quality.py.
 */

/** Annex K of the JPEG standard, table K.1: quantisers of luma at quality 50. */
const LUMA = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
  14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
  49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
export const UNCOMPRESSED = 100;
const MOST_BLOCKS = 256;
const TOLERANCE = 1.2; // Four standard deviations of a coefficient's error.
const COARSE = 4; // Finer quantisers are no evidence.
const [ALL_FIT, NONZERO_FIT] = [0.97, 0.9]; // Shares that must lie at multiples.
const [DEVIATIONS, MORE] = [4, 6]; // By which they must exceed chance.

/**
 * What the head of a file says.
 * @param {Uint8Array} file
 * @returns {{format: string, bits: number, grey: boolean, quality: ?number}} Format: ''
 *   if it is not known. Quality: of a JPEG file, 1 to 100.
 */
export function headOf(file) {
  const starts = (text, at = 0) => [...text].every((c, i) => file[at + i] === c.charCodeAt(0));
  const known = { format: '', bits: 8, grey: false, quality: null };
  if (starts('\x89PNG')) {
    return { ...known, format: 'PNG', bits: file[24], grey: file[25] === 0 || file[25] === 4 };
  }
  if (starts('\xff\xd8\xff')) return { ...known, ...jpegHead(file) };
  if (starts('RIFF') && starts('WEBP', 8)) return { ...known, format: 'WebP' };
  if (starts('GIF8')) return { ...known, format: 'GIF' };
  if (starts('BM')) return { ...known, format: 'BMP' };
  if (starts('II*\0') || starts('MM\0*')) return { ...known, format: 'TIFF' };
  if (starts('ftypavif', 4)) return { ...known, format: 'AVIF' };
  if (starts('ftyphei', 4) || starts('ftypmif1', 4)) return { ...known, format: 'HEIC' };
  if (starts('\xff\x0a') || starts('JXL ', 4)) return { ...known, format: 'JPEG XL' };
  return known;
}

function jpegHead(file) {
  const numbers = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let [sum, grey] = [0, false];
  for (let at = 2; at + 4 < file.length && file[at] === 0xff;) {
    const kind = file[at + 1];
    if (kind === 0xff) {
      at += 1; // A filling byte.
      continue;
    }
    const length = numbers.getUint16(at + 2);
    const isFrame = kind >= 0xc0 && kind <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(kind);
    if (isFrame) grey = file[at + 9] === 1;
    if (kind === 0xdb) sum = lumaSum(numbers, at + 4, at + 2 + length) || sum;
    if (kind === 0xda) break; // The pixels begin.
    at += 2 + length;
  }
  return { format: 'JPEG', grey, quality: sum ? qualityOfSum(sum) : null };
}

/** The sum of the first table's quantisers; 0 if it is not among these. */
function lumaSum(numbers, at, end) {
  while (at < Math.min(end, numbers.byteLength)) {
    const [wide, table] = [numbers.getUint8(at) >> 4, numbers.getUint8(at) & 15];
    const size = wide ? 2 : 1;
    at += 1;
    if (at + 64 * size > numbers.byteLength) return 0;
    let sum = 0;
    for (let i = 0; i < 64; i++) sum += wide ? numbers.getUint16(at + 2 * i) : numbers.getUint8(at + i);
    if (table === 0) return sum;
    at += 64 * size;
  }
  return 0;
}

function qualityOfSum(sum) {
  const percent = (100 * sum) / LUMA.reduce((a, b) => a + b);
  const quality = percent > 100 ? 5000 / percent : (200 - percent) / 2;
  return Math.min(Math.max(quality, 1), 100);
}

/**
 * The quality at which a photo was compressed before, as its pixels show it.
 * @param {{data: Uint8ClampedArray, width: number, height: number}} photo RGBA.
 * @param {Uint8Array} mask Blocks with missing pixels, 1, are left out.
 * @returns {number} 1 to 99, or 100 if nothing speaks for compression.
 */
export function qualityOfPixels({ data, width, height }, mask) {
  let blocks = [];
  for (let top = 0; top + 8 <= height; top += 8) {
    for (let left = 0; left + 8 <= width; left += 8) {
      if (tells(data, mask, width, top, left)) blocks.push([top, left]);
    }
  }
  if (!blocks.length) return UNCOMPRESSED;
  if (blocks.length > MOST_BLOCKS) blocks = spread(blocks, MOST_BLOCKS);
  const found = new Float64Array(64 * blocks.length);
  blocks.forEach(([top, left], i) => {
    const luma = new Float64Array(64);
    for (let j = 0; j < 64; j++) {
      const at = 4 * ((top + (j >> 3)) * width + left + (j & 7));
      luma[j] = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2] - 128;
    }
    found.set(cosines(luma), 64 * i);
  });
  for (let quality = 1; quality < UNCOMPRESSED; quality++) if (fits(found, quality)) return quality;
  return UNCOMPRESSED;
}

/** So many of a list, evenly spread. */
export function spread(list, count) {
  const step = (list.length - 1) / (count - 1);
  return Array.from({ length: count }, (_, i) => list[i === count - 1 ? list.length - 1 : Math.floor(i * step)]);
}

/** Whether a block is known, and no colour of it at the end of its range: clipped. */
function tells(data, mask, width, top, left) {
  for (let y = top; y < top + 8; y++) {
    for (let x = left; x < left + 8; x++) {
      const at = y * width + x;
      if (mask[at]) return false;
      for (let c = 4 * at; c < 4 * at + 3; c++) if (data[c] === 0 || data[c] === 255) return false;
    }
  }
  return true;
}

const COSINES = Float64Array.from({ length: 64 }, (_, i) => {
  const [k, n] = [i >> 3, i & 7];
  return Math.sqrt((k ? 2 : 1) / 8) * Math.cos((Math.PI * (2 * n + 1) * k) / 16);
});

/** The orthonormal cosine transform of an 8 x 8 block. */
function cosines(block) {
  const [half, whole] = [new Float64Array(64), new Float64Array(64)];
  for (let y = 0; y < 8; y++) {
    for (let k = 0; k < 8; k++) {
      for (let n = 0; n < 8; n++) half[8 * y + k] += COSINES[8 * k + n] * block[8 * y + n];
    }
  }
  for (let k = 0; k < 8; k++) {
    for (let x = 0; x < 8; x++) {
      for (let n = 0; n < 8; n++) whole[8 * k + x] += COSINES[8 * k + n] * half[8 * n + x];
    }
  }
  return whole;
}

/** Whether coefficients lie at multiples of a quality's quantisers. */
function fits(coefficients, quality) {
  const percent = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
  const steps = LUMA.map((step) =>
    Math.min(Math.max(Math.floor((step * percent + 50) / 100), 1), 255));
  let [near, hits, count, chance] = [0, 0, 0, 0];
  for (let i = 0; i < coefficients.length; i++) {
    const step = steps[i & 63];
    const multiple = Math.round(coefficients[i] / step);
    const close = Math.abs(coefficients[i] - multiple * step) < TOLERANCE;
    if (close) near += 1;
    if (multiple === 0 || step < COARSE) continue;
    count += 1;
    chance += Math.min((2 * TOLERANCE) / step, 1);
    if (close) hits += 1;
  }
  if (near / coefficients.length < ALL_FIT) return false;
  const enough = chance + DEVIATIONS * Math.sqrt(chance) + MORE;
  return hits > enough && hits >= NONZERO_FIT * count;
}
