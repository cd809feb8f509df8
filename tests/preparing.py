"""Small sources for data_prep, and running it in this process."""

from pathlib import Path

import numpy as np

from data_prep import __main__ as command
from data_prep.sources import File
from dear_jax.images.io import write_photo


def write_photos(folder: Path) -> Path:
    """Twelve small photos in two subfolders, PNG and JPEG, of several sizes."""
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(0, 256, (9 + i % 3, 12 - i % 4, 3), np.uint8)
        name = f"{'ab'[i % 2]}/{i}.{'png' if i % 3 else 'jpg'}"
        write_photo(folder / name, pixels)
    return folder


def write_masks(folder: Path) -> Path:
    """Twelve masks of known hole ratios, some outside all bins."""
    shares = (0, 0.005, 0.01, 0.05, 0.1, 0.25, 0.35, 0.45, 0.55, 0.6, 0.61, 1)
    for i, share in enumerate(shares):
        write_mask(folder / "mask" / f"{i:05d}.png", share)
    return folder


def write_mask(path: Path, share: float, side: int = 20) -> None:
    """A mask of which the first `share` of the pixels is missing."""
    mask = np.arange(side * side) < round(share * side * side)
    write_photo(path, mask.reshape(side, side).astype(np.uint8) * 255)


def run(*arguments) -> int:
    """Runs the command here, in this process."""
    return command.main([*map(str, arguments), "--workers", "1"])


def tree(folder: Path) -> dict[str, bytes]:
    """Returns path -> content of all files below a folder."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def listed(*names: str) -> list[File]:
    """Files of these names, as a source lists them."""
    return [File(name, 1, name) for name in names]
