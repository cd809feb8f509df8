/** Masks to and from image files, exactly: neither colours nor sizes are touched. */

/**
 * Writes a mask as a black and white PNG, white = missing. At once, so that a page that
 * is being closed can still send it; small, for runs of equal bytes become one.
 * @param {Uint8Array} mask 1 = missing, row by row.
 * @param {number} width
 * @param {number} height
 * @returns {Blob}
 */
export function encodeMask(mask, width, height) {
  const bytes = Math.ceil(width / 8) + 1; // Of a row, which begins with its filter, 0.
  const rows = new Uint8Array(bytes * height);
  for (let at = mask.indexOf(1); at >= 0; at = mask.indexOf(1, at + 1)) {
    const y = Math.floor(at / width);
    const x = at - y * width;
    rows[y * bytes + 1 + (x >> 3)] |= 128 >> (x & 7);
  }
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 1);
  const signature = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
  const parts = [
    chunk('IHDR', new Uint8Array(header.buffer)),
    chunk('IDAT', compress(rows)),
    chunk('IEND', new Uint8Array()),
  ];
  return new Blob([signature, ...parts], { type: 'image/png' });
}

/**
 * Reads a mask from an image file.
 * @param {Blob} blob
 * @param {number} width Of the photo.
 * @param {number} height
 * @returns {Promise<Uint8Array>} 1 where the image is brighter than half.
 * @throws {Error} With a sentence, if it is no image or of another size.
 */
export async function decodeMask(blob, width, height) {
  let image;
  try {
    image = await createImageBitmap(blob);
  } catch {
    throw new Error('This file is not a picture of marks. Choose a PNG with white marks.');
  }
  if (image.width !== width || image.height !== height) {
    throw new Error(
      `These marks are ${image.width} × ${image.height} pixels, ` +
      `the photo is ${width} × ${height}. Choose marks of the photo's size.`,
    );
  }
  const mask = new Uint8Array(width * height);
  const strip = Math.max(1, Math.min(height, Math.floor(4_000_000 / width)));
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = strip;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  for (let top = 0; top < height; top += strip) {
    context.fillStyle = '#000';
    context.fillRect(0, 0, width, strip);
    context.drawImage(image, 0, -top);
    const rows = Math.min(strip, height - top);
    const { data } = context.getImageData(0, 0, width, rows);
    for (let i = 0, to = top * width; i < rows * width; i++) {
      const bright = data[4 * i] + data[4 * i + 1] + data[4 * i + 2];
      if (bright > 382) mask[to + i] = 1;
    }
  }
  image.close();
  return mask;
}

/** A zlib stream in which a run of one byte is that byte and "as before, so often". */
function compress(bytes) {
  const out = new Bits(bytes.length >> 3);
  out.put(0x0178, 16);
  out.put(0b011, 3); // The last block, with the fixed code of RFC 1951.
  for (let at = 0; at < bytes.length;) {
    const value = bytes[at];
    let end = at + 1;
    while (bytes[end] === value) end += 1;
    out.symbol(value);
    let left = end - at - 1;
    while (left >= 3) {
      const length = Math.min(left, 258);
      const code = LENGTHS.findLastIndex((base) => base <= length);
      out.symbol(257 + code);
      out.put(length - LENGTHS[code], extraBits(code));
      out.put(0, 5); // One byte back.
      left -= length;
    }
    for (; left; left--) out.symbol(value);
    at = end;
  }
  out.symbol(256);
  out.align();
  let [a, b] = [1, 0];
  for (const byte of bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  for (const byte of [b >> 8, b & 255, a >> 8, a & 255]) out.put(byte, 8);
  return out.bytes();
}

const extraBits = (code) => (code < 8 || code === 28 ? 0 : (code >> 2) - 1);
const LENGTHS = [3]; // The shortest length of each code.
for (let code = 0; code < 27; code++) LENGTHS.push(LENGTHS[code] + (1 << extraBits(code)));
LENGTHS.push(258);

/** Bits in a row, the lowest of each byte first. */
class Bits {
  constructor(guess) {
    this._bytes = new Uint8Array(Math.max(64, guess));
    [this._count, this._held, this._bits] = [0, 0, 0];
  }

  put(value, bits) {
    this._held |= value << this._bits;
    for (this._bits += bits; this._bits >= 8; this._bits -= 8) {
      if (this._count === this._bytes.length) {
        const larger = new Uint8Array(2 * this._count);
        larger.set(this._bytes);
        this._bytes = larger;
      }
      this._bytes[this._count++] = this._held & 255;
      this._held >>>= 8;
    }
  }

  /** A symbol of the fixed code, whose bits go in from the highest. */
  symbol(value) {
    const [code, bits] =
      value < 144 ? [0x30 + value, 8]
        : value < 256 ? [0x190 + value - 144, 9]
          : value < 280 ? [value - 256, 7] : [0xc0 + value - 280, 8];
    for (let bit = bits - 1; bit >= 0; bit--) this.put((code >> bit) & 1, 1);
  }

  align() {
    if (this._bits) this.put(0, 8 - this._bits);
  }

  bytes() {
    return this._bytes.subarray(0, this._count);
  }
}

function chunk(kind, content) {
  const whole = new Uint8Array(content.length + 12);
  const numbers = new DataView(whole.buffer);
  numbers.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) whole[4 + i] = kind.charCodeAt(i);
  whole.set(content, 8);
  numbers.setUint32(content.length + 8, crc(whole.subarray(4, content.length + 8)));
  return whole;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});

function crc(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
