"""The paper's tables, measured with what is here and drawn: run_eval.py --table."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dear_jax import bundled, files
from dear_jax.data.sources import open_images
from dear_jax.errors import InputError
from dear_jax.evaluation import figures, plots, protocol, table_render
from dear_jax.evaluation.figures import Stages
from dear_jax.evaluation.protocol import Sample, Samples
from dear_jax.evaluation.score_cache import Evaluator, shown_samples
from dear_jax.evaluation.scores import Score, many
from dear_jax.evaluation.sheets import Picture
from dear_jax.evaluation.tables import (
    REFERENCE,
    Filled,
    PhotoSet,
    Row,
    Setup,
    Table,
    fill_table,
    paper_tables,
    read_setup,
)
from dear_jax.files import printable
from dear_jax.images.io import write_photo
from dear_jax.inference import loading
from dear_jax.inference.restorer import Restorer
from dear_jax.inference.two_stage import TwoStage

# The scale that the paper's figures show, and how many photos pictures of tables have.
USUAL_SCALE, ROWS = 4.0, 4
# Ways in two stages for the paper's Figure 1: its own, else what has weights.
FILL_FIRST = ("misf+elan", "lama+elan", "misf+edsr", "misf+bilinear", "telea+bicubic")
ENLARGE_FIRST = tuple("+".join(reversed(way.split("+"))) for way in FILL_FIRST)
# Dataset, scale.
AtScale = tuple[str, float]


class RowResults(NamedTuple):
    """What was measured for a table.

    Attributes:
      scores: (row's label, dataset, scale) -> one score per sample.
      notes: row's label -> what fills it, or why it is a dash.
      names: row's label -> what to call it in pictures: what fills it is named too
        where that is not what the row says.
      shown: (dataset, scale) -> the samples in the pictures.
      pictures: (dataset, scale) -> row's label -> results.
    """

    scores: dict[tuple[str, str, float], list[Score]]
    notes: dict[str, str]
    names: dict[str, str]
    shown: dict[AtScale, list[Sample]]
    pictures: dict[AtScale, dict[str, list[Picture]]]


def measure_table(
    number: int,
    setup: str | Path,
    data: str | None,
    masks: str | None,
    weights: Path,
    limit: int | None,
    out: Path,
) -> Iterator[str]:
    """Measures a table and writes it as text, Markdown, CSV, JSON and pictures.

    Numbers are written before anything is drawn.

    Args:
      number: of the table, 1 to 6.
      setup: file that says what fills it, see `tables`.
      data, masks: photos for its first set in place of the setup's; may be None.
      weights: folder in which rows find theirs.
      limit: only the first photos of each set.
      out: folder of results; gets table-N.txt and so on.

    Yields:
      What to print, when it is so: the table as text, where the time went, and each
      file that was written.

    Raises:
      InputError: for what cannot be opened, before any work where possible.
    """
    table, filling = _chosen(number, setup, data, masks)
    samples = _open_samples(table, filling.data, limit)
    extra = [Row(label, name) for label, name in filling.extra.items()]
    rows = [*table.rows, *extra]
    total = len(rows) * sum(map(len, samples.values()))
    with tqdm(total=total, unit=" results") as bar:
        evaluator = Evaluator(out, bar)
        results = _measure_rows(table, rows, filling, samples, weights, evaluator)
    own = _paper_photos(filling, samples)
    about = _about(table, filling, samples, own)
    others = [name for label, name in results.names.items() if name != label]
    filled_by = [f"rows filled by another system: {', '.join(others)}"] * bool(others)
    head = [protocol.V1.summary, *about.values(), *filled_by]
    filled = fill_table(table, results.scores, results.notes, head, extra, own)
    stem = out / f"table-{number}"
    text = table_render.to_text(filled)
    made = _write(filled, text, results.scores, stem)
    yield text
    yield str(evaluator.seconds) if results.scores else "nothing was measured"
    yield from (printable(str(path)) for path in made)
    for path in _draw(filled, results, about, weights, stem):
        yield printable(str(path))


def _chosen(
    number: int, setup: str | Path, data: str | None, masks: str | None
) -> tuple[Table, Setup]:
    """A table and what fills it."""
    if number not in paper_tables():
        raise InputError(f"--table {number}: the paper has tables 1 to 6")
    table, filling = paper_tables()[number], read_setup(setup, number)
    if masks not in (None, "none") and not table.masked:
        raise InputError(
            f"--masks {masks}: in table {number} nothing is missing; leave it out"
        )
    if data:
        own = PhotoSet(data, masks or "bundled")
        filling = Setup({table.datasets[0]: own}, filling.systems, filling.extra)
    return table, filling


def _open_samples(
    table: Table, data: Mapping[str, PhotoSet], limit: int | None
) -> dict[AtScale, Samples]:
    """The samples of every set that there are photos for, at every scale of a table.

    Raises:
      InputError: if no set of the table has photos, or a folder cannot be read.
    """
    here = [name for name in table.datasets if name in data]
    if not here:
        raise InputError(
            f"table {table.number} has {' and '.join(table.datasets)}, and no photos "
            "are given for them; name some in the setup, or give --data"
        )
    return {
        (name, scale): protocol.samples(
            data[name].photos,
            data[name].masks if table.masked else "none",
            scale,
            limit,
            settings=(f"data.{name}.photos", f"data.{name}.masks"),
        )
        for name in here
        for scale in table.scales
    }


def _measure_rows(
    table: Table,
    rows: Sequence[Row],
    setup: Setup,
    samples: Mapping[AtScale, Samples],
    weights: Path,
    evaluator: Evaluator,
) -> RowResults:
    """Measures every row that has weights, on all samples; the others get a note.

    Raises:
      InputError: for a photo that cannot be read.
    """
    shown = {place: shown_samples(found) for place, found in samples.items()}
    result = RowResults({}, {}, {}, shown, {place: {} for place in samples})
    for row in rows:
        wanted = setup.systems.get(row.label, row.system)
        try:
            system = loading.load(wanted, weights=weights, clean=not table.masked)
        except InputError as error:
            result.notes[row.label] = str(error)
            evaluator.skip(sum(map(len, samples.values())))
            continue
        remarks = [f"weights {', '.join(system.files)}" if system.files else ""]
        result.names[row.label] = row.label
        if row.system not in (wanted, Path(wanted).stem):
            result.names[row.label] += f" ({Path(wanted).name})"
        for place, found in samples.items():
            remarks.append(_measure(row.label, system, place, found, result, evaluator))
        # Each once, in the order they came up.
        if notes := list(dict.fromkeys(filter(None, remarks))):
            result.notes[row.label] = "\n".join(notes)
    return result


def _measure(
    label: str,
    system: Restorer,
    place: AtScale,
    samples: Samples,
    result: RowResults,
    evaluator: Evaluator,
) -> str:
    """Measures a system on one set at one scale; returns what to say of it."""
    shown = result.shown[place]
    try:
        system.check(*shown[0].sizes)
    except InputError as error:
        evaluator.skip(len(samples))
        return str(error)
    scores, pictures = evaluator.evaluate(system, samples, shown, label)
    result.scores[label, *place] = scores
    result.pictures[place][label] = pictures
    return system.remark(*shown[0].sizes)


def _paper_photos(setup: Setup, samples: Mapping[AtScale, Samples]) -> tuple[str, ...]:
    """The sets that are the paper's, and that no limit leaves photos out of."""
    counts = {name: len(found.names) for (name, _), found in samples.items()}
    return tuple(
        name
        for name, count in counts.items()
        if setup.data[name].of_the_paper
        and count == len(open_images(setup.data[name].photos, "", bundled.PHOTOS))
    )


def _about(
    table: Table,
    setup: Setup,
    samples: Mapping[AtScale, Samples],
    own: tuple[str, ...],
) -> dict[str, str]:
    """Set -> which photos and masks stand for it."""
    lines = {}
    for (name, _), found in samples.items():
        photos = setup.data[name]
        line = f"{name}: ours on {many(len(found.names), 'photo')}, {photos.photos}"
        if table.masked:
            line += f"; masks {photos.masks}"
        if not photos.of_the_paper:
            line += "; not the paper's photos"
        elif name not in own:
            line += "; not all of the paper's photos"
        lines[name] = printable(line)
    return lines


def _write(filled: Filled, text: str, scores: Mapping, stem: Path) -> list[Path]:
    """Writes the table's numbers, `text` as it is; returns the files."""
    texts = {
        ".txt": text,
        ".md": table_render.to_markdown(filled),
        ".csv": table_render.to_csv(filled),
    }
    for suffix, content in texts.items():
        files.write_text(stem.with_suffix(suffix), content)
    images = stem.with_suffix(".json")
    with files.replacing(images) as partial, partial.open("w", encoding="utf-8") as to:
        to.writelines(table_render.json_lines(filled, scores))
    return [*(stem.with_suffix(suffix) for suffix in texts), images]


def _draw(
    filled: Filled,
    results: RowResults,
    about: Mapping[str, str],
    weights: Path,
    stem: Path,
) -> Iterator[Path]:
    """Draws all pictures of a table; yields each file when it is there.

    STEM-scales.png has the metrics against scale, STEM-ratios-SET.png against hole
    ratio, STEM-SET.png photos with enlarged parts, and STEM-stages.png, of Table 1,
    what goes wrong between two stages.
    """
    table = filled.table

    def name(what: str) -> Path:
        return stem.with_name(f"{stem.name}-{what}.png")

    if not results.scores:
        return
    if len(table.scales) > 1:
        plots.save(name("scales"), plots.draw_scale_curves(filled))
        yield name("scales")
    scales = list(table.scales)
    scale = USUAL_SCALE if USUAL_SCALE in scales else scales[0]
    for dataset in table.datasets:
        place = dataset, scale
        if not results.pictures.get(place):
            continue
        called = results.names
        pictures = {called[x]: made for x, made in results.pictures[place].items()}
        scores = {
            called[label]: found
            for (label, *where), found in results.scores.items()
            if tuple(where) == place
        }
        if table.masked and len(table.scales) == 1:
            figure = plots.draw_ratio_curves(scores, [about[dataset]])
            plots.save(name(f"ratios-{dataset}"), figure)
            yield name(f"ratios-{dataset}")
        examples = figures.examples(results.shown[place][:ROWS], pictures, scores)
        write_photo(name(dataset), figures.comparison_sheet(examples))
        yield name(dataset)
        if table.number == 1 and dataset == table.datasets[0]:
            write_photo(name("stages"), _draw_stages(place, results, weights))
            yield name("stages")


def _draw_stages(place: AtScale, results: RowResults, weights: Path) -> Picture:
    """The paper's Figure 1, on the shown photo that misses most."""
    shown = results.shown[place]
    which = max(range(len(shown)), key=lambda i: shown[i].mask.mean())
    sample, chains = shown[which], []
    rows = [row for paper in paper_tables().values() for row in paper.rows]
    labels = {row.system: row.label for row in rows}
    for ways in (FILL_FIRST, ENLARGE_FIRST):
        system = _first_that_can(ways, sample, weights)
        between, result = system.stages(
            sample.image[None], sample.mask[None], sample.truth.shape[:2]
        )
        # As the paper writes it: "MISF→ELAN"; others by their stages' names.
        label = labels.get(system.name, system.name.replace("+", "→"))
        chains.append(Stages(label, between[0], result[0]))
    if made := results.pictures[place].get(REFERENCE):
        chains.append(Stages(results.names[REFERENCE], None, made[which]))
    return figures.stages_sheet(sample, chains)


def _first_that_can(ways: Sequence[str], sample: Sample, weights: Path) -> TwoStage:
    """The first of the ways that has weights; the last needs none."""
    *others, last = ways
    for way in others:
        try:
            system = _two_stage(way, weights)
            system.check(*sample.sizes)
            return system
        except InputError:  # None for it, or none that can be told apart.
            continue
    return _two_stage(last, None)


def _two_stage(name: str, weights: Path | None) -> TwoStage:
    """Loads a system of two by its name."""
    system = loading.load(name, weights=weights)
    assert isinstance(system, TwoStage)
    return system
