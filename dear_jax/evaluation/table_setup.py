"""What fills the paper's tables: photos for its sets, systems for its rows.

A setup is a small TOML file, such as results/bundled.toml:

    [data.CelebAHQ]            # one of the paper's sets
    photos = "data/celebahq256/test"
    masks = "data/irregular_masks/test"
    of_the_paper = true        # all photos are the paper's: its numbers compare

    [systems]                  # row -> name, weights file or workdir; other rows
    DEAR = "runs/celebahq"     # find their weights in the folder of weights

    [extra]                    # further rows, ours only
    classical = "classical"

A section [tableN.data.SET], [tableN.systems] or [tableN.extra] is for one table and
goes before the general one.
"""

import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dear_jax.errors import InputError
from dear_jax.evaluation.table_paper import paper_tables

_SECTIONS = ("data", "systems", "extra")
# What a value has to be, in words of TOML.
_KINDS = {dict: "a section", str: 'a text in "..."', bool: "true or false"}


@dataclass(frozen=True)
class PhotoSet:
    """Photos and masks that stand for one of the paper's sets.

    Attributes:
      photos, masks: as run_eval.py's --data and --masks.
      of_the_paper: whether they are the paper's own, all of them.
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
      InputError: if the file is missing, says what no table has or values of the wrong
        kind, or calls a further row as the paper calls one of its own.
    """
    path = Path(path).expanduser()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such setup of tables; see results/") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a setup of tables ({error})") from None
    general = {key: content.pop(key) for key in _SECTIONS if key in content}
    _refuse_others(path, "", content, [f"table{number}" for number in paper_tables()])
    merged: dict[str, dict[str, Any]] = {key: {} for key in _SECTIONS}
    # The general ones first: those of one table go before them.
    for name, sections in {"": general, **content}.items():
        where = f"{name}." * bool(name)
        _check(path, name, sections, dict)
        _refuse_others(path, where, sections, _SECTIONS)
        for key, values in sections.items():
            _check_section(path, where + key, key, values)
            if name in ("", f"table{table}"):
                merged[key].update(values)
    data = {name: PhotoSet(**values) for name, values in merged["data"].items()}
    return Setup(data, merged["systems"], merged["extra"])


def _check_section(path: Path, where: str, key: str, values: Any) -> None:
    """Raises InputError unless a section has what `Setup` has under that key."""
    _check(path, where, values, dict)
    rows = {row.label for paper in paper_tables().values() for row in paper.rows}
    if key == "data":
        sets = {name for paper in paper_tables().values() for name in paper.datasets}
        _refuse_others(path, f"{where}.", values, sorted(sets))
        for name, photos in values.items():
            _check_photo_set(path, f"{where}.{name}", photos)
        return
    for label, system in values.items():
        _check(path, f"{where}.{label}", system, str)
        if key == "extra" and label in rows:
            raise InputError(
                f"{path}: {where}.{label} is a row of the paper's; call it otherwise, "
                "or put what fills the paper's row under systems"
            )
    if key == "systems":
        _refuse_others(path, f"{where}.", values, sorted(rows))


def _check_photo_set(path: Path, where: str, values: Any) -> None:
    _check(path, where, values, dict)
    kinds = {field.name: field.type for field in fields(PhotoSet)}
    _refuse_others(path, f"{where}.", values, kinds)
    for name, value in values.items():
        _check(path, f"{where}.{name}", value, kinds[name])
    if "photos" not in values:
        raise InputError(f"{path}: {where} names no photos")


def _check(path: Path, where: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{path}: {where} = {value!r}: give {_KINDS[kind]}")


def _refuse_others(
    path: Path, where: str, found: Iterable[str], known: Collection[str]
) -> None:
    for key in found:
        if key not in known:
            raise InputError(
                f"{path}: {where}{key} is unknown; choose from {', '.join(known)}"
            )
