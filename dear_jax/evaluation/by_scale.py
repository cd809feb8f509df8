"""Systems on damaged photos, scale by scale and by hole ratio: run_eval.py --scale."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from dear_jax import files, photo
from dear_jax.errors import InputError, NoWeights
from dear_jax.evaluation import gallery, protocol, report
from dear_jax.evaluation.journal import LONGEST_TITLE
from dear_jax.evaluation.measuring import Measuring
from dear_jax.evaluation.printable import printable
from dear_jax.evaluation.protocol import Cases
from dear_jax.evaluation.scores import Score
from dear_jax.figures import comparison
from dear_jax.pretrained import DEFAULT, load
from dear_jax.systems.catalogue import BASELINES, is_system, open_system
from dear_jax.systems.restorer import Restorer

CLASSICAL = "classical"


def parse_scales(text: str) -> list[float]:
    """Turns "1.5,2" into [1.5, 2.0].

    Raises:
      InputError: for what is no list of numbers.
    """
    try:
        return sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise InputError(f"--scale {text}: give numbers, as in 1.5,2") from None


def measure_scales(
    scales: Sequence[float],
    models: Sequence[str] | None,
    weights: Path,
    data: str,
    masks: str,
    limit: int | None,
    out: Path,
    ends: int = 0,
) -> str:
    """Measures, and writes table.txt, scale-S.json and the sheet scale-S.png.

    Args:
      scales: each at least 1.
      models: what --model was given; None for the bundled model.
      weights: folder in which systems find theirs.
      data, masks: see `protocol.cases`.
      limit: only the first photos.
      out: folder of results.
      ends: how many of the worst, and of the median results of each model by PSNR,
        to show in sheets scale-S-MODEL-worst.png and -median.png.

    Returns:
      The table, and what else was written where.

    Raises:
      InputError: for what cannot be opened, before any work where possible.
    """
    if ends < 0:
        raise InputError(f"--ends {ends}: give a number from 0 on")
    where = ("--data", "--masks")
    runs = [protocol.cases(data, masks, s, limit, settings=where) for s in scales]
    about = {"photos": f"{data} ({len(runs[0].names)})", "masks": masks}
    loaded = _load_systems(models, weights, runs)
    if loaded[0][1] and not any(set(found) - {CLASSICAL} for found, _ in loaded):
        raise NoWeights(next(iter(loaded[0][1].values())))
    scores, notes, sheets = [], {}, []
    total = sum(
        len(run) * len(systems) for run, (systems, _) in zip(runs, loaded, strict=True)
    )
    with tqdm(total=total, unit=" results") as bar:
        measuring = Measuring(out, bar)
        for run, (systems, remarks) in zip(runs, loaded, strict=True):
            found = _measure_scale(systems, run, measuring, out, about)
            sheets.append(out / f"scale-{run.scale:g}.png")
            if ends:
                sheets += _draw_ends(systems, run, measuring, found, ends, out)
            scores += [score for part in found.values() for score in part]
            notes[run.scale] = remarks
    table = report.format_table(scores, about, baseline=CLASSICAL, notes=notes)
    files.write_text(out / "table.txt", table)
    drawn = [f"sheet: {sheet}" for sheet in sheets]
    return printable("\n".join([table, str(measuring.seconds), *drawn]))


def _names_of(models: Sequence[str] | None) -> list[str]:
    """The systems asked for, the classical row first; "all" is the paper's."""
    names = [CLASSICAL]
    for name in filter(None, ",".join(models or [DEFAULT]).split(",")):
        names += [DEFAULT, *BASELINES, "dear"] if name == "all" else [name]
    return list(dict.fromkeys(names))


def _load_systems(
    models: Sequence[str] | None, weights: Path, runs: Sequence[Cases]
) -> list[tuple[dict[str, Restorer], dict[str, str]]]:
    """For each run label -> system and label -> remark; one that cannot has only a
    remark. A label is the same thing in every run.

    A system that "all" names is run with random weights where it has none.
    """
    every = "all" in ",".join(models or []).split(",")
    # Read once: at every scale it is the same model.
    trained = functools.cache(functools.partial(load, weights=weights))
    opened: list[dict[str, Restorer | NoWeights]] = [{} for _ in runs]
    for run, found in zip(runs, opened, strict=True):
        for name in _names_of(models):
            try:
                if every and is_system(name) and name != DEFAULT:
                    found[name] = open_system(name, weights, run.scale)
                else:
                    found[name] = trained(name)
            except NoWeights as error:
                found[name] = error
    labels = _labels(opened)
    return [_that_can(*each, labels) for each in zip(runs, opened, strict=True)]


def _labels(opened: Sequence[Mapping[str, Restorer | NoWeights]]) -> dict[str, str]:
    """What to call each system asked for: as it calls itself, or else by all that it
    was asked for by, where others could be meant."""
    short = {
        name: name if isinstance(system, NoWeights) else system.name
        for found in opened
        for name, system in found.items()
    }
    taken = [*short, *short.values()]
    return {
        name: printable(own if taken.count(own) == 1 else name)
        for name, own in short.items()
    }


def _that_can(
    cases: Cases, opened: Mapping[str, Restorer | NoWeights], labels: Mapping[str, str]
) -> tuple[dict[str, Restorer], dict[str, str]]:
    """The systems that can restore the cases, and remarks; see `_load_systems`."""
    case = cases.of_photo(0)[0]
    systems, remarks = {}, {}
    for name, system in opened.items():
        try:
            if isinstance(system, NoWeights):
                raise system
            system.check(*case.sizes)
        except NoWeights as error:
            remarks[labels[name]] = str(error)
            continue
        label = labels[name] + ("" if system.trained else report.UNTRAINED)
        systems[label] = system
        used = f"weights {', '.join(system.files)}" if system.files else ""
        remarks[label] = "; ".join(filter(None, (system.remark(*case.sizes), used)))
    return systems, {name: text for name, text in remarks.items() if text}


def _measure_scale(
    systems: dict[str, Restorer],
    cases: Cases,
    measuring: Measuring,
    out: Path,
    about: dict[str, str],
) -> dict[str, list[Score]]:
    """Measures at one scale; writes its JSON and its sheet.

    Returns:
      Label of a system -> its scores.
    """
    shown = gallery.shown_cases(cases)
    scores, pictures = {}, {}
    for label, system in systems.items():
        found = measuring.measure(system, cases, shown, label)
        scores[label], pictures[label] = found
    examples = comparison.examples(shown, pictures, scores)
    every = [score for found in scores.values() for score in found]
    name = f"scale-{cases.scale:g}"
    report.write_json(out / f"{name}.json", every, about)
    photo.write_photo(out / f"{name}.png", comparison.comparison_sheet(examples))
    return scores


def _draw_ends(
    systems: Mapping[str, Restorer],
    cases: Cases,
    measuring: Measuring,
    scores: Mapping[str, Sequence[Score]],
    count: int,
    out: Path,
) -> list[Path]:
    """Draws the worst and the median results of each model beside the classical row.

    Returns:
      The sheets.
    """
    drawn = []
    for label in systems:
        if label == CLASSICAL:
            continue
        parts = gallery.worst_and_median(cases, scores[label], count)
        for part, shown in parts.items():
            pictures = {
                name: measuring.show(systems[name], cases, shown)
                for name in (CLASSICAL, label)
            }
            examples = comparison.examples(shown, pictures, scores)
            title = files.as_name(label, LONGEST_TITLE)
            drawn.append(out / f"scale-{cases.scale:g}-{title}-{part}.png")
            photo.write_photo(drawn[-1], comparison.comparison_sheet(examples))
    return drawn
