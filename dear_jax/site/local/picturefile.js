import { chunk, SIGNATURE } from './png.js';

const BAND = 1 << 20; // Bytes that are compressed at once, about.

/**
 * Writes a picture as PNG, exactly: canvases may change colours on the way.
 * @param {Uint8Array} pixels RGB.
 * @param {number} width
 * @param {number} height
 * @param {boolean} grey Whether it becomes grey, by the mean of its colours.
 * @returns {Promise<Blob>}
 */
export async function encodePicture(pixels, width, height, grey) {
  const channels = grey ? 1 : 3;
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8);
  header.setUint8(9, grey ? 0 : 2);
  const rows = filtered(grey ? meansOf(pixels) : pixels, width * channels, height, channels);
  const stream = new ReadableStream({
    pull(controller) {
      const { done, value } = rows.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  const packed = stream.pipeThrough(new CompressionStream('deflate'));
  const parts = [
    SIGNATURE,
    chunk('IHDR', new Uint8Array(header.buffer)),
    chunk('IDAT', new Uint8Array(await new Response(packed).arrayBuffer())),
    chunk('IEND', new Uint8Array()),
  ];
  return new Blob(parts, { type: 'image/png' });
}

function meansOf(pixels) {
  const means = new Uint8Array(pixels.length / 3);
  for (let i = 0; i < means.length; i++) {
    means[i] = Math.floor((pixels[3 * i] + pixels[3 * i + 1] + pixels[3 * i + 2] + 1) / 3);
  }
  return means;
}

/** Bands of rows, each row as the difference that is smallest: from left, above, Paeth. */
function* filtered(pixels, length, height, channels) {
  const count = Math.max(1, Math.floor(BAND / length));
  const nothing = new Uint8Array(length);
  const tries = FILTERS.map(() => new Uint8Array(length));
  for (let top = 0; top < height; top += count) {
    const rows = Math.min(count, height - top);
    const band = new Uint8Array(rows * (length + 1));
    for (let i = 0; i < rows; i++) {
      const at = (top + i) * length;
      const row = pixels.subarray(at, at + length);
      const above = at ? pixels.subarray(at - length, at) : nothing;
      const sums = FILTERS.map(({ apply }, f) => apply(row, above, channels, tries[f]));
      const best = sums.indexOf(Math.min(...sums));
      band[i * (length + 1)] = FILTERS[best].code;
      band.set(tries[best], i * (length + 1) + 1);
    }
    yield band;
  }
}

/** Filters of PNG; each returns how large what it leaves is. */
const FILTERS = [
  { code: 1, apply: (row, above, back, to) => leave(row, to, (i) => (i < back ? 0 : row[i - back])) },
  { code: 2, apply: (row, above, back, to) => leave(row, to, (i) => above[i]) },
  {
    code: 4,
    apply: (row, above, back, to) =>
      leave(row, to, (i) => (i < back ? above[i] : paeth(row[i - back], above[i], above[i - back]))),
  },
];

function leave(row, to, guess) {
  let sum = 0;
  for (let i = 0; i < row.length; i++) {
    const rest = (row[i] - guess(i)) & 255;
    to[i] = rest;
    sum += rest < 128 ? rest : 256 - rest;
  }
  return sum;
}

function paeth(left, above, corner) {
  const a = Math.abs(above - corner);
  const b = Math.abs(left - corner);
  const c = Math.abs(left + above - 2 * corner);
  if (a <= b && a <= c) return left;
  return b <= c ? above : corner;
}
