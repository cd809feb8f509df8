"""The pictures beside a table: curves, and photos as in the paper's figures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dear_jax.errors import InputError
from dear_jax.evaluation import comparison, curves, stages
from dear_jax.evaluation.protocol import Case
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.table_filled import REFERENCE, Filled
from dear_jax.evaluation.table_paper import Table, paper_tables
from dear_jax.evaluation.table_rows import Place, RowResults
from dear_jax.images.io import write_photo
from dear_jax.inference import loading as pretrained
from dear_jax.inference.two_stage import TwoStage

# The scale that the paper's figures show.
USUAL_SCALE = 4.0
ROWS = 4
# Ways in two stages for the paper's Figure 1: its own, else what has weights.
FILL_FIRST = ("misf+elan", "lama+elan", "misf+edsr", "misf+bilinear", "telea+bicubic")
ENLARGE_FIRST = tuple("+".join(reversed(way.split("+"))) for way in FILL_FIRST)


def draw(
    filled: Filled, results: RowResults, weights: Path, stem: Path
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
        curves.save(name("scales"), curves.draw_scale_curves(filled))
        yield name("scales")
    for place in _places(table, results):
        dataset, scores = place[0], _scores_at(place, results)
        pictures = {
            results.names[label]: made
            for label, made in results.pictures[place].items()
        }
        if table.masked and len(table.scales) == 1:
            figure = curves.draw_ratio_curves(scores, [results.about[dataset]])
            curves.save(name(f"ratios-{dataset}"), figure)
            yield name(f"ratios-{dataset}")
        shown = results.shown[place][:ROWS]
        examples = comparison.examples(shown, pictures, scores)
        write_photo(name(dataset), comparison.comparison_sheet(examples))
        yield name(dataset)
        if table.number == 1 and dataset == table.datasets[0]:
            write_photo(name("stages"), _stages(place, results, weights))
            yield name("stages")


def _places(table: Table, results: RowResults) -> Iterator[Place]:
    """Each set that was measured, at one scale."""
    scale = USUAL_SCALE if USUAL_SCALE in table.scales else table.scales[0]
    for dataset in table.datasets:
        if results.pictures.get((dataset, scale)):
            yield dataset, scale


def _scores_at(place: Place, results: RowResults) -> dict[str, list[Score]]:
    return {
        results.names[label]: scores
        for (label, *where), scores in results.scores.items()
        if tuple(where) == place
    }


def _stages(place: Place, results: RowResults, weights: Path) -> np.ndarray:
    """The paper's Figure 1, on the shown photo that misses most."""
    shown = results.shown[place]
    which = max(range(len(shown)), key=lambda i: shown[i].mask.mean())
    case, chains = shown[which], []
    for ways in (FILL_FIRST, ENLARGE_FIRST):
        system = _first_that_can(ways, case, weights)
        between, result = system.stages(
            case.image[None], case.mask[None], case.truth.shape[:2]
        )
        chains.append(stages.Stages(_label(system), between[0], result[0]))
    if made := results.pictures[place].get(REFERENCE):
        chains.append(stages.Stages(results.names[REFERENCE], None, made[which]))
    return stages.stages_sheet(case, chains)


def _label(system: TwoStage) -> str:
    """As the paper writes it: "MISF→ELAN"; other systems by their stages' names."""
    rows = (row for paper in paper_tables().values() for row in paper.rows)
    labels = {row.system: row.label for row in rows}
    return labels.get(system.name, system.name.replace("+", "→"))


def _first_that_can(ways: Sequence[str], case: Case, weights: Path) -> TwoStage:
    """The first of the ways that has weights; the last needs none."""
    *others, last = ways
    for way in others:
        try:
            system = pretrained.load(way, weights=weights)
            system.check(*case.sizes)
            return system
        except InputError:  # None for it, or none that can be told apart.
            continue
    return pretrained.load(last)
