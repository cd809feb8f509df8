"""Turns a training run into one weights file to share.

    python -m dear_jax.training.export WORKDIR OUT.safetensors --terms "..."

The file says how it was made; tell whoever gets it what it learned from and what
they may do with it.
"""

import argparse
import sys
from pathlib import Path

from dear_jax.errors import InputError
from dear_jax.inference.runs import read_run
from dear_jax.weights import write_weights


def export(
    workdir: Path, out: Path, which: str, dtype: str, facts: dict[str, str]
) -> None:
    """Writes the EMA weights of a run; see `read_run` and `write_weights`.

    Args:
      workdir: the run.
      out: file to write; an existing one is replaced whole.
      which: "latest" or "best".
      dtype: "float32" or "bfloat16".
      facts: goes into the file's provenance, beside configuration and step.
    """
    weights = read_run(workdir, which)
    write_weights(
        out, weights._replace(provenance={**weights.provenance, **facts}), dtype
    )


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workdir", type=Path, help="folder of the run")
    parser.add_argument("out", type=Path, help="weights file to write")
    parser.add_argument("--which", default="latest", choices=["latest", "best"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--terms", required=True, help="what others may do with it")
    parser.add_argument("--data", default="", help="what it learned from")
    flags = parser.parse_args(argv)
    try:
        facts = {"terms": flags.terms, "data": flags.data}
        export(flags.workdir, flags.out, flags.which, flags.dtype, facts)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{flags.out}: {flags.out.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
