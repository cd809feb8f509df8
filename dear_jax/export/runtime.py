"""ONNX files at work, by onnxruntime: photos of any size, window by window.

What another program does with the files, written out: holes are filled in the whole
photo; then blocks of it are encoded, each with the pixels around it that it depends on;
and of each block its part of the picture is decoded, tile by tile.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Num

from dear_jax.errors import InputError
from dear_jax.export.graphs import FACTS, LOCATION, parameters_file
from dear_jax.inference.tiles import Tiling, side_in, window
from dear_jax.models.dear.grid import grid_positions, reach

# Sides of blocks that are encoded at once, in pixels of the photo, and of tiles that
# are decoded at once, in pixels of the picture, by custom.
BLOCK, TILE = 512, 96


class Run(NamedTuple):
    """Pixels of a picture along one axis, and the window that they are decoded from.

    Attributes:
      start, stop: of the picture.
      low, high: first and last pixel of the photo that they read.
      positions: their centres in pixels of the photo.
    """

    start: int
    stop: int
    low: int
    high: int
    positions: np.ndarray


class OnnxModel:
    """A model of ONNX files.

    Args:
      folder: of the files.
      parameters: see `parameters_file`; None for graphs that hold them.
      threads: 0 for as many as onnxruntime chooses.

    Raises:
      InputError: without onnxruntime.
    """

    def __init__(self, folder: Path, parameters: bytes | None = None, threads: int = 0):
        try:
            import onnxruntime
        except ImportError:
            raise InputError(
                "onnxruntime is not installed; pip install 'dear_jax[onnx]'"
            ) from None
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        self._step, self._halo = facts["step"], facts["halo"]
        self._inputs = {k: v["inputs"] for k, v in facts["functions"].items()}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if parameters is not None:
            options.add_external_initializers_from_files_in_memory(
                [LOCATION], [parameters], [len(parameters)]
            )
        providers = ["CPUExecutionProvider"]
        self._sessions = {
            name: onnxruntime.InferenceSession(
                (folder / f"{name}.onnx").read_bytes(), options, providers=providers
            )
            for name in self._inputs
        }

    @classmethod
    def bare(cls, folder: Path, variables: Any, threads: int = 0) -> "OnnxModel":
        """One of graphs without weights, and the variables of their model."""
        return cls(folder, parameters_file(variables), threads)

    def restore(
        self,
        image: Num[np.ndarray, "H W 3"],
        mask: Bool[np.ndarray, "H W"],
        size: tuple[int, int] | None = None,
        level: float = 0.0,
        block: int = BLOCK,
        tile: int = TILE,
    ) -> Float32[np.ndarray, "h w 3"]:
        """Completes a photo, and enlarges it; known pixels are the model's too.

        Args:
          image: uint8, or float in [0, 1].
          mask: True = missing.
          size: of the picture (h, w); None: the photo's.
          level: how degraded the photo is, from 0 to 1.
          block, tile: see `BLOCK`, `TILE`; what they are has no effect on the picture.
        """
        image, missing = _floats(image), mask.astype(np.float32)
        size = mask.shape if size is None else size
        base = self._run("fill", image=image, mask=missing)
        picture = np.empty((*size, 3), np.float32)
        ratio = [n / m for n, m in zip(mask.shape, size, strict=True)]
        given = {"level": np.float32(level), "cell": np.float32(2 * np.array(ratio))}
        # Decoding reads two pixels beyond a block.
        tiling = self._tiling(mask.shape, block, self._halo + self._step)
        for corner, kept in tiling.places():
            read = window(corner, [side.read for side in tiling])
            here = {"base": base[read], "mask": missing[read]}
            projection = self._run("encode", **here, **given)
            axes = [
                list(_runs(n, m, low, low + side.core, tile))
                for n, m, low, side in zip(mask.shape, size, kept, tiling, strict=True)
            ]
            for rows, columns in itertools.product(*axes):
                seen, where = _decoded(rows, columns, corner, mask.shape)
                here = {"projection": projection[seen], "base": base[read][seen]}
                part = self._run("decode", **here, **where, **given)
                target = np.s_[rows.start : rows.stop, columns.start : columns.stop]
                picture[target] = part
        return picture

    def probability(
        self, image: Num[np.ndarray, "H W 3"], block: int = BLOCK
    ) -> Float32[np.ndarray, "H W"]:
        """How likely each pixel of a photo is damaged; for models that find damage."""
        image = _floats(image)
        found = np.empty(image.shape[:2], np.float32)
        tiling = self._tiling(found.shape, block, self._halo)
        core = [side.core for side in tiling]
        for corner, kept in tiling.places():
            read = window(corner, [side.read for side in tiling])
            part = self._run("find", image=image[read])
            offset = [first - low for first, low in zip(kept, corner, strict=True)]
            found[window(kept, core)] = part[window(offset, core)]
        return found

    def _tiling(self, size: Sequence[int], block: int, halo: int) -> Tiling:
        """A photo in blocks of about so many pixels a side."""
        return Tiling(*(side_in(n, -(-n // block), halo, self._step) for n in size))

    def _run(self, name: str, **given: Any) -> np.ndarray:
        """Runs a function with those arrays that it takes."""
        inputs = {k: np.asarray(given[k]) for k in self._inputs[name]}
        result: Any = self._sessions[name].run(None, inputs)[0]
        return result


def _floats(image: Num[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W 3"]:
    if image.dtype == np.uint8:
        return image.astype(np.float32) / np.float32(255)
    return image.astype(np.float32)


def _runs(size: int, target: int, low: int, high: int, tile: int) -> Iterator[Run]:
    """The target's pixels whose centres lie in pixels low ... high of the photo."""
    positions = grid_positions(0, size, target)
    edges = (low - 0.5, high - 0.5 if high < size else np.inf)
    first, last = np.searchsorted(positions, edges)
    for start in range(first, last, tile):
        stop = min(start + tile, last)
        part = positions[start:stop]
        yield Run(start, stop, *reach(part, size), part)


def _decoded(
    rows: Run, columns: Run, corner: tuple[int, int], size: tuple[int, int]
) -> tuple[tuple[slice, ...], dict[str, np.ndarray]]:
    """The window of a block that a tile is decoded from, and where it lies in it.

    Args:
      rows, columns: of the tile.
      corner: first pixel of the block's arrays.
      size: of the photo.
    """
    seen = tuple(
        slice(run.low - low, run.high + 1 - low)
        for run, low in zip((rows, columns), corner, strict=True)
    )
    edges = [
        (-r.low, n - 1 - r.low) for r, n in zip((rows, columns), size, strict=True)
    ]
    where = {
        "rows": (rows.positions - rows.low).astype(np.float32),
        "columns": (columns.positions - columns.low).astype(np.float32),
        "edges": np.array(edges, np.float32).ravel(),
    }
    return seen, where
