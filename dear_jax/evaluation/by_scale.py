"""Systems on damaged photos, scale by scale, under a protocol: run_eval.py --scale."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dear_jax import files
from dear_jax.errors import InputError, NoWeights
from dear_jax.evaluation import (
    comparison,
    gallery,
    protocol,
    protocol_sr,
    protocol_v2,
    report,
)
from dear_jax.evaluation.journal import LONGEST_TITLE
from dear_jax.evaluation.measuring import Measuring
from dear_jax.evaluation.printable import printable
from dear_jax.evaluation.protocol import Cases
from dear_jax.evaluation.scores import Score
from dear_jax.images.io import write_photo
from dear_jax.inference.loading import BASELINES, DEFAULT, is_system, load, open_system
from dear_jax.inference.restorer import Restorer

PROTOCOLS = ("v1", "v2", "sr")
# What the label of a system ends with that is given the level of each photo.
TOLD = ", told"


class Row(NamedTuple):
    """A row of the table.

    Attributes:
      system: what is measured.
      told: whether it is given the level of each case.
    """

    system: Restorer
    told: bool = False


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
    masks: str | None,
    limit: int | None,
    out: Path,
    ends: int = 0,
    name: str = "v1",
) -> str:
    """Measures, and writes table.txt, scale-S.json and the sheet scale-S.png.

    Names of files begin with the protocol's, such as v2-table.txt, unless it is v1.

    Args:
      scales: each at least 1.
      models: what --model was given; None for the bundled model.
      weights: folder in which systems find theirs.
      data, masks: see `protocol.cases`; masks None for the bundled ones, and under
        protocols that have none.
      limit: only the first photos.
      out: folder of results.
      ends: how many of the worst, and of the median results of each model by PSNR,
        to show in sheets scale-S-MODEL-worst.png and -median.png.
      name: of the protocol, one of `PROTOCOLS`.

    Returns:
      The table, and what else was written where.

    Raises:
      InputError: for what cannot be opened, before any work where possible.
    """
    if ends < 0:
        raise InputError(f"--ends {ends}: give a number from 0 on")
    runs = [_open_cases(name, data, masks, scale, limit) for scale in scales]
    baseline = runs[0].protocol.baseline
    about = {"photos": f"{data} ({len(runs[0].names)})"}
    if name == "v1":
        about["masks"] = masks or "bundled"
    loaded = _load_rows(models, weights, runs)
    if loaded[0][1] and not any(set(found) - {baseline} for found, _ in loaded):
        raise NoWeights(next(iter(loaded[0][1].values())))
    scores, notes, sheets = [], {}, []
    prefix = "" if name == "v1" else f"{name}-"
    total = sum(
        len(run) * len(rows) for run, (rows, _) in zip(runs, loaded, strict=True)
    )
    with tqdm(total=total, unit=" results") as bar:
        measuring = Measuring(out, bar)
        for run, (rows, remarks) in zip(runs, loaded, strict=True):
            stem = out / f"{prefix}scale-{run.scale:g}"
            found = _measure_scale(rows, run, measuring, stem, about)
            sheets.append(stem.with_name(f"{stem.name}.png"))
            if ends:
                sheets += _draw_ends(rows, run, measuring, found, ends, stem)
            scores += [score for part in found.values() for score in part]
            notes[run.scale] = remarks
    table = report.format_table(scores, about, notes, runs[0].protocol)
    files.write_text(out / f"{prefix}table.txt", table)
    drawn = [f"sheet: {sheet}" for sheet in sheets]
    return printable("\n".join([table, str(measuring.seconds), *drawn]))


def _open_cases(
    name: str, data: str, masks: str | None, scale: float, limit: int | None
) -> Cases:
    """The cases of a protocol at one scale.

    Raises:
      InputError: for an unknown protocol or masks that it has no use for, and as
        `protocol.cases`.
    """
    if name not in PROTOCOLS:
        raise InputError(f"--protocol {name}: choose from {', '.join(PROTOCOLS)}")
    if masks and name != "v1":
        why = {"v2": "draws its own damage", "sr": "has nothing missing"}[name]
        raise InputError(f"--masks {masks}: protocol {name} {why}; leave it out")
    if name == "v2":
        return protocol_v2.cases(data, scale, limit, "--data")
    if name == "sr":
        return protocol_sr.cases(data, scale, limit, "--data")
    settings = ("--data", "--masks")
    return protocol.cases(data, masks or "bundled", scale, limit, settings=settings)


def _names_of(models: Sequence[str] | None, baseline: str) -> list[str]:
    """The systems asked for, the row to beat first; "all" is the paper's."""
    names = [baseline]
    for name in filter(None, ",".join(models or [DEFAULT]).split(",")):
        names += [DEFAULT, *BASELINES, "dear"] if name == "all" else [name]
    return list(dict.fromkeys(names))


