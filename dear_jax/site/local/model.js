import { fillHoles } from './fill.js';
import { anyIn, blocksOf, runsOf, sideIn, workOf } from './windows.js';

const FINDING = 1024; // Side of a block in which damage is looked for.

/** A model of ONNX files; see dear_jax/export/functions.py. */
export class Model {
  /**
   * @param {object} ort onnxruntime-web.
   * @param {object} facts What model.json says of it.
   * @param {Record<string, Uint8Array>} graphs By name.
   * @param {Float32Array<ArrayBuffer>} weights See `readWeights`.
   */
  static async open(ort, facts, graphs, weights) {
    const sessions = {};
    const data = new Uint8Array(weights.buffer);
    for (const [name, graph] of Object.entries(graphs)) {
      sessions[name] = await ort.InferenceSession.create(graph, {
        executionProviders: ['wasm'],
        externalData: [{ path: 'weights', data }],
        logSeverityLevel: 3,
      });
    }
    return new Model(ort, facts, sessions);
  }

  constructor(ort, facts, sessions) {
    this._ort = ort;
    this._facts = facts;
    this._sessions = sessions;
  }

  /** Lets go of its memory. */
  async close() {
    for (const session of Object.values(this._sessions)) await session.release();
  }

  /**
   * Completes a photo, and enlarges it.
   * @param {{data: Uint8ClampedArray, width: number, height: number}} photo RGBA.
   * @param {Uint8Array} mask 1 = missing.
   * @param {object} wanted
   * @param {import('./windows.js').Size} wanted.size Of the picture.
   * @param {number} wanted.level How degraded the photo is, from 0 to 1.
   * @param {boolean} wanted.keep Whether known pixels stay, at the photo's own size.
   * @param {(done: number) => Promise<void>} advance Called with the share that is done.
   * @returns {Promise<Uint8Array<ArrayBuffer>>} RGB.
   */
  async restore(photo, mask, { size, level, keep }, advance) {
    const source = [photo.height, photo.width];
    const blocks = blocksOf(this._facts, source, size, keep ? mask : null);
    const picture = keep ? withoutAlpha(photo.data) : new Uint8Array(3 * size[0] * size[1]);
    if (!blocks.length) return picture;
    const base = filled(photo, mask);
    const cell = Float32Array.from(source, (side, i) => (2 * side) / size[i]);
    const given = { level: this._tensor([level], []), cell: this._tensor(cell, [2]) };
    const total = workOf(blocks);
    let done = 0;
    for (const { rows, columns, work } of blocks) {
      const window = [rows.from, rows.to, columns.from, columns.to];
      const shape = [rows.to - rows.from, columns.to - columns.from];
      const projection = await this._run('encode', {
        base: this._tensor(cut(base, photo.width, 3, ...window), [...shape, 3]),
        mask: this._tensor(cut(mask, photo.width, 1, ...window), shape),
        ...given,
      });
      const axes = [runsOf(rows, source[0], size[0]), runsOf(columns, source[1], size[1])];
      const count = axes[0].length * axes[1].length;
      const decoding = work / (2 * count); // Tiles where nothing is missing cost nothing.
      done += work / 2;
      for (const down of axes[0]) {
        for (const across of axes[1]) {
          done += decoding;
          await advance(done / total);
          const tile = { top: down.start, left: across.start, bottom: down.stop, right: across.stop };
          if (keep && !anyIn(mask, photo.width, tile)) continue;
          const colours = await this._decode(down, across, source, projection, rows, columns, base, given);
          put(picture, size[1], colours, tile, keep ? mask : null);
        }
      }
    }
    return picture;
  }

  /**
   * How likely each pixel of a photo is damaged, from 0 to 1.
   * @param {{data: Uint8ClampedArray, width: number, height: number}} photo RGBA.
   * @param {(done: number) => Promise<void>} advance
   * @returns {Promise<Float32Array>}
   */
  async find({ data, width, height }, advance) {
    const { halo, step } = this._facts;
    const found = new Float32Array(width * height);
    const [rows, columns] = [height, width].map((side) =>
      sideIn(side, Math.ceil(side / FINDING), halo, step));
    let done = 0;
    for (const [top, first] of rows.places) {
      for (const [left, second] of columns.places) {
        const image = floats(data, width, top, top + rows.read, left, left + columns.read);
        const tensor = this._tensor(image, [rows.read, columns.read, 3]);
        const part = await this._run('find', { image: tensor });
        for (let y = 0; y < rows.core; y++) {
          const from = (first - top + y) * columns.read + second - left;
          found.set(part.subarray(from, from + columns.core), (first + y) * width + second);
        }
        done += 1;
        await advance(done / (rows.places.length * columns.places.length));
      }
    }
    return found;
  }

