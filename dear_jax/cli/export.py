"""`dear export`: a model as one file that needs neither Flax nor this project."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dear_jax.errors import InputError

USAGE = "dear export OUT [--model NAME|FILE|WORKDIR] [--dtype float32|bfloat16]"
DESCRIPTION = """\
Writes a model as one file that JAX runs without Flax and without this project:
StableHLO for CPUs, NVIDIA's GPUs and TPUs, for photos and pictures of any size.

The file holds one function with the parameters inside, all of it float32:

  (image [H, W, 3], mask [H, W], rows [h], columns [w]) -> [h, w, 3]

Image and result lie in [0, 1]; mask is 1 where the photo is missing, else 0;
rows and columns are the places of the target's pixels, from -1 to 1 between the
edges of the photo: (2 i + 1) / h - 1 for row i of h. A model that was trained
to remove noise has a fifth argument, denoise: how degraded the photo is, 0 to
1. The README has a script of 12 lines that loads the file and restores a
photo; it needs jax, flatbuffers, numpy and pillow."""
EXAMPLES = """\
examples:
  dear export dear-lite.stablehlo
  dear export --model runs/mine --dtype bfloat16 mine.stablehlo"""
EPILOG = """\
How long a file can be used: JAX promises that its versions of the six months
after the one that wrote it can load it, and those of the three weeks before;
others may refuse. So keep the weights, and export again with a newer JAX.

Each combination of sizes is compiled when first used, which takes seconds;
JAX_COMPILATION_CACHE_DIR=FOLDER keeps what was compiled for the next time."""


def add_parser(commands) -> None:
    """Adds the command to those of `dear`."""
    parser = commands.add_parser(
        "export",
        help="write a model as one file that needs neither Flax nor this project",
        usage=USAGE,
        description=f"{DESCRIPTION}\n\n{EXAMPLES}",
        epilog=EPILOG,
    )
    parser.set_defaults(prepare=_prepare, parser=parser)
    add = parser.add_argument
    add("out", metavar="OUT", type=Path, help="file to write, as in model.stablehlo")
    add(
        "--model",
        default="dear-lite",
        metavar="NAME|FILE|WORKDIR",
        help="see `dear models`; a weights file or the folder of a training run; one "
        "that works at any scale: DEAR, LIIF or LTE (default dear-lite)",
    )
    add(
        "--weights",
        default="weights",
        metavar="FOLDER",
        help="where weights of a NAME are that do not come along (default weights)",
    )
    add(
        "--dtype",
        default="float32",
        choices=("float32", "bfloat16"),
        help="in which the file holds the parameters; bfloat16 halves it and rounds "
        "them; those of the dear-lite that comes along are bfloat16 anyway "
        "(default float32)",
    )


def _prepare(flags: argparse.Namespace) -> Callable[[], int]:
    from dear_jax.inference.loading import is_system, load
    from dear_jax.models.registry import fields_of, is_model, role_of

    name = flags.model
    any_scale = is_model(name) and role_of(fields_of(name)) == "query"
    if is_system(name) and not any_scale:
        what = "is two stages" if "+" in name else "fills or enlarges, not both"
        raise InputError(
            f"--model {name}: {what}; what can be exported is one model that works at "
            "any scale, such as dear-lite, dear, liif or lte"
        )
    return partial(_export, load(name, weights=flags.weights), flags.out, flags.dtype)


def _export(restorer, out: Path, dtype: str) -> int:
    """Writes the file; returns the exit status."""
    import jax

    from dear_jax.inference.stablehlo import export_to

    exported = export_to(out, restorer, dtype)
    print(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB, {restorer.name} for "
        f"{', '.join(exported.platforms)}; written by JAX {jax.__version__}, calling "
        f"convention {exported.calling_convention_version}"
    )
    terms = restorer.provenance.get("terms")
    print(f"terms of the weights, which the file does not say: {terms or 'not said'}")
    return 0
