"""`dear restore`: completes and enlarges photos, one or a folder of them."""

import argparse
import importlib

from dear_jax.cli import quantities
from dear_jax.cli.all_photos import restore_all
from dear_jax.cli.start import interrupts_end
from dear_jax.cli.wishes import Wishes
from dear_jax.errors import InputError

USAGE = """dear restore PHOTO... [-o OUT] [--scale S | --size WxH]
                    [--mask MASK | --box X,Y,W,H | ...] [options]"""
DESCRIPTION = """\
Fills in what is missing from photographs and draws them at any larger size.

Say where a photo is damaged (a mask, a box, a colour or its transparency) and
how large the result is to be. Of the file its colour profile, EXIF, resolution,
transparency, 16 bits, shades of grey and JPEG quality stay what they were.
Results are written whole or not at all; those that are there already are not
made again, so that a stopped command goes on where it was."""
EXAMPLES = """\
examples:
  dear restore photo.png --mask mask.png --scale 6 -o out.png
      white in mask.png is missing; out.png has six times the photo's sides
  dear restore photo.jpg --box 40,10,200,60
      fills a box, 200 wide and 60 high, at the photo's own size, and writes
      photo-restored.jpg
  dear restore photo.jpg --size 3840x2160 --max-memory 4G
      nothing is missing: plain enlargement, within 4 GiB of memory
  dear restore scans/ --recursive --mask masks/ --scale 2.5 -o restored/
      all photos of a folder, each with the mask of its name
  dear restore scans/ --mask dust.png -o restored/ --part 3/8
      one mask for all; the third of eight parts of the photos, e.g. as a job of an
      array (sbatch --array=1-8, --part $SLURM_ARRAY_TASK_ID/8)"""
EPILOG = """\
Without -o the result of photo.jpg is photo-restored.jpg, beside it. What bears
such a name, or that of a preview, is no photo when its folder is restored, nor
are hidden files and what lies in the folders of masks and results. A result
never replaces a photo or a mask.

exit status:
  0    all photos are restored, or were already
  1    some of several photos could not be, and are listed at the end
  2    a mistake, told in one line; with several photos, before any work
  130  interrupted"""


def add_parser(subparsers) -> None:
    """Adds the command to those of `dear`."""
    parser = subparsers.add_parser(
        "restore",
        help="complete and enlarge photos",
        usage=USAGE,
        description=f"{DESCRIPTION}\n\n{EXAMPLES}",
        epilog=EPILOG,
    )
    _add_what(parser)
    _add_holes(parser)
    _add_knobs(parser)
    _add_output(parser)
    _add_limits(parser)


def _add_what(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what")
    add = group.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="files, or folders of photos")
    add("--recursive", action="store_true", help="also the subfolders of folders")
    add(
        "--part",
        metavar="I/N",
        help="only part I of N of the photos, as in 1/8: each photo is in one of them, "
        "so that N processes or machines share a folder",
    )
    add(
        "--model",
        metavar="NAME|FILE|WORKDIR",
        help="see `dear models`; a weights file or the folder of a training run "
        "(default dear-lite)",
    )
    add(
        "--weights",
        default="weights",
        metavar="FOLDER",
        help="where systems such as misf+elan find theirs (default weights)",
    )
    add(
        "--texture",
        metavar="T",
        help="0: true to the photo, soft where it says little; 1: grain and detail "
        "that look real and may be invented; or between (default 0; see `dear models` "
        "for the models that have it)",
    )
    size = parser.add_argument_group(
        "how large", "Without either the size stays, and only holes are filled."
    ).add_mutually_exclusive_group()
    size.add_argument("--scale", metavar="S", help="times the sides, as in 4 or 2.5")
    size.add_argument("--size", metavar="WxH", help="width x height, as in 1920x1080")


