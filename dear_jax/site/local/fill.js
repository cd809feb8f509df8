const SWEEPS = 8; // Steps by which holes are smoothed, at each level of the pyramid.

/**
 * Fills holes smoothly, from the rim inwards: what the graph `fill` does, which would
 * need 280 bytes for each pixel of the photo. See dear_jax/models/dear/residual.py.
 * @param {Float32Array} colours Three of each pixel, 0 in holes; these are filled.
 * @param {Uint8Array} mask 1 = missing.
 * @param {number} height
 * @param {number} width
 */
export function fillHoles(colours, mask, height, width) {
  const holes = holesOf(mask);
  if (!holes.length || height * width === 1) return;
  const coarse = halved(colours, mask, height, width);
  fillHoles(coarse.colours, coarse.mask, coarse.height, coarse.width);
  for (const at of holes) {
    const [y, x] = [Math.floor(at / width), at % width];
    const [rows, columns] = [between(y, coarse.height), between(x, coarse.width)];
    let sum = 0;
    const mean = [0, 0, 0];
    for (const [row, a] of rows) {
      for (const [column, b] of columns) {
        sum += a * b;
        const from = 3 * (row * coarse.width + column);
        for (let c = 0; c < 3; c++) mean[c] += a * b * coarse.colours[from + c];
      }
    }
    for (let c = 0; c < 3; c++) colours[3 * at + c] = mean[c] / sum;
  }
  relax(colours, holes, height, width);
}

/** Each hole becomes the mean of its neighbours, again and again. */
function relax(colours, holes, height, width) {
  const next = new Float32Array(3 * holes.length);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    holes.forEach((at, i) => {
      const x = at % width;
      const [above, below] = [at >= width, at < width * (height - 1)];
      const [left, right] = [x > 0, x < width - 1];
      const count = Math.max(1, above + below + left + right);
      for (let c = 0; c < 3; c++) {
        const here = 3 * at + c;
        let sum = 0;
        if (above) sum += colours[here - 3 * width];
        if (below) sum += colours[here + 3 * width];
        if (left) sum += colours[here - 3];
        if (right) sum += colours[here + 3];
        next[3 * i + c] = sum / count;
      }
    });
    holes.forEach((at, i) => {
      for (let c = 0; c < 3; c++) colours[3 * at + c] = next[3 * i + c];
    });
  }
}

/** The next level: means of what is known of 2 x 2 pixels. */
function halved(colours, mask, height, width) {
  const [rows, columns] = [Math.ceil(height / 2), Math.ceil(width / 2)];
  const sums = new Float32Array(3 * rows * columns);
  const known = new Uint8Array(rows * columns);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (mask[at]) continue;
      const to = (y >> 1) * columns + (x >> 1);
      known[to] += 1;
      for (let c = 0; c < 3; c++) sums[3 * to + c] += colours[3 * at + c];
    }
  }
  for (let i = 0; i < known.length; i++) {
    if (known[i] > 1) for (let c = 0; c < 3; c++) sums[3 * i + c] /= known[i];
  }
  const none = known.map((count) => (count ? 0 : 1));
  return { colours: sums, mask: none, height: rows, width: columns };
}

/** The two pixels of the next level that one lies between, with their shares. */
function between(at, size) {
  const near = at >> 1;
  const far = near + (at & 1 ? 1 : -1);
  return far < 0 || far >= size ? [[near, 0.75]] : [[near, 0.75], [far, 0.25]];
}

function holesOf(mask) {
  let count = 0;
  for (const value of mask) count += value;
  const holes = new Uint32Array(count);
  for (let at = mask.indexOf(1), i = 0; at >= 0; at = mask.indexOf(1, at + 1)) holes[i++] = at;
  return holes;
}
