"""Systems on damaged photos, scale by scale, under a protocol: run_eval.py --scale.

Results as a table for people and as JSON for programs, with a sheet of pictures.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dear_jax import files
from dear_jax.errors import InputError, NoWeights
from dear_jax.evaluation import figures, protocol, protocol_sr, protocol_v2, score_cache
from dear_jax.evaluation.protocol import Protocol, Samples
from dear_jax.evaluation.score_cache import Evaluator
from dear_jax.evaluation.score_table import UNTRAINED, format_table, write_json
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.sheets import Picture
from dear_jax.files import printable
from dear_jax.images.io import write_photo
from dear_jax.inference.loading import BASELINES, DEFAULT, is_system, load, open_system
from dear_jax.inference.restorer import Restorer

PROTOCOLS = ("v1", "v2", "sr")
# What the label of a system ends with that is given the level of each photo.
GIVEN_LEVEL = ", told"


class Found(NamedTuple):
    """What is known of a system that was asked for, at one scale.

    Attributes:
      own: what it calls itself; what it was asked for by where it cannot be opened.
      error: why it cannot restore the samples, or None.
      remark: what a reader of its numbers should know.
      trained: whether its weights are not random.
      takes_level: whether it can be given the level of each sample.
    """

    own: str
    error: NoWeights | None = None
    remark: str = ""
    trained: bool = True
    takes_level: bool = False


class Row(NamedTuple):
    """A row of the table.

    Attributes:
      name: the system, as it was asked for.
      given_level: whether it is given the level of each sample.
    """

    name: str
    given_level: bool = False


class Systems:
    """The systems asked for; those that "all" names are opened one at a time.

    Args:
      models: what --model was given; None for the bundled model. A system that "all"
        names is run with random weights where it has none.
      weights: folder in which systems find theirs.
      baseline: the system to beat, which is always there.
    """

    def __init__(self, models: Sequence[str] | None, weights: Path, baseline: str):
        names = [baseline]
        asked = [n for n in ",".join(models or [DEFAULT]).split(",") if n]
        for name in asked:
            names += [DEFAULT, *BASELINES, "dear"] if name == "all" else [name]
        self.names = list(dict.fromkeys(names))
        self._weights, self._every = weights, "all" in asked
        # Read once: at every scale it is the same model.
        self._load = functools.cache(functools.partial(load, weights=weights))
        self._drawn: tuple[tuple[str, float], Restorer] | None = None

    def open(self, name: str, scale: float) -> Restorer:
        """Opens a system for a scale.

        Raises:
          NoWeights: if it has none, also for no scale that random ones could be for.
          InputError: if it cannot be opened.
        """
        kept = not self._every or name in (DEFAULT, self.names[0])
        if kept or not is_system(name):
            return self._load(name)
        if self._drawn is None or self._drawn[0] != (name, scale):
            self._drawn = None  # Before the next one takes memory.
            self._drawn = (name, scale), open_system(name, self._weights, scale)
        return self._drawn[1]

    def look(self, name: str, samples: Samples) -> Found:
        """What is known of a system at the samples' scale."""
        sizes, own = samples.of_photo(0)[0].sizes, name
        try:
            system = self.open(name, samples.scale)
            own = system.name
            system.check(*sizes)
        except NoWeights as error:
            # Its traceback would keep the system.
            return Found(own, error.with_traceback(None))
        used = f"weights {', '.join(system.files)}" if system.files else ""
        remark = "; ".join(filter(None, (system.remark(*sizes), used)))
        return Found(own, None, remark, system.trained, system.takes_denoise)


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
      data, masks: see `protocol.samples`; masks None for the bundled ones, and under
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
    runs = [_open_samples(name, data, masks, scale, limit) for scale in scales]
    baseline = runs[0].protocol.baseline
    about = {"photos": f"{data} ({len(runs[0].names)})"}
    if name == "v1":
        about["masks"] = masks or "bundled"
    systems = Systems(models, weights, baseline)
    found = [{name: systems.look(name, run) for name in systems.names} for run in runs]
    rows = [_rows(each, _labels(found), runs[0].protocol) for each in found]
    errors = [each.error for each in found[0].values() if each.error]
    if errors and not any(set(labels) - {baseline} for labels, _ in rows):
        raise errors[0]
    scores, notes, sheets = [], {}, []
    prefix = "" if name == "v1" else f"{name}-"
    at_scales = list(zip(runs, rows, strict=True))
    total = sum(len(run) * len(labels) for run, (labels, _) in at_scales)
    with tqdm(total=total, unit=" results") as bar:
        evaluator = Evaluator(out, bar)
        for run, (labels, remarks) in at_scales:
            stem = out / f"{prefix}scale-{run.scale:g}"
            scored, pictures = _measure(systems, labels, run, evaluator)
            every = [score for part in scored.values() for score in part]
            write_json(stem.with_name(f"{stem.name}.json"), every, about, run.protocol)
            sheets.append(stem.with_name(f"{stem.name}.png"))
            _draw(sheets[-1], score_cache.shown_samples(run), pictures, scored)
            if ends:
                given = systems, labels, run, evaluator
                sheets += _draw_ends(*given, scored, ends, stem)
            scores, notes[run.scale] = scores + every, remarks
    table = format_table(scores, about, notes, runs[0].protocol)
    files.write_text(out / f"{prefix}table.txt", table)
    drawn = [f"sheet: {sheet}" for sheet in sheets]
    return printable("\n".join([table, str(evaluator.seconds), *drawn]))


