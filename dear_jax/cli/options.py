"""The options of `dear restore`: what the command line says, parsed and checked."""

import argparse
from collections.abc import Callable
from dataclasses import fields

from dear_jax.cli.values import (
    parse_fit,
    parse_memory,
    parse_part,
    parse_scale,
    parse_sensitivity,
    parse_size,
    parse_texture,
)
from dear_jax.errors import InputError
from dear_jax.workflow.options import RestoreOptions

USAGE = """dear restore PHOTO... [-o OUT] [--scale S | --size WxH | --fit WxH]
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
  dear restore scans/ --mask auto --scale 2 --preview -o restored/
      finds scratches, cracks and dust in all photos of a folder, mends them and
      doubles the photos; restored/NAME.preview.png show what was found
  dear restore scans/ --recursive --mask masks/ --scale 2.5 -o restored/
      all photos of a folder, each with the mask of its name
  dear restore scans/ --mask dust.png -o restored/ --part 3/8
      one mask for all; the third of eight parts of the photos, e.g. as a job of
      an array (sbatch --array=1-8, --part $SLURM_ARRAY_TASK_ID/8)"""
EPILOG = """\
Without -o the result of photo.jpg is photo-restored.jpg, beside it. What bears
such a name, or that of a preview, is no photo when its folder is restored, nor
are hidden files and what lies in the folders of masks and results. A result
never replaces a photo or a mask.

exit status:
  0    all photos are restored, or were already
  1    some of several photos could not be, and are listed at the end
  2    a mistake, named in one line; with several photos, before any work
  130  interrupted"""

# What --mask may be beside files: ./auto is one.
AUTO = "auto"


def add_parser(commands) -> None:
    """Adds the command to those of `dear`."""
    parser = commands.add_parser(
        "restore",
        help="complete and enlarge photos",
        usage=USAGE,
        description=f"{DESCRIPTION}\n\n{EXAMPLES}",
        epilog=EPILOG,
    )
    parser.set_defaults(prepare=_prepare, parser=parser)
    _add_photos(parser)
    _add_masks(parser)
    _add_results(parser)


def _prepare(flags: argparse.Namespace) -> Callable[[], int]:
    options = parse_options(flags)
    from dear_jax.cli.restore import prepare

    return prepare(options)


def _add_photos(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what").add_argument
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
    size.add_argument(
        "--size",
        metavar="WxH",
        help="width x height, as in 1920x1080; 1920x or x1080: the other side follows",
    )
    size.add_argument(
        "--fit",
        metavar="WxH",
        help="as large as fits into WxH, the photo's shape kept",
    )


def _add_masks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "where the photo is missing", "One of the first four, and --mask auto."
    )
    add = group.add_argument
    add(
        "--mask",
        action="append",
        default=[],
        metavar="FILE|FOLDER|auto",
        help="white is missing; one for all, or a folder with one for each photo, of "
        "the same name with any suffix. auto: scratches, cracks, dust and torn places "
        "are found, alone or beside what is marked (--mask auto --mask masks/); `dear "
        "mask` writes what is found",
    )
    add(
        "--missing-masks",
        choices=["skip", "none", "auto"],
        help="photos for which the folder of masks has none: skip them, restore them "
        "as they are, or find their damage (default: a mistake)",
    )
    add(
        "--box",
        action="append",
        metavar="X,Y,W,H",
        help="left, top, width, height in pixels; may be repeated",
    )
    add("--mask-color", metavar="C", help="pixels of this colour, as in '#ff00ff'")
    add("--mask-alpha", action="store_true", help="pixels that are transparent")
    add_sensitivity(add)
    add(
        "--salvage",
        action="store_true",
        help="read JPEG files that were cut short; what they lack is missing",
    )
    add("--invert-mask", action="store_true", help="what is not marked is missing")
    add(
        "--dilate",
        type=int,
        metavar="N",
        help="widen holes by N pixels (default 0, 1 for what --mask auto finds)",
    )


