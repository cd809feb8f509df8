"""Draws examples.png, the README's picture, from bundled photos, masks and weights.

python results/dear-lite/examples.py
"""

from pathlib import Path

import dear_jax
from dear_jax import bundled
from dear_jax.evaluation import sheets
from dear_jax.images import resize
from dear_jax.images.io import read_photo, write_photo
from dear_jax.images.masks import read_mask

# Photo, mask, scale.
SHOWN = (
    ("astronaut", "20-30", 4),
    ("cat", "30-40", 4),
    ("hopper", "20-30", 6),
    ("coffee", "10-20", 6),
)


def main() -> None:
    """Restores the examples and writes the sheet beside this file."""
    classical, restorer = dear_jax.load("classical"), dear_jax.load()
    rows, captions = [], []
    for name, damage, scale in SHOWN:
        truth = read_photo(bundled.PHOTOS / f"{name}.png")
        size = truth.shape[:2]
        small = (round(size[0] / scale), round(size[1] / scale))
        image = resize.bicubic(truth, small)
        mask = resize.nearest(read_mask(bundled.MASKS / f"{damage}.png"), small)
        row = [sheets.show_mask(image, mask)]
        row += [f(image, mask, size=size) for f in (classical, restorer)]
        rows.append([*row, truth])
        captions.append(f"x{scale}\n{small[1]} x {small[0]}\n{damage} %")
    titles = ["input", "Telea + bicubic", restorer.name, "truth"]
    picture = sheets.contact_sheet(rows, titles, captions)
    write_photo(Path(__file__).parent / "examples.png", picture)


if __name__ == "__main__":
    main()
