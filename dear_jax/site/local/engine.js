/**
 * The worker that runs the models. It takes messages
 *
 *     { id, kind: 'warm' | 'restore' | 'find' | 'level', ... }   work, see the functions
 *     { cancel: id }
 *
 * and answers { id, loaded } and { id, progress }, from 0 to 1, while it works, and at
 * last { id, done } or { id, failed }.
 */
import * as ort from './runtime/ort.wasm.min.mjs';
import { damagedIn } from './damage.js';
import { estimateLevel } from './level.js';
import { Model } from './model.js';
import { encodePicture } from './picturefile.js';
import { fetchFacts, fetchUnpacked, mixed, readWeights } from './weights.js';

const BETWEEN = 100; // Milliseconds between two messages about progress.
const RUNTIME = 'runtime/ort-wasm-simd-threaded';
const LITE = { folder: 'models/dear-lite/', graphs: ['encode', 'decode'] };
const DETECTOR = { folder: 'models/damage-detector/', graphs: ['find'] };

class Cancelled extends Error {}

const cancelled = new Set();
const kept = new Map(); // What was loaded, as promises, by name.
let restorer = { texture: -1, model: null };
let last = Promise.resolve();

onmessage = ({ data }) => {
  if (data.cancel) {
    cancelled.add(data.cancel);
  } else if (data.kind === 'level') {
    answer(data, level); // At once, also while something else is under way.
  } else {
    const work = { warm, restore, find }[data.kind];
    last = last.then(() => answer(data, work));
  }
};

async function answer(asked, work) {
  const { id } = asked;
  try {
    const [done, transfer] = await work(asked, new Reporter(id));
    postMessage({ id, done }, transfer ?? []);
  } catch (error) {
    const failed = error instanceof Cancelled ? '' : error.message || String(error);
    postMessage({ id, failed });
  }
  cancelled.delete(id);
}

/** Tells how far it is, and lets messages in. */
class Reporter {
  constructor(id) {
    this._id = id;
    this._told = -Infinity;
    this.loads = (share) => this._tell({ loaded: share });
    this.advances = async (share) => {
      this._tell({ progress: share });
      await turn();
      if (cancelled.has(this._id)) throw new Cancelled();
    };
  }

  _tell(what) {
    const now = performance.now();
    if (now - this._told < BETWEEN) return;
    this._told = now;
    postMessage({ id: this._id, ...what });
  }
}

/** Resolves after the messages that wait. */
function turn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Loads what restoring needs. */
async function warm(asked, { loads }) {
  await openRestorer(0, loads);
  return [null];
}

/** Restores a photo; see `Model.restore`. Answers the file, its level and how it was. */
async function restore({ photo, mask, size, denoise, keep, texture, head }, { loads, advances }) {
  const model = await openRestorer(texture, loads);
  await advances(0);
  const degraded = denoise === 'auto' ? estimateLevel(photo, mask, head.quality) : denoise;
  const own = size[0] === photo.height && size[1] === photo.width;
  const wanted = { size, level: degraded, keep: own && (keep ?? !degraded) };
  const pixels = await model.restore(photo, mask, wanted, advances);
  const file = await encodePicture(pixels, size[1], size[0], head.grey);
  await advances(1); // The last chance to be cancelled.
  return [{ file, level: degraded, kept: wanted.keep }];
}

/** Looks for damage; answers a mask. */
async function find({ photo, sensitivity, dilate }, { loads, advances }) {
  const detector = await once('detector', () => openModel(DETECTOR, loads));
  await advances(0);
  const probability = await detector.find(photo, advances);
  const mask = damagedIn(probability, photo, sensitivity, dilate);
  return [{ mask }, [mask.buffer]];
}

/** Estimates how degraded a photo is. */
async function level({ photo, mask, quality }) {
  return [estimateLevel(photo, mask, quality)];
}

/** Of the two sets of weights the mixture that is wanted. */
async function openRestorer(texture, loads) {
  if (restorer.texture === texture) return restorer.model;
  const files = ['weights', ...(texture ? ['texture'] : [])];
  const weigh = ([plain, other]) => (other ? mixed(plain, other, texture) : plain);
  const model = await openModel(LITE, loads, files, weigh);
  await restorer.model?.close();
  restorer = { texture, model };
  return model;
}

async function openModel({ folder, graphs }, loads, files = ['weights'], weigh = ([all]) => all) {
  const paths = [
    ...graphs.map((name) => `${folder}${name}.onnx.gz`),
    ...files.map((name) => `${folder}${name}.safetensors.gz`),
  ];
  const onBytes = await loading([...paths, `${RUNTIME}.wasm.gz`], loads);
  const facts = await once(`${folder}model.json`, fetchFacts);
  const load = (path) => once(path, () => fetchUnpacked(path, onBytes));
  const read = (path) =>
    once(`${path} as numbers`, async () => {
      const file = await fetchUnpacked(path, onBytes);
      return readWeights(file, facts.parameters);
    });
  const [, opened, weights] = await Promise.all([
    once('runtime', () => startRuntime(onBytes)),
    Promise.all(paths.slice(0, graphs.length).map(load)),
    Promise.all(paths.slice(graphs.length).map(read)),
  ]);
  const named = Object.fromEntries(graphs.map((name, i) => [name, opened[i]]));
  return Model.open(ort, facts, named, weigh(weights));
}

async function startRuntime(onBytes) {
  const wasm = await fetchUnpacked(`${RUNTIME}.wasm.gz`, onBytes);
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.wasm.wasmPaths = { mjs: new URL(`${RUNTIME}.mjs`, import.meta.url).href };
  ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  ort.env.wasm.proxy = false; // This is a worker already.
  ort.env.logLevel = 'error';
}

/** A function that counts bytes, and tells which share of all files has come. */
async function loading(paths, loads) {
  const { files } = await once('site.json', fetchFacts);
  const total = paths.reduce((sum, path) => sum + (files[path]?.bytes ?? 0), 0);
  let come = 0;
  return (bytes) => {
    come += bytes;
    loads(Math.min(1, come / total));
  };
}

/** Loads something the first time, and again if that failed. */
function once(name, load) {
  if (!kept.has(name)) {
    kept.set(name, load(name));
    kept.get(name).catch(() => kept.delete(name));
  }
  return kept.get(name);
}