  /** A tile of the picture, decoded from a block. */
  async _decode(down, across, source, projection, rows, columns, base, given) {
    const shape = [down.high + 1 - down.low, across.high + 1 - across.low];
    const width = columns.to - columns.from;
    const channels = this._facts.functions.decode.inputs.projection[2];
    const [top, left] = [down.low - rows.from, across.low - columns.from];
    const seen = cut(projection, width, channels, top, top + shape[0], left, left + shape[1]);
    const part = cut(base, source[1], 3, down.low, down.high + 1, across.low, across.high + 1);
    const edges = [-down.low, source[0] - 1 - down.low, -across.low, source[1] - 1 - across.low];
    const places = ({ positions, low }) => Float32Array.from(positions, (at) => at - low);
    return this._run('decode', {
      projection: this._tensor(seen, [...shape, channels]),
      base: this._tensor(part, [...shape, 3]),
      rows: this._tensor(places(down), [down.positions.length]),
      columns: this._tensor(places(across), [across.positions.length]),
      edges: this._tensor(edges, [4]),
      ...given,
    });
  }

  /** Runs a function with those arrays that it takes. */
  async _run(name, given) {
    const { inputs, output } = this._facts.functions[name];
    const taken = Object.fromEntries(Object.keys(inputs).map((input) => [input, given[input]]));
    const results = await this._sessions[name].run(taken);
    return results[output].data;
  }

  _tensor(values, shape) {
    const data = values instanceof Float32Array ? values : Float32Array.from(values);
    return new this._ort.Tensor('float32', data, shape);
  }
}

/** The photo in [-1, 1] with its holes filled smoothly. */
function filled({ data, width, height }, mask) {
  const base = floats(data, width, 0, height, 0, width);
  for (let i = 0; i < base.length; i++) base[i] = 2 * base[i] - 1;
  for (let at = mask.indexOf(1); at >= 0; at = mask.indexOf(1, at + 1)) base.fill(0, 3 * at, 3 * at + 3);
  fillHoles(base, mask, height, width);
  return base;
}

/** A window of an array of rows of pixels. */
function cut(values, width, channels, top, bottom, left, right) {
  const length = (right - left) * channels;
  const window = new Float32Array((bottom - top) * length);
  for (let y = top; y < bottom; y++) {
    const from = (y * width + left) * channels;
    window.set(values.subarray(from, from + length), (y - top) * length);
  }
  return window;
}

/** A window of RGBA bytes as RGB from 0 to 1. */
function floats(data, width, top, bottom, left, right) {
  const window = new Float32Array(3 * (bottom - top) * (right - left));
  let to = 0;
  for (let y = top; y < bottom; y++) {
    for (let from = 4 * (y * width + left), end = 4 * (y * width + right); from < end; from += 4) {
      window[to++] = data[from] / 255;
      window[to++] = data[from + 1] / 255;
      window[to++] = data[from + 2] / 255;
    }
  }
  return window;
}

function withoutAlpha(data) {
  const colours = new Uint8Array((3 * data.length) / 4);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    colours[to++] = data[from];
    colours[to++] = data[from + 1];
    colours[to++] = data[from + 2];
  }
  return colours;
}

/** Puts a tile into a picture, or its missing pixels only. */
function put(picture, width, colours, { top, left, bottom, right }, mask) {
  let from = 0;
  for (let y = top; y < bottom; y++) {
    for (let at = y * width + left, end = y * width + right; at < end; at++, from += 3) {
      if (mask && !mask[at]) continue;
      for (let c = 0; c < 3; c++) picture[3 * at + c] = Math.floor(colours[from + c] * 255 + 0.5);
    }
  }
}
