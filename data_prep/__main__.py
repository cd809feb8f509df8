"""The command `python -m data_prep KIND SOURCE OUT`; see its --help."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep import prepare, workers
from data_prep.kinds import COUNTS, KINDS, TFDS_BUILDERS
from data_prep.plan import Options
from dear_jax.errors import InputError

_ABOUT = """Prepares photos or masks as ArrayRecord files with a manifest.

    python -m data_prep celebahq CelebA-HQ data/celebahq256 --side 256
    python -m data_prep celebahq ~/tensorflow_datasets/celeb_a_hq/256 OUT --tfds
    python -m data_prep ffhq ffhq-dataset data/ffhq256 --side 256
    python -m data_prep ffhq ffhq-dataset data/ffhq256raw --side 256 --raw
    python -m data_prep places365 places365standard data/places365 --side 256
    python -m data_prep masks irregular.zip data/irregular_masks
    python -m data_prep folder holiday data/holiday --test 0.1

OUT/train and OUT/test (Places365: OUT/val) get the shards; masks one folder more for
each bin of hole ratio, such as OUT/test/10-20. OUT/manifest.json, written last, has
the size and sha256 of every shard and image. Stopped at any moment, even killed, the
same command continues and ends with the same bytes.
"""

_KINDS = {
    "celebahq": """CelebA-HQ: a folder or .zip of its 30,000 images.

Each has its number in its name: 0.jpg, 00000.png, imgHQ00000.png. 2,000 are for
testing, those listed in data_prep/celebahq_test.txt. In a copy that counts from 1 to
30000, image 1 is taken for number 0; where images are missing, say --first.
""",
    "ffhq": """FFHQ as its owners ship it: images1024x1024/00000/00000.png and so on.

Its owners' split: 0 ... 59999 for training, 60000 ... 69999 for testing.
""",
    "places365": """Places365-Standard as its owners ship it, and their split.

Folders train and val (places365standard_easyformat), data_256 and val_256, or
data_large and val_large.
""",
    "masks": """Irregular masks, such as those of Liu et al. 2018: a folder or .zip.

White is missing. The hole ratio of every mask is measured and decides its bin, 01-10
... 50-60 %; masks outside are listed in OUT/left_out.txt. The sha256 of a mask's
file name decides its split.
""",
    "folder": """Any images: a folder, subfolders included, or a .zip.

The sha256 of an image's path in the folder decides its split, so an image keeps its
split when others are added.
""",
}
# Of photos and of masks.
_SIDE = (
    "reduce the centre square to this side by bicubic; without it, or where nothing "
    "changes, the file's bytes are kept",
    "reduce the centre square to this side by nearest neighbour, as PNG",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, 2 for what the user can mend."""
    values = vars(_parser().parse_args(argv))
    kind, source, out = (values.pop(name) for name in ("kind", "source", "out"))
    try:
        made = prepare.prepare(kind, source, out, Options(**values), _say)
    except InputError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        _say("stopped; the same command continues")
        return 130
    images = sum(len(shard.records) for shard in made.shards)
    print(f"{out}: {_many(images, 'image')} in {_many(len(made.shards), 'shard')}")
    return 0


def _many(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m data_prep", description=_ABOUT, formatter_class=raw
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind in KINDS:
        text = _KINDS[kind]
        line = text.partition("\n")[0]
        # What is not given stays out of the namespace: `Options` has the defaults.
        sub = kinds.add_parser(
            kind,
            help=line,
            description=text,
            formatter_class=raw,
            argument_default=argparse.SUPPRESS,
        )
        sub.add_argument("source", type=Path, metavar="SOURCE", help=line)
        sub.add_argument("out", type=Path, metavar="OUT", help="folder to make")
        _add_options(sub, kind)
    return parser


def _add_options(parser: argparse.ArgumentParser, kind: str) -> None:
    add = parser.add_argument
    flag = {"action": "store_true"}
    count = workers.usual_count()
    if kind in TFDS_BUILDERS:
        tfds = f"SOURCE is the TFDS dataset {TFDS_BUILDERS[kind]}, in ArrayRecord"
        add("--tfds", **flag, help=tfds)
    if kind in COUNTS:
        add("--incomplete", **flag, help="accept fewer images than the owners ship")
    if kind == "celebahq":
        first = "number of the copy's first image, 0 or 1, if it lacks images"
        add("--first", type=int, metavar="N", help=first)
    if kind == "masks":
        add("--invert", **flag, help="black is missing; the records have it white")
    if kind in ("masks", "folder"):
        share = 0.1 if kind == "masks" else 0.0
        help_ = f"share for testing ({share:g})"
        add("--test", type=float, default=share, metavar="SHARE", help=help_)
    add("--side", type=int, metavar="PIXELS", help=_SIDE[kind == "masks"])
    if kind != "masks":
        quality = "of reduced images: JPEG 1 ... 100, or 0 for PNG, lossless (0)"
        add("--quality", type=int, metavar="Q", help=quality)
        raw = (
            "keep all photos uncompressed, as PPM: ten times as large as JPEG (192 KiB "
            "for 256 x 256), and read in a tenth of the time"
        )
        add("--raw", **flag, help=raw)
    per_shard = "images in one shard, at most (1000; more in sets of over 500,000)"
    add("--per-shard", type=int, metavar="N", help=per_shard)
    processes = f"processes (as many as cores: {count})"
    add("--workers", type=int, default=count, metavar="N", help=processes)
    skip = "leave out what is damaged, no image or too small; see OUT/left_out.txt"
    add("--skip-unreadable", **flag, help=skip)


if __name__ == "__main__":
    sys.exit(main())
