import { widen } from './shapes.js';

// Logit of the least probability that counts as damage: at a sensitivity of 0, and by
// how much less it is at 1. See dear_jax/inference/damage.py.
const [CERTAIN, RANGE] = [6.2, 8];

/**
 * What of a photo is damaged.
 * @param {Float32Array} probability
 * @param {{width: number, height: number}} size
 * @param {number} sensitivity From 0, only what is certain, to 1.
 * @param {number} radius By which what is found is widened.
 * @returns {Uint8Array<ArrayBuffer>} 1 = damaged.
 */
export function damagedIn(probability, { width, height }, sensitivity, radius) {
  const least = Math.fround(1 / (1 + Math.exp(RANGE * sensitivity - CERTAIN)));
  const data = new Uint8Array(probability.length);
  probability.forEach((value, i) => (data[i] = value >= least ? 1 : 0));
  if (radius) widen({ data, width, height }, radius);
  return data;
}
