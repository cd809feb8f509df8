"""A "lite" model with random weights as ONNX, in onnxruntime, against JAX.

    PYTHONPATH=. onnx-environment/bin/python benchmarks/onnx_export.py \\
        --fields '{"decoder_blend": "hidden", "level_input": true}'

in the environment that `dear_jax/inference/onnx.py` describes. Photos of five odd sizes
with holes of several kinds, each enlarged by three scales in tiles; JAX encodes each
photo at its own size and makes each picture in one piece (`DEAR.decode_grid`). Prints
the largest difference of colours in [0, 1] and fails where it exceeds `MOST`.
"""

import argparse
import functools
import itertools
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnxruntime

from dear_jax.inference.onnx import AXIS, export_functions
from dear_jax.models.dear import residual
from dear_jax.models.dear.grid import grid_axis, grid_positions, reach
from dear_jax.models.registry import build, fields_of, init_shapes

MOST = 1e-5
SIZES = ((1, 9), (13, 7), (21, 35), (50, 43), (67, 97))
SCALES = (1.0, 2.3, 4.0)
HOLES = ("none", "all", "thin", "large", "speckled")
TILE = 64


def main() -> None:
    flags = parse()
    fields = {**fields_of("dear-lite"), **flags.fields}
    module = build(fields)
    variables = drawn(init_shapes(module))
    residual.OPEN_LEVELS = flags.levels
    start = time.perf_counter()
    functions = export_functions(variables, fields)
    sessions = {}
    for name, model in functions._asdict().items():
        data = model.SerializeToString()
        if flags.out:
            flags.out.mkdir(parents=True, exist_ok=True)
            (flags.out / f"{name}.onnx").write_bytes(data)
        sessions[name] = onnxruntime.InferenceSession(data)
        say(f"{name}: {len(model.graph.node)} nodes, {len(data):,} bytes")
    say(f"exported and loaded in {time.perf_counter() - start:.0f} s")
    encode = jax.jit(functools.partial(module.apply, variables, method="encode"))
    decode = jax.jit(functools.partial(module.apply, variables, method="decode_grid"))
    worst, base = 0.0, fields["residual"]
    for number, (size, holes) in enumerate(zip(SIZES, HOLES, strict=True)):
        for kind in (holes, HOLES[(number + 2) % len(HOLES)]):
            photo = example(size, kind, number)
            given = dict(zip(("image", "mask", "level"), photo, strict=True))
            maps = run(sessions["encode"], given)
            image, mask, level = photo
            level = level[None] if module.level_input else None
            features = encode(image[None], mask[None, ..., None], level=level)
            for scale in SCALES:
                target = tuple(round(scale * n) for n in size)
                found = rendered(sessions["decode"], maps, size, target, base)
                expected = answered(decode, features, target, base)
                worst = max(worst, apart := np.abs(found - expected).max())
                say(f"{size} x{scale}, holes {kind}: {apart:.1e}")
    say(f"largest difference {worst:.1e}, at most {MOST:.0e} is allowed")
    sys.exit(not worst <= MOST)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=json.loads, default={})
    parser.add_argument("--levels", type=int, default=residual.OPEN_LEVELS)
    parser.add_argument("--out", type=Path, help="folder to keep the files in")
    return parser.parse_args()


def say(text: str) -> None:
    print(text, flush=True)


def drawn(shapes: Any) -> Any:
    """Random parameters of these shapes, none of them zero."""
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        fan_in = np.prod(leaf.shape[:-1])
        scale = fan_in**-0.5 if leaf.ndim > 1 else 0.1
        return rng.normal(0, scale, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, shapes)


def example(size: tuple[int, int], holes: str, seed: int) -> tuple:
    """A photo [H, W, 3], its mask [H, W] and how degraded it is, []."""
    rng = np.random.default_rng(seed)
    mask = np.full(size, holes == "all", np.float32)
    if holes == "thin":
        mask[:, size[1] // 2] = 1
        mask[size[0] // 3] = 1
    elif holes == "large":
        mask[size[0] // 4 : -(size[0] // 5) or None, size[1] // 5 :] = 1
    elif holes == "speckled":
        mask[:] = rng.random(size) < 0.4
    return rng.random((*size, 3), np.float32), mask, np.array(0.3, np.float32)


def run(session: onnxruntime.InferenceSession, given: Mapping[str, Any]) -> list:
    """What onnxruntime makes of those arrays that the function has."""
    return session.run(None, {i.name: given[i.name] for i in session.get_inputs()})


def rendered(
    session: onnxruntime.InferenceSession,
    maps: list,
    size: tuple[int, int],
    target: tuple[int, int],
    residual: str,
) -> np.ndarray:
    """The picture [h, w, 3], tile by tile."""
    picture = np.empty((*target, 3), np.float32)
    cell = np.float32([2 * n / m for n, m in zip(size, target, strict=True)])
    starts = (range(0, n, TILE) for n in target)
    for corner in itertools.product(*starts):
        given, cuts, place = {"cell": cell}, [], []
        for name, n, m, start in zip(
            ("rows", "columns"), size, target, corner, strict=True
        ):
            positions = grid_positions(0, n, m)[start : start + TILE]
            low, high = reach(positions, n)
            span = (low, high - low + 1)
            axis = grid_axis(positions, n, span, residual)
            given |= {f"{name}_{part}": getattr(axis, part) for part in AXIS}
            cuts.append(slice(low, high + 1))
            place.append(slice(start, start + TILE))
        windows = (x[tuple(cuts)] for x in maps)
        given |= zip(("projection", "base"), windows, strict=False)
        picture[tuple(place)] = run(session, given)[0]
    return picture


def answered(
    decode: Any, features: Any, target: tuple[int, int], residual: str
) -> np.ndarray:
    """The picture [h, w, 3] by JAX, in one piece, as `DEAR.picture` makes it."""
    size = features.projection.shape[1:3]
    rows, columns = (
        grid_axis(grid_positions(0, old, new), old, residual=residual)
        for old, new in zip(size, target, strict=True)
    )
    cell = np.float32([2 * n / m for n, m in zip(size, target, strict=True)])
    colours = decode(features.projection, features.base, rows, columns, cell)
    return np.clip((colours[0] + 1) / 2, 0, 1)


if __name__ == "__main__":
    main()
