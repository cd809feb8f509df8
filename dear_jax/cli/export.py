"""`dear export`: a model as files that need neither Flax nor this project."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dear_jax.errors import InputError

USAGE = """\
dear export OUT [--format stablehlo|onnx] [--model NAME|FILE|WORKDIR]
                   [--texture T] [--dtype float32|bfloat16|float16]"""
DESCRIPTION = """\
Writes a model as files that run without this project, for photos and pictures
of any size: StableHLO, one file that JAX runs on CPUs, NVIDIA's GPUs and TPUs;
or ONNX, a folder of three files that onnxruntime and many programs run.

A file of StableHLO holds one function with the parameters inside, all float32:

  (image [H, W, 3], mask [H, W], rows [h], columns [w]) -> [h, w, 3]

Image and result lie in [0, 1]; mask is 1 where the photo is missing, else 0;
rows and columns are the places of the target's pixels, from -1 to 1 between the
edges of the photo: (2 i + 1) / h - 1 for row i of h. A model that was trained
to remove noise has a fifth argument, denoise: how degraded the photo is, 0 to
1. results/export.md has a script of 12 lines that loads the file and restores a
photo; it needs jax, flatbuffers, numpy and pillow.

A folder of ONNX has its own README.md: what each file takes and returns, and a
script that restores a photo. The detector of damage, --model damage-detector,
becomes ONNX too."""
EXAMPLES = """\
examples:
  dear export dear-lite.stablehlo
  dear export --model runs/mine --dtype bfloat16 mine.stablehlo
  dear export --format onnx --texture 0.5 dear-lite-onnx/"""
EPILOG = """\
How long a file of StableHLO can be used: JAX promises that its versions of the
six months after the one that wrote it can load it, and those of the three weeks
before; others may refuse. So keep the weights, and export again with a newer
JAX.

Each combination of sizes is compiled when first used, which takes seconds;
JAX_COMPILATION_CACHE_DIR=FOLDER keeps what was compiled for the next time."""


def add_parser(commands) -> None:
    """Adds the command to those of `dear`."""
    parser = commands.add_parser(
        "export",
        help="write a model as files that need neither Flax nor this project",
        usage=USAGE,
        description=f"{DESCRIPTION}\n\n{EXAMPLES}",
        epilog=EPILOG,
    )
    parser.set_defaults(prepare=_prepare, parser=parser)
    add = parser.add_argument
    add("out", metavar="OUT", type=Path, help="file to write; ONNX: folder")
    add(
        "--format",
        default="stablehlo",
        choices=("stablehlo", "onnx"),
        help="of what is written (default stablehlo)",
    )
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
        "--texture",
        default=0.0,
        type=float,
        metavar="T",
        help="between the fidelity weights, 0, and the texture weights, 1 (default 0)",
    )
    add(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="in which the parameters are held: float32 or bfloat16 (StableHLO), "
        "float32 or float16 (ONNX); halves round them (default float32, for ONNX "
        "float16, which the weights of the dear-lite that comes along fit in)",
    )


def _prepare(flags: argparse.Namespace) -> Callable[[], int]:
    from dear_jax.inference.damage import BUNDLED, bundled_detector
    from dear_jax.inference.loading import is_system, load
    from dear_jax.models.registry import fields_of, is_model, role_of

    name, onnx = flags.model, flags.format == "onnx"
    fits = ("float16", "float32") if onnx else ("float32", "bfloat16")
    dtype = flags.dtype or fits[0]
    if dtype not in fits:
        raise InputError(f"--dtype {dtype}: --format {flags.format} has {fits}")
    if onnx and name == BUNDLED:
        return partial(_export_onnx, name, bundled_detector(), flags.out, dtype)
    any_scale = is_model(name) and role_of(fields_of(name)) == "query"
    if is_system(name) and not any_scale:
        what = "is two stages" if "+" in name else "fills or enlarges, not both"
        raise InputError(
            f"--model {name}: {what}; what can be exported is one model that works at "
            "any scale, such as dear-lite, dear, liif or lte"
        )
    restorer = load(name, weights=flags.weights).with_texture(flags.texture)
    if onnx:
        return partial(_export_onnx, name, restorer, flags.out, dtype)
    return partial(_export, restorer, flags.out, dtype)


def _export(restorer, out: Path, dtype: str) -> int:
    """Writes the file; returns the exit status."""
    import jax

    from dear_jax.export.stablehlo import export_to

    exported = export_to(out, restorer, dtype)
    print(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB, {restorer.name} for "
        f"{', '.join(exported.platforms)}; written by JAX {jax.__version__}, calling "
        f"convention {exported.calling_convention_version}"
    )
    terms = restorer.provenance.get("terms")
    print(f"terms of the weights, which the file does not say: {terms or 'not said'}")
    return 0


def _export_onnx(name: str, system, out: Path, dtype: str) -> int:
    """Writes the folder; returns the exit status."""
    from dear_jax.export.onnx_files import export_onnx
    from dear_jax.weights import Weights

    weights = Weights(system.variables, system.model, system.provenance)
    try:
        written = export_onnx(out, weights, dtype)
    except InputError as error:
        raise InputError(f"--model {name}: {error}") from None
    for path in written:
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    print(f"terms of the weights: {weights.provenance.get('terms') or 'not said'}")
    return 0
