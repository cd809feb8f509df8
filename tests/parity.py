"""Compares this project with what the authors' PyTorch code computed.

    python tests/parity.py FILE.npz ... [FOLDER] [--weights CHECKPOINT]

A reference file holds inputs, outputs, the parameters under their official names, and
how the model was made. Here the model is built anew from that, the parameters are
converted (every one must find its place), and every output is compared. `--weights` is
the published LIIF checkpoint, or what dear_jax.convert made of it, for the files that
hold only what it answered. A folder is one of the images that LPIPS's authors compare,
ex_ref.png, ex_p0.png and ex_p1.png; their distances are compared.

Exit status: 0 all that was compared is equal; 1 something differs, or a file cannot be
compared; 2 wrong usage; 3 nothing was compared, every file lacked its weights.
"""

import argparse
import json
import sys
import zipfile
from pathlib import Path

import jax
import numpy as np

# The package of this checkout, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parity_kinds import compare  # noqa: E402
from parity_lpips import lpips_examples  # noqa: E402
from parity_outcome import Outcome, Skipped  # noqa: E402

from dear_jax.errors import InputError  # noqa: E402


def read(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """A reference file as (how it was made, its arrays)."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    texts = [arrays.pop(key) for key in ("meta_json", "meta/json") if key in arrays]
    return (json.loads(str(texts[0])) if texts else {}), arrays


def check(path: Path, weights: Path | None) -> Outcome:
    """Compares one file, or a folder of LPIPS's examples.

    Raises:
      Skipped: for want of weights.
      InputError: if it cannot be compared.
    """
    if path.is_dir():
        return lpips_examples(path)
    try:
        meta, arrays = read(path)
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"no readable reference file ({error})") from None
    outcome = compare(meta, arrays, weights)
    if not outcome.comparisons:
        raise InputError("nothing in it was compared")
    return outcome


def report(outcome: Outcome) -> str:
    """Lines on one file."""
    lines = [f"  {outcome.about}"]
    for name, error, tolerance in outcome.comparisons:
        verdict = "ok" if error <= tolerance else "DIFFERS"
        lines.append(f"  {name:36} {error:8.1e} <= {tolerance:7.0e}  {verdict}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--weights", type=Path, help="the published LIIF checkpoint")
    flags = parser.parse_args(argv)
    counts = {"equal": 0, "differing": 0, "failed": 0, "skipped": 0}
    for path in flags.files:
        print(path.name)
        try:
            # Accelerators may round the inputs of products otherwise.
            with jax.default_matmul_precision("highest"):
                outcome = check(path, flags.weights)
        except Skipped as reason:
            print(f"  SKIPPED: {reason}")
            counts["skipped"] += 1
        except InputError as error:
            print(f"  FAILED: {error}")
            counts["failed"] += 1
        else:
            print(report(outcome))
            # Written so that NaN differs.
            equal = all(c.error <= c.tolerance for c in outcome.comparisons)
            counts["equal" if equal else "differing"] += 1
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    if counts["differing"] or counts["failed"]:
        return 1
    return 0 if counts["equal"] else 3


if __name__ == "__main__":
    sys.exit(main())