def _add_holes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where the photo is missing")
    source = group.add_mutually_exclusive_group()
    add = source.add_argument
    add(
        "--mask",
        metavar="FILE|FOLDER",
        help="white is missing; one for all, or a folder with one for each photo, of "
        "the same name with any suffix",
    )
    add(
        "--box",
        action="append",
        metavar="X,Y,W,H",
        help="left, top, width, height in pixels; may be repeated",
    )
    add("--mask-color", metavar="C", help="pixels of this colour, as in '#ff00ff'")
    add("--mask-alpha", action="store_true", help="pixels that are transparent")
    add = group.add_argument
    add("--invert-mask", action="store_true", help="what is not marked is missing")
    add("--dilate", type=int, default=0, metavar="N", help="widen holes by N pixels")


def _add_knobs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how much is changed")
    group.add_argument(
        "--denoise",
        metavar="0..1|auto",
        help="how degraded the photo is by noise, blur and JPEG: 0 takes its pixels as "
        "true, 1 removes the most; auto estimates it from each photo. Default: auto "
        "where the photo is enlarged, 0 at its own size and with --keep-known, where "
        "known pixels stay. Above 0 at its own size known pixels change",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    add = group.add_argument
    add(
        "-o",
        "--out",
        metavar="OUT",
        help="for one photo a file, whose suffix is its format, or a folder; for more "
        "a folder, in which names and subfolders are kept",
    )
    add("--overwrite", action="store_true", help="make again what is there already")
    add(
        "--keep-known",
        action=argparse.BooleanOptionalAction,
        help="known pixels stay: bit for bit at the photo's size, where this is the "
        "default; in larger results within one grey level when these are reduced "
        "again, as far as that is possible, which is reported",
    )
    add(
        "--preview",
        action="store_true",
        help="also OUT.preview.png: input and result side by side",
    )
    add(
        "--importance",
        action="store_true",
        help="also OUT.importance.png: the weight that the model gave each pixel, "
        "holes included, black 0 to white 1",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("memory and time")
    add = group.add_argument
    add(
        "--max-memory",
        metavar="4G",
        help="what to get by with; photos that need more are worked on in tiles, with "
        "the same result (default: most of what is free)",
    )


def run(flags: argparse.Namespace) -> int:
    """Restores the photos; returns the exit status, see `EPILOG`.

    Raises:
      InputError: for a mistake, or for the one photo asked for.
    """
    with interrupts_end():
        wishes = _wishes(flags)
        importlib.import_module("jax")  # It takes its time.
    return restore_all(flags, wishes)


def _wishes(flags: argparse.Namespace) -> Wishes:
    """What is wanted of every photo.

    Raises:
      InputError: for flags that mean nothing, alone or together.
    """
    from dear_jax.images.masks import parse_box, parse_colour
    from dear_jax.inference.denoise import parse_denoise

    marked = flags.mask or flags.box or flags.mask_color or flags.mask_alpha
    if not (marked or flags.scale or flags.size):
        raise InputError(
            "nothing to do: give --scale or --size to enlarge, or say where the photo "
            "is missing with --mask, --box, --mask-color or --mask-alpha"
        )
    if flags.invert_mask and not marked:
        raise InputError("--invert-mask: nothing to invert; it goes with --mask")
    if flags.dilate < 0 or (flags.dilate and not marked):
        raise InputError(
            f"--dilate {flags.dilate}: give pixels from 0, and with them --mask"
        )
    denoise = parse_denoise(flags.denoise) if flags.denoise else None
    if denoise and flags.keep_known:
        raise InputError(
            f"--denoise {flags.denoise}: changes known pixels, which --keep-known "
            "keeps; give one of them"
        )
    holes = {
        "box": [parse_box(text) for text in flags.box] if flags.box else None,
        "colour": parse_colour(flags.mask_color) if flags.mask_color else None,
        "alpha": flags.mask_alpha,
        "invert": flags.invert_mask,
        "dilate": flags.dilate,
    }
    memory = flags.max_memory
    return Wishes(
        scale=quantities.parse_scale(flags.scale) if flags.scale else None,
        size=quantities.parse_size(flags.size) if flags.size else None,
        holes=holes,
        keep_known=flags.keep_known,
        preview=flags.preview,
        importance=flags.importance,
        max_memory=quantities.parse_memory(memory) if memory else None,
        texture=quantities.parse_texture(flags.texture) if flags.texture else 0.0,
        denoise=denoise,
    )
