"""Measures restorers on damaged photos: a table, JSON and a picture sheet."""

import argparse
import sys
from pathlib import Path

from dear_jax import errors, files, photo

EXAMPLES = """examples:
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
  python run_eval.py --model all
      all systems of the paper's comparison; those without weights run with random
      ones, which is said
The classical row is always there; `--model classical` measures it alone."""


def parse_flags(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--scale", default="4", help="one or more, such as 6 or 1.5,2 (default 4)")
    add("--model", action="append", help="NAME, FILE, WORKDIR or all; list or repeat")
    add("--weights", default="weights", help="folder of weights (default weights)")
    add("--data", default="bundled", help="folder of photos (default bundled)")
    add("--masks", default="bundled", help="folder, 'generated' or 'none' (bundled)")
    add("--out", default="runs/eval", help="folder for results (default runs/eval)")
    add("--limit", type=int, help="measure only the first LIMIT photos")
    return parser.parse_args(argv)


def parse_scales(text: str) -> list[float]:
    """Turns "1.5,2" into [1.5, 2.0]."""
    try:
        return sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise errors.InputError(f"--scale {text}: give numbers, as in 1.5,2") from None


def names_of(models: str | None) -> list[str]:
    """The names of --model, the classical row first; "all" is the paper's systems."""
    from dear_jax.pretrained import DEFAULT
    from dear_jax.systems.catalogue import BASELINES

    names = ["classical"]
    for name in filter(None, (models or DEFAULT).split(",")):
        names += [DEFAULT, *BASELINES, "dear"] if name == "all" else [name]
    return list(dict.fromkeys(names))


def load_systems(flags: argparse.Namespace, cases) -> tuple[dict, dict]:
    """Returns name -> system and name -> remark; one that cannot has only a remark.

    A system that "all" names is run with random weights where it has none.
    """
    from dear_jax.evaluation.report import UNTRAINED
    from dear_jax.pretrained import DEFAULT, load
    from dear_jax.systems.catalogue import is_system, open_system

    every = "all" in (flags.model or "").split(",")
    folder = Path(flags.weights).expanduser()
    case = next(iter(cases))
    sizes = case.image.shape[:2], case.truth.shape[:2]
    systems, remarks = {}, {}
    for name in names_of(flags.model):
        try:
            if every and is_system(name) and name != DEFAULT:
                system = open_system(name, folder, cases.scale)
            else:
                system = load(name, weights=folder)
            system.check(*sizes)
        except errors.NoWeights as error:
            remarks[name] = str(error)
            continue
        label = name if system.name in systems else system.name
        label += "" if system.trained else UNTRAINED
        systems[label] = system
        used = f"weights {', '.join(system.files)}" if system.files else ""
        remarks[label] = "; ".join(filter(None, (system.remark(*sizes), used)))
    return systems, {name: text for name, text in remarks.items() if text}


def evaluate_scale(systems: dict, cases, out: Path, about: dict) -> list:
    """Measures at one scale; writes scale-S.json and the sheet scale-S.png."""
    from tqdm import tqdm

    from dear_jax.evaluation import evaluate, report

    name = f"scale-{cases.scale:g}"
    showcase = report.Showcase(cases.bins, systems)

    def note(score, case, output):
        bar.update()
        showcase.add(case, output)

    with tqdm(total=len(cases) * len(systems), desc=name, unit="photo") as bar:
        scores = evaluate.evaluate(systems, cases, on_progress=note)
    report.write_json(out / f"{name}.json", scores, about)
    photo.write_photo(out / f"{name}.png", showcase.draw())
    return scores


def main(argv=None) -> int:
    """Runs the command; returns its exit status."""
    flags = parse_flags(argv)
    flags.model = ",".join(flags.model) if flags.model else None
    try:
        from dear_jax.evaluation import protocol, report

        data, masks, scales = flags.data, flags.masks, parse_scales(flags.scale)
        runs = [protocol.cases(data, masks, s, flags.limit) for s in scales]
        out = files.make_folder(flags.out)
        about = {"photos": f"{data} ({len(runs[0].photos)})", "masks": masks}
        loaded = [load_systems(flags, run) for run in runs]
        if loaded[0][1] and not any(set(found) - {"classical"} for found, _ in loaded):
            raise errors.NoWeights(next(iter(loaded[0][1].values())))
        scores, notes = [], {}
        for run, (systems, remarks) in zip(runs, loaded, strict=True):
            scores += evaluate_scale(systems, run, out, about)
            notes[run.scale] = remarks
        table = report.format_table(scores, about, notes=notes)
        report.write_text(out / "table.txt", table)
        print(table, *(f"sheet: {out}/scale-{s:g}.png" for s in scales), sep="\n")
    except errors.InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted: finished scales are in {flags.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
