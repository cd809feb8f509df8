/** Files of the model: fetched, unpacked, and put into the order that graphs read. */

/**
 * Fetches a file that is compressed by gzip.
 * @param {string} url
 * @param {(bytes: number) => void} onBytes Called with how many more have come.
 * @returns {Promise<Uint8Array<ArrayBuffer>>} What is in it.
 */
export async function fetchUnpacked(url, onBytes = () => {}) {
  const answer = await fetchFile(url);
  const parts = [];
  const reader = answer.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    onBytes(part.value.length);
  }
  const blob = new Blob(parts);
  const start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  // Some hosts declare the compression, and browsers have undone it then.
  if (start[0] !== 0x1f || start[1] !== 0x8b) return new Uint8Array(await blob.arrayBuffer());
  const unpacked = blob.stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

/** Fetches a file of JSON. @param {string} url @returns {Promise<object>} */
export async function fetchFacts(url) {
  return (await fetchFile(url)).json();
}

async function fetchFile(url) {
  const answer = await fetch(url).catch(() => null);
  if (answer?.ok) return answer;
  const why = answer ? `error ${answer.status}` : 'there is no network';
  throw new Error(`the file ${url} cannot be loaded now (${why}); try again later`);
}

/**
 * Reads weights.
 * @param {Uint8Array} file A safetensors file of float32 or bfloat16.
 * @param {{name: string, shape: number[], offset: number}[]} parameters Where each goes.
 * @returns {Float32Array<ArrayBuffer>} All of them, in the file that graphs read.
 */
export function readWeights(file, parameters) {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  const count = ({ shape }) => shape.reduce((a, b) => a * b, 1);
  const last = parameters.at(-1);
  const all = new Float32Array(last.offset / 4 + count(last));
  for (const parameter of parameters) {
    const { dtype, data_offsets: [begin, end] } = header[parameter.name];
    const size = { F32: 4, BF16: 2 }[dtype];
    if (!size || end - begin !== size * count(parameter)) {
      throw new Error(`the weights of ${parameter.name} do not fit the model`);
    }
    const data = file.slice(8 + length + begin, 8 + length + end).buffer;
    const to = all.subarray(parameter.offset / 4, parameter.offset / 4 + count(parameter));
    if (dtype === 'F32') {
      to.set(new Float32Array(data));
    } else {
      // A bfloat16 is the upper half of a float32.
      const bits = new Uint32Array(to.buffer, to.byteOffset, to.length);
      new Uint16Array(data).forEach((half, i) => (bits[i] = half << 16));
    }
  }
  return all;
}

/**
 * Weights between two of one model.
 * @param {Float32Array} a
 * @param {Float32Array} b
 * @param {number} share Of b, from 0 to 1.
 * @returns {Float32Array<ArrayBuffer>}
 */
export function mixed(a, b, share) {
  return a.map((value, i) => (1 - share) * value + share * b[i]);
}