def _load_rows(
    models: Sequence[str] | None, weights: Path, runs: Sequence[Cases]
) -> list[tuple[dict[str, Row], dict[str, str]]]:
    """For each run label -> row and label -> remark; a system that cannot has only a
    remark. A label is the same thing in every run.

    A system that "all" names is run with random weights where it has none.
    """
    every = "all" in ",".join(models or []).split(",")
    # Read once: at every scale it is the same model.
    trained = functools.cache(functools.partial(load, weights=weights))
    opened: list[dict[str, Restorer | NoWeights]] = [{} for _ in runs]
    for run, found in zip(runs, opened, strict=True):
        for name in _names_of(models, run.protocol.baseline):
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
) -> tuple[dict[str, Row], dict[str, str]]:
    """Rows of the systems that can restore the cases, and remarks; see `_load_rows`.

    Under protocol v2 a system that can be given a photo's level has a second row.
    """
    case = cases.of_photo(0)[0]
    rows, remarks = {}, {}
    for name, system in opened.items():
        try:
            if isinstance(system, NoWeights):
                raise system
            system.check(*case.sizes)
        except NoWeights as error:
            remarks[labels[name]] = str(error)
            continue
        untrained = "" if system.trained else report.UNTRAINED
        label = labels[name] + untrained
        rows[label] = Row(system)
        if cases.protocol is protocol_v2.V2 and system.takes_denoise:
            rows[labels[name] + TOLD + untrained] = Row(system, told=True)
        used = f"weights {', '.join(system.files)}" if system.files else ""
        remarks[label] = "; ".join(filter(None, (system.remark(*case.sizes), used)))
    return rows, {name: text for name, text in remarks.items() if text}


def _measure_scale(
    rows: Mapping[str, Row],
    cases: Cases,
    measuring: Measuring,
    stem: Path,
    about: dict[str, str],
) -> dict[str, list[Score]]:
    """Measures at one scale; writes its JSON and its sheet, named after the stem.

    Returns:
      Label of a row -> its scores.
    """
    shown = gallery.shown_cases(cases)
    scores, pictures = {}, {}
    for label, row in rows.items():
        found = measuring.measure(row.system, cases, shown, label, row.told)
        scores[label], pictures[label] = found
    examples = comparison.examples(shown, pictures, scores)
    every = [score for found in scores.values() for score in found]
    path = stem.with_name(f"{stem.name}.json")
    report.write_json(path, every, about, cases.protocol)
    path = stem.with_name(f"{stem.name}.png")
    write_photo(path, comparison.comparison_sheet(examples))
    return scores


def _draw_ends(
    rows: Mapping[str, Row],
    cases: Cases,
    measuring: Measuring,
    scores: Mapping[str, Sequence[Score]],
    count: int,
    stem: Path,
) -> list[Path]:
    """Draws the worst and the median results of each model beside the row to beat.

    Returns:
      The sheets.
    """
    drawn, baseline = [], cases.protocol.baseline
    for label in rows:
        if label == baseline:
            continue
        parts = gallery.worst_and_median(cases, scores[label], count)
        for part, shown in parts.items():
            pictures = {
                name: measuring.show(rows[name].system, cases, shown, rows[name].told)
                for name in (baseline, label)
            }
            examples = comparison.examples(shown, pictures, scores)
            title = files.as_name(label, LONGEST_TITLE)
            drawn.append(stem.with_name(f"{stem.name}-{title}-{part}.png"))
            write_photo(drawn[-1], comparison.comparison_sheet(examples))
    return drawn