def _open_samples(
    name: str, data: str, masks: str | None, scale: float, limit: int | None
) -> Samples:
    """The samples of a protocol at one scale.

    Raises:
      InputError: for an unknown protocol or masks that it has no use for, and as
        `protocol.samples`.
    """
    if name not in PROTOCOLS:
        raise InputError(f"--protocol {name}: choose from {', '.join(PROTOCOLS)}")
    if masks and name != "v1":
        why = {"v2": "draws its own damage", "sr": "has nothing missing"}[name]
        raise InputError(f"--masks {masks}: protocol {name} {why}; leave it out")
    if name == "v2":
        return protocol_v2.samples(data, scale, limit, "--data")
    if name == "sr":
        return protocol_sr.samples(data, scale, limit, "--data")
    settings = ("--data", "--masks")
    return protocol.samples(data, masks or "bundled", scale, limit, settings=settings)


def _labels(scales: Sequence[Mapping[str, Found]]) -> dict[str, str]:
    """What to call each system asked for: as it calls itself, or else by all that it
    was asked for by, where others could be meant."""
    short = {name: found.own for each in scales for name, found in each.items()}
    taken = [*short, *short.values()]
    return {
        name: printable(own if taken.count(own) == 1 else name)
        for name, own in short.items()
    }


def _rows(
    found: Mapping[str, Found], labels: Mapping[str, str], protocol: Protocol
) -> tuple[dict[str, Row], dict[str, str]]:
    """Label -> row and label -> remark at one scale; a system that cannot restore the
    samples has only a remark. A label is the same thing at every scale.

    Under protocol v2 a system that can be given a photo's level has a second row.
    """
    rows, remarks = {}, {}
    for name, each in found.items():
        label = labels[name]
        if each.error:
            remarks[label] = str(each.error)
            continue
        untrained = "" if each.trained else UNTRAINED
        rows[label + untrained] = Row(name)
        if protocol is protocol_v2.V2 and each.takes_level:
            rows[label + GIVEN_LEVEL + untrained] = Row(name, given_level=True)
        remarks[label + untrained] = each.remark
    return rows, {label: text for label, text in remarks.items() if text}


def _measure(
    systems: Systems, rows: Mapping[str, Row], samples: Samples, evaluator: Evaluator
) -> tuple[dict[str, list[Score]], dict[str, list[Picture]]]:
    """Label of a row -> its scores, and its pictures of the samples shown."""
    shown = score_cache.shown_samples(samples)
    scores, pictures = {}, {}
    for label, row in rows.items():
        system = systems.open(row.name, samples.scale)
        found = evaluator.evaluate(system, samples, shown, label, row.given_level)
        scores[label], pictures[label] = found
        del system
    return scores, pictures


def _draw_ends(
    systems: Systems,
    rows: Mapping[str, Row],
    samples: Samples,
    evaluator: Evaluator,
    scores: Mapping[str, Sequence[Score]],
    count: int,
    stem: Path,
) -> list[Path]:
    """Draws the worst and the median results of each model beside the row to beat.

    Returns:
      The sheets.
    """
    drawn, baseline = [], samples.protocol.baseline
    for label in [label for label in rows if label != baseline]:
        parts = score_cache.worst_and_median(samples, scores[label], count)
        for part, shown in parts.items():
            pictures = {}
            for each in (baseline, label):
                name, given_level = rows[each]
                system = systems.open(name, samples.scale)
                made = evaluator.pictures(system, samples, shown, given_level)
                pictures[each] = made
            title = files.as_name(label, score_cache.LONGEST_TITLE)
            drawn.append(stem.with_name(f"{stem.name}-{title}-{part}.png"))
            _draw(drawn[-1], shown, pictures, scores)
    return drawn


def _draw(path: Path, shown: Sequence, pictures: Mapping, scores: Mapping) -> None:
    """Draws results for samples beside each other; see `figures.examples`."""
    examples = figures.examples(shown, pictures, scores)
    write_photo(path, figures.comparison_sheet(examples))
