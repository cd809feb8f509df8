"""Measures the rows of a table of the paper, with the photos and weights there are."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dear_jax import bundled
from dear_jax.data.sources import open_images
from dear_jax.errors import InputError
from dear_jax.evaluation import digits, gallery, protocol
from dear_jax.evaluation.measuring import Measuring
from dear_jax.evaluation.printable import printable
from dear_jax.evaluation.protocol import Case, Cases
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.table_paper import Row, Table
from dear_jax.evaluation.table_setup import PhotoSet, Setup
from dear_jax.inference import loading as pretrained
from dear_jax.inference.restorer import Restorer

# Dataset, scale.
Place = tuple[str, float]


class RowResults(NamedTuple):
    """What was measured for a table.

    Attributes:
      scores: (row's label, dataset, scale) -> one score per case.
      notes: row's label -> what fills it, or why it is a dash.
      names: row's label -> what to call it in pictures: what fills it is named too
        where that is not what the row says.
      about: dataset -> which photos stand for it.
      paper_photos: the datasets whose photos are the paper's, all of them.
      shown: (dataset, scale) -> the cases in the pictures.
      pictures: (dataset, scale) -> row's label -> results uint8 [h, w, 3].
    """

    scores: dict[tuple[str, str, float], list[Score]]
    notes: dict[str, str]
    names: dict[str, str]
    about: dict[str, str]
    paper_photos: tuple[str, ...]
    shown: dict[Place, list[Case]]
    pictures: dict[Place, dict[str, list[np.ndarray]]]


def open_cases(
    table: Table, data: Mapping[str, PhotoSet], limit: int | None = None
) -> dict[Place, Cases]:
    """The cases of every set that there are photos for, at every scale of a table.

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
        (name, scale): protocol.cases(
            data[name].photos,
            data[name].masks if table.masked else "none",
            scale,
            limit,
            settings=tuple(f"data.{name}.{what}" for what in ("photos", "masks")),
        )
        for name in here
        for scale in table.scales
    }


def measure_rows(
    table: Table,
    setup: Setup,
    cases: Mapping[Place, Cases],
    weights: Path,
    measuring: Measuring,
) -> RowResults:
    """Measures every row of a table that has weights, on all cases.

    Args:
      table: the table.
      setup: what fills its rows.
      cases: see `open_cases`.
      weights: folder in which rows find their weights.
      measuring: measures and keeps.

    Raises:
      InputError: for a photo that cannot be read; weights that are missing only
        leave a dash, with a note.
    """
    shown = {place: gallery.shown_cases(found) for place, found in cases.items()}
    own = _paper_photos(setup, cases)
    about = _about(table, setup, cases, own)
    pictures: dict[Place, dict] = {place: {} for place in cases}
    result = RowResults({}, {}, {}, about, own, shown, pictures)
    for row in rows_of(table, setup):
        wanted = setup.systems.get(row.label, row.system)
        try:
            system = pretrained.load(wanted, weights=weights, clean=not table.masked)
        except InputError as error:
            result.notes[row.label] = str(error)
            measuring.skip(sum(map(len, cases.values())))
            continue
        remarks = [f"weights {', '.join(system.files)}" if system.files else ""]
        result.names[row.label] = row.label
        if row.system not in (wanted, Path(wanted).stem):
            result.names[row.label] += f" ({Path(wanted).name})"
        for place, found in cases.items():
            remarks.append(_measure(row.label, system, place, found, result, measuring))
        # Each once, in the order they came up.
        if said := list(dict.fromkeys(filter(None, remarks))):
            result.notes[row.label] = "\n".join(said)
    return result


def rows_of(table: Table, setup: Setup) -> list[Row]:
    """The rows of a table, then those that only the setup has."""
    return [*table.rows, *(Row(label, name) for label, name in setup.extra.items())]


def _measure(
    label: str,
    system: Restorer,
    place: Place,
    cases: Cases,
    result: RowResults,
    measuring: Measuring,
) -> str:
    """Measures a system on one set at one scale; returns what to say of it."""
    case = result.shown[place][0]
    try:
        system.check(*case.sizes)
    except InputError as error:
        measuring.skip(len(cases))
        return str(error)
    scores, pictures = measuring.measure(system, cases, result.shown[place], label)
    result.scores[label, *place] = scores
    result.pictures[place][label] = pictures
    return system.remark(*case.sizes)


def _paper_photos(setup: Setup, cases: Mapping[Place, Cases]) -> tuple[str, ...]:
    """The sets that are the paper's, and that no limit leaves photos out of."""
    counts = {name: len(found.names) for (name, _), found in cases.items()}
    return tuple(
        name
        for name, count in counts.items()
        if setup.data[name].of_the_paper
        and count == len(open_images(setup.data[name].photos, "", bundled.PHOTOS))
    )


def _about(
    table: Table, setup: Setup, cases: Mapping[Place, Cases], own: tuple[str, ...]
) -> dict[str, str]:
    """Set -> which photos and masks stand for it."""
    lines = {}
    for (name, _), found in cases.items():
        photos = setup.data[name]
        count = digits.many(len(found.names), "photo")
        line = f"{name}: ours on {count}, {photos.photos}"
        if table.masked:
            line += f"; masks {photos.masks}"
        if not photos.of_the_paper:
            line += "; not the paper's photos"
        elif name not in own:
            line += "; not all of the paper's photos"
        lines[name] = printable(line)
    return lines
