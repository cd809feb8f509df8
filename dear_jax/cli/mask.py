"""`dear mask`: finds the damage of photos, and writes it as masks to paint on."""

import argparse
import time
from collections.abc import Callable
from functools import partial

from dear_jax.cli.options import add_sensitivity
from dear_jax.cli.values import parse_sensitivity
from dear_jax.errors import InputError

DESCRIPTION = """\
Finds scratches, cracks, dust, hair and torn places in photographs and writes them as
masks of the photos' size: white is damaged. `dear restore --mask auto` does this by
itself; a mask can be looked at first and painted on, and be given by --mask.

The detector was made for damage, not for noise, grain or JPEG blocks, which
`dear restore --denoise` is for. It is not always right: look at --preview."""
EXAMPLES = """\
examples:
  dear mask photo.jpg --preview
      writes photo-mask.png, and photo-mask.preview.png with what was found in magenta
  dear mask scans/ -o masks/
  dear restore scans/ --mask masks/ --scale 2 -o restored/
      the masks of a folder, then, when they have been looked at, the photos
  dear mask photo.jpg --sensitivity 0.8 --dilate 2 -o mask.png
      fainter damage too, and wider"""


def add_parser(commands) -> None:
    """Adds the command to those of `dear`."""
    parser = commands.add_parser(
        "mask",
        help="find damage and write it as a mask",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.set_defaults(prepare=_prepare, parser=parser)
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="files, or folders of photos")
    add("--recursive", action="store_true", help="also the subfolders of folders")
    add_sensitivity(add)
    add(
        "--dilate",
        type=int,
        metavar="N",
        help="widen what is found by N pixels, since damage has soft edges (default 1)",
    )
    add(
        "-o",
        "--out",
        metavar="OUT",
        help="for one photo a .png file or a folder; for more a folder, in which names "
        "and subfolders are kept (default PHOTO-mask.png, beside the photo)",
    )
    add("--overwrite", action="store_true", help="make again what is there already")
    add("--preview", action="store_true", help="also OUT.preview.png: photo and mask")


def _prepare(flags: argparse.Namespace) -> Callable[[], int]:
    """Pairs the files and loads the detector, before any photo is read."""
    sensitivity = flags.sensitivity
    if sensitivity is not None:
        sensitivity = parse_sensitivity(sensitivity)
    if (flags.dilate or 0) < 0:
        raise InputError(f"--dilate {flags.dilate}: give pixels from 0")
    from dear_jax.cli.batch import prepare_batch
    from dear_jax.inference.damage import bundled_detector
    from dear_jax.workflow.jobs import MASK, find_jobs

    beside = ["preview"] * flags.preview
    given = flags.photos, flags.out, None, flags.recursive, beside, MASK
    found = find_jobs(*given)
    options = {"dilate": flags.dilate, "preview": flags.preview}

    def load():
        bundled_detector()
        return partial(_find, sensitivity=sensitivity, **options)

    return prepare_batch(found, len(found.jobs) == 1, flags.overwrite, load, "searched")


def _find(
    job, display, sensitivity: float | None, dilate: int | None, preview: bool
) -> str:
    """Finds the damage of a photo; returns how much, in words."""
    import numpy as np

    from dear_jax.cli.progress import duration
    from dear_jax.images.io import read_image, write_photo
    from dear_jax.inference.damage import found_damage

    began = time.monotonic()

    def warn(remark: str) -> None:
        display.print(f"warning: {job.name}: {remark}")

    with display.on(job.name) as progress:
        image = read_image(job.photo).image
        mask = found_damage(image, sensitivity, dilate, warn, progress)
        write_photo(job.out, mask.astype(np.uint8) * 255)
        if preview:
            from dear_jax.evaluation.sheets import draw_damage  # Matplotlib as well.

            draw_damage(job.preview, image, mask)
        progress(1.0, 1.0)
    return f"damage in {mask.mean():.1%} of it, {duration(time.monotonic() - began)}"