def add_sensitivity(add) -> None:
    """Adds the flag to those of a command."""
    add(
        "--sensitivity",
        metavar="0..1",
        help="how much counts as damage: 0 only what is certain, 1 whatever may be "
        "(default 0.5)",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    changed = parser.add_argument_group("how much is changed").add_argument
    changed(
        "--grain",
        action="store_true",
        help="give what is filled in the grain of what is around it, at the photo's "
        "own size, where known pixels keep theirs",
    )
    changed(
        "--denoise",
        metavar="0..1|auto",
        help="how degraded the photo is by noise, blur and JPEG: 0 takes its pixels as "
        "true, 1 removes the most; auto estimates it from each photo. Default: auto "
        "where the photo is enlarged, 0 at its own size and with --keep-known, where "
        "known pixels stay. Above 0 at its own size known pixels change",
    )
    add = parser.add_argument_group("output").add_argument
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
        "default (JPEG and lossy WebP change them in writing, and how many is said; "
        "PNG and TIFF keep them); in larger results within one grey level when reduced "
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
    add(
        "--record",
        action="store_true",
        help="also OUT.record.json: what was restored, by which model, with which "
        "options, and the share of pixels that is untouched",
    )
    parser.add_argument_group("memory").add_argument(
        "--max-memory",
        metavar="4G",
        help="what to get by with; photos that need more are worked on in tiles, with "
        "the same result (default: most of what is free)",
    )


def parse_options(flags: argparse.Namespace) -> RestoreOptions:
    """Parses the flags.

    Raises:
      InputError: for flags that mean nothing, alone or together.
    """
    from dear_jax.images.masks import parse_box, parse_colour
    from dear_jax.inference.denoise import parse_denoise

    masks = list(dict.fromkeys(flags.mask))
    flags.find_damage = AUTO in masks
    flags.mask = next((mask for mask in masks if mask != AUTO), None)
    _check_masks(flags, masks)
    parsers = {
        "part": parse_part,
        "texture": parse_texture,
        "scale": parse_scale,
        "sensitivity": parse_sensitivity,
        "size": parse_size,
        "fit": parse_fit,
        "box": lambda boxes: [parse_box(text) for text in boxes],
        "mask_color": parse_colour,
        "denoise": parse_denoise,
        "max_memory": parse_memory,
    }
    values = {
        field.name: getattr(flags, field.name) for field in fields(RestoreOptions)
    }
    given = {name: value for name, value in values.items() if value not in (None, "")}
    parsed = {
        name: parse(given[name]) for name, parse in parsers.items() if name in given
    }
    options = RestoreOptions(**given | parsed)
    if options.denoise and options.keep_known:
        raise InputError(
            f"--denoise {flags.denoise}: changes known pixels, which --keep-known "
            "keeps; give one of them"
        )
    if options.denoise and options.grain:
        raise InputError(
            f"--denoise {flags.denoise}: removes grain, which --grain adds; give one "
            "of them"
        )
    return options


def _check_masks(flags: argparse.Namespace, masks: list[str]) -> None:
    """Raises InputError for flags of masks that mean nothing, alone or together."""
    files = [mask for mask in masks if mask != AUTO]
    given = {f"--mask {file}": file for file in files}
    given |= {"--box": flags.box, "--mask-color": flags.mask_color}
    marked = [name for name, value in given.items() if value]
    marked += ["--mask-alpha"] * flags.mask_alpha
    if len(marked) > 1:
        raise InputError(
            f"{' and '.join(marked)}: one of them says what is missing; --mask auto "
            "may be given beside it"
        )
    sized = flags.scale or flags.size or flags.fit
    if not (marked or flags.find_damage or flags.salvage or sized):
        raise InputError(
            "nothing to do: give --scale, --size or --fit to enlarge, or say where the "
            "photo is missing with --mask, --box, --mask-color or --mask-alpha; --mask "
            "auto finds damage"
        )
    finds = flags.find_damage or flags.missing_masks == AUTO
    if flags.sensitivity is not None and not finds:
        raise InputError(
            f"--sensitivity {flags.sensitivity}: goes with --mask auto, which finds "
            "damage"
        )
    if flags.missing_masks and not files:
        raise InputError(
            f"--missing-masks {flags.missing_masks}: goes with --mask FOLDER"
        )
    if flags.invert_mask and not marked:
        raise InputError("--invert-mask: nothing to invert; it goes with --mask")
    dilate = flags.dilate or 0
    if dilate < 0 or (dilate and not (marked or flags.find_damage)):
        raise InputError(
            f"--dilate {flags.dilate}: give pixels from 0, and with them --mask"
        )
