"""Measures restorers on photos: by scale under a protocol, or as the paper's tables."""

import argparse
import sys
from pathlib import Path

from dear_jax import errors, files
from dear_jax.cli.cache import use_compilation_cache
from dear_jax.cli.main import exit_status

BUNDLED = Path(__file__).parent / "results" / "bundled.toml"
EXAMPLES = """examples, by scale:
  python run_eval.py --scale 6
      the bundled model and the classical row (Telea fill, bicubic) on the bundled
      photos and masks, enlarged six times
  python run_eval.py --scale 1.5,2,4,8 --model runs/faces --data photos/test
      your own training run on your own photos, at four scales
  python run_eval.py --model a.safetensors,b.safetensors --masks generated --limit 5
      two weights files with drawn masks on the first five photos
  python run_eval.py --model misf+elan,elan+misf,lte --weights weights
      fill then enlarge, enlarge then fill, and LTE on the damaged photo itself, with
      the weights of each found in a folder by what the files say of themselves
  python run_eval.py --model runs/faces --ends 12
      also two sheets of what it did worst, and of what is usual (by PSNR)
  python run_eval.py --model all
      all systems of the paper's comparison; those without weights run with random
      ones, which is said
The classical row is always there; `--model classical` measures it alone.

examples, other protocols (every table and JSON file names its own):
  python run_eval.py --protocol v2 --scale 1,2,4 --data photos/test
      old photographs: your photos toned, blurred, reduced, damaged, with noise and
      JPEG, all drawn from seed 0 and a photo's name; scored inside and outside of
      holes too, by tone; a model that can be given the level of degradation has a
      second row, given the true one of each photo
  python run_eval.py --protocol sr --scale 4 --data Set14
      enlargement alone, as super-resolution papers measure it: PSNR and SSIM on the Y
      channel without a border of SCALE pixels, beside bicubic
  python run_eval.py --protocol damage --data scans --masks masks
      how well damage is found: detectors against masks of the same names. --masks
      drawn damages the photos by rule, as v2 does; --masks none: they have no damage,
      whatever is found is wrong. --model takes detectors' weights files
Protocols: v1 (default) reduces by bicubic, masked by hole ratio; v2 and sr take no
--masks; damage takes no --scale.

examples, the paper's tables (each cell is the paper's number | ours):
  python run_eval.py --table 1
      17 baselines, LIIF and DEAR; on the bundled photos, with the weights there are
  python run_eval.py --table 2 --setup results/paper.toml --weights weights
      eight scales, on the paper's data as `python -m data_prep` makes it
  python run_eval.py --table 6 --data photos/test --masks masks/test
      LIIF, LTE and DEAR on your own photos
Tables: 1 all systems, 2 scales, 3 enlargement only, 4 inpainting only, 5 DEAR's parts,
6 LIIF and LTE. A setup (see results/) says which weights fill which row.

A stopped command goes on where it was: results in --out are not computed again."""


def parse_flags(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--scale", help="one or more, such as 6 or 1.5,2 (default 4)")
    what.add_argument("--table", type=int, help="a table of the paper, 1 to 6")
    add("--model", action="append", help="NAME, FILE, WORKDIR or all; list or repeat")
    add("--protocol", help="v1, v2 (old photographs), sr or damage (default v1)")
    add("--setup", help="of --table: what fills it (results/bundled.toml)")
    add("--weights", default="weights", help="folder of weights (default weights)")
    add("--data", help="folder of photos, or of a prepared set (default bundled)")
    add("--masks", help="folder, 'generated' or 'none' (default bundled)")
    add("--out", default="runs/eval", help="folder for results (default runs/eval)")
    add("--limit", type=int, help="measure only the first LIMIT photos")
    add("--ends", type=int, default=0, help="show the ENDS worst and median results")
    return parser.parse_args(argv)


def main(argv=None) -> int:
    """Runs the command; returns its exit status."""
    flags = parse_flags(argv)
    use_compilation_cache()
    message = f"interrupted: the same command goes on from what is in {flags.out}"
    return exit_status(lambda: measure(flags), message)


def measure(flags: argparse.Namespace) -> int:
    """Measures what the flags name; returns the exit status."""
    out = files.make_folder(flags.out)
    if flags.protocol == "damage":
        print_damage(flags, out)
    elif flags.table is None:
        print_scales(flags, out)
    else:
        print_table(flags, out)
    return 0


def print_scales(flags: argparse.Namespace, out: Path) -> None:
    """Measures the models of --model at the scales of --scale."""
    from dear_jax.evaluation import report

    if flags.setup:
        raise errors.InputError(f"--setup {flags.setup}: goes with --table")
    text = report.measure_scales(
        scales=report.parse_scales(flags.scale or "4"),
        models=flags.model,
        weights=Path(flags.weights).expanduser(),
        data=flags.data or "bundled",
        masks=flags.masks,
        limit=flags.limit,
        out=out,
        ends=flags.ends,
        name=flags.protocol or "v1",
    )
    print(text)


def print_damage(flags: argparse.Namespace, out: Path) -> None:
    """Measures detectors of damage."""
    from dear_jax.evaluation import damage, protocol_damage

    for name in ("scale", "table", "setup", "ends"):
        if getattr(flags, name):
            raise errors.InputError(
                f"--{name} {getattr(flags, name)}: not with --protocol damage, which "
                "finds damage at the photos' own size"
            )
    models = [n for n in ",".join(flags.model or []).split(",") if n]
    data, masks = flags.data or "bundled", flags.masks or protocol_damage.DRAWN
    print(damage.measure_damage(data, masks, models, flags.limit, out))


def print_table(flags: argparse.Namespace, out: Path) -> None:
    """Measures and prints a table of the paper."""
    from dear_jax.evaluation import table_run

    if flags.model:
        raise errors.InputError("--model goes with --scale; a --setup fills a table")
    if flags.protocol:
        raise errors.InputError(
            f"--protocol {flags.protocol}: goes with --scale; tables are of protocol v1"
        )
    if flags.ends:
        raise errors.InputError(f"--ends {flags.ends}: goes with --scale")
    if flags.masks and not flags.data:
        raise errors.InputError(f"--masks {flags.masks}: goes with --data")
    lines = table_run.measure_table(
        number=flags.table,
        setup=flags.setup or BUNDLED,
        data=flags.data,
        masks=flags.masks,
        weights=Path(flags.weights).expanduser(),
        limit=flags.limit,
        out=out,
    )
    for line in lines:
        print(line)


if __name__ == "__main__":
    sys.exit(main())
