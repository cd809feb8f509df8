import { headOf } from './quality.js';

/** Pixels of a photo, at most. */
export const MOST_PIXELS = 24_000_000;
const STRIP = 4_000_000; // Pixels of a canvas: some browsers have no larger ones.
const HEAD = 1 << 20; // Bytes; photos of cameras have previews before what is looked for.

/**
 * Opens a file.
 * @param {Blob} file
 * @returns {Promise<{image: ImageBitmap, head: object, remarks: string[]}>} Upright; see
 *   `headOf`.
 * @throws {Error} With a sentence, if it cannot be read or is too large.
 */
export async function openFile(file) {
  const head = headOf(new Uint8Array(await file.slice(0, HEAD).arrayBuffer()));
  let image;
  try {
    image = await decoded(file);
  } catch {
    throw new Error(file.size ? unreadable(head.format) : 'The file is empty.');
  }
  const { width, height } = image;
  if (width * height > MOST_PIXELS) {
    image.close();
    throw new Error(
      `${width} × ${height} pixels are more than the ${MOST_PIXELS / 1e6} million that this page ` +
      'takes. Make the photo smaller, or use the program dear.',
    );
  }
  const remarks = [];
  if (head.bits === 16) {
    remarks.push('The file has 16 bits of each colour, of which this page reads 8; the program dear keeps them all');
  }
  if (head.format !== 'JPEG' && pixelsOf(image).transparent) {
    remarks.push('Where the photo is transparent it becomes white');
  }
  return { image, head, remarks };
}

/** The image in a file. @param {Blob} file @returns {Promise<ImageBitmap>} */
export function decoded(file) {
  return createImageBitmap(file);
}

/**
 * The pixels of an image, on white.
 * @param {ImageBitmap} image
 * @returns {{data: Uint8ClampedArray<ArrayBuffer>, width: number, height: number,
 *   transparent: boolean}} RGBA.
 */
export function pixelsOf(image) {
  const { width, height } = image;
  const data = new Uint8ClampedArray(4 * width * height);
  const rows = Math.max(1, Math.min(height, Math.floor(STRIP / width)));
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  for (let top = 0; top < height; top += rows) {
    context.clearRect(0, 0, width, rows);
    context.drawImage(image, 0, -top);
    const strip = context.getImageData(0, 0, width, Math.min(rows, height - top)).data;
    data.set(strip, 4 * top * width);
  }
  return { data, width, height, transparent: onWhite(data) };
}

/** Puts what is transparent on white; whether anything was. */
function onWhite(data) {
  let any = false;
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3];
    if (alpha === 255) continue;
    any = true;
    for (let c = i; c < i + 3; c++) data[c] = (data[c] * alpha + 255 * (255 - alpha)) / 255;
    data[i + 3] = 255;
  }
  return any;
}

function unreadable(format) {
  if (!format) return 'This is no photo that can be read. Choose a JPEG, PNG or WebP file.';
  const also = ['TIFF', 'HEIC', 'JPEG XL'].includes(format);
  return also
    ? `This browser cannot read ${format} files; the program dear can. Or save the photo as JPEG or PNG.`
    : `This ${format} file is damaged, and this browser cannot read it.`;
}
