"""What fills the paper's tables: photos for its sets, systems for its rows.

A setup is a small TOML file, such as results/bundled.toml:

    [data.CelebAHQ]            # one of the paper's sets
    photos = "data/celebahq256/test"
    masks = "data/irregular_masks/test"
    of_the_paper = true        # these are the paper's photos: numbers compare

    [systems]                  # row -> name, weights file or workdir; other rows
    DEAR = "runs/celebahq"     # find their weights in the folder of weights

    [extra]                    # further rows, ours only
    classical = "classical"

A section [tableN.data.SET], [tableN.systems] or [tableN.extra] is for one table and
goes before the general one.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dear_jax.errors import InputError
from dear_jax.tables.paper import paper_tables

_SECTIONS = ("data", "systems", "extra")


@dataclass(frozen=True)
class PhotoSet:
    """Photos and masks that stand for one of the paper's sets.

    Attributes:
      photos, masks: as run_eval.py's --data and --masks.
      of_the_paper: whether they are the paper's own.
    """

    photos: str
    masks: str = "bundled"
    of_the_paper: bool = False


@dataclass(frozen=True)
class Setup:
    """What fills one table.

    Attributes:
      data: the paper's set -> our photos.
      systems: label of a row -> system.
      extra: label of a further row -> system.
    """

    data: dict[str, PhotoSet]
    systems: dict[str, str]
    extra: dict[str, str]


def read_setup(path: str | Path, table: int) -> Setup:
    """Reads what a setup says of one table.

    Raises:
      InputError: if the file is missing or says what no table has.
    """
    path = Path(path).expanduser()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such setup of tables; see results/") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a setup of tables ({error})") from None
    own = [f"table{number}" for number in paper_tables()]
    general = {key: content.pop(key, {}) for key in _SECTIONS}
    _refuse_others(path, "", content, own)
    special = content.get(f"table{table}", {})
    _refuse_others(path, f"table{table}.", special, _SECTIONS)
    merged = {key: {**general[key], **special.get(key, {})} for key in _SECTIONS}
    tables = paper_tables().values()
    sets = {name for paper in tables for name in paper.datasets}
    rows = {row.label for paper in tables for row in paper.rows}
    _refuse_others(path, "data.", merged["data"], sorted(sets))
    _refuse_others(path, "systems.", merged["systems"], sorted(rows))
    data = {name: _photo_set(path, name, d) for name, d in merged["data"].items()}
    return Setup(data, merged["systems"], merged["extra"])


def _photo_set(path: Path, name: str, values: dict[str, Any]) -> PhotoSet:
    _refuse_others(path, f"data.{name}.", values, PhotoSet.__dataclass_fields__)
    if "photos" not in values:
        raise InputError(f"{path}: data.{name} names no photos")
    return PhotoSet(**values)


def _refuse_others(path: Path, where: str, found, known) -> None:
    for key in found:
        if key not in known:
            raise InputError(
                f"{path}: {where}{key} is unknown; choose from {', '.join(known)}"
            )
