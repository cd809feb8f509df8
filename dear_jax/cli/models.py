"""`dear models`: what can be loaded, how large it is, and under which terms."""

import argparse
import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dear_jax.errors import InputError

DESCRIPTION = """\
Lists what --model of the other commands takes: the models that come along,
those in a folder of weights, methods that need no weights, and architectures
whose weights are to be trained or converted. Size, terms and training data are
what the files say of themselves."""
EXAMPLES = """\
examples:
  dear models
  dear models --weights weights/
      also the weights files of a folder"""
_DOES = {
    "query": "fills and enlarges, any scale",
    "upscaler": "enlarges",
    "inpainter": "fills",
    "features": "a measure, restores nothing",
}
_HOW = """Train one with run_train.py (--config=configs/celebahq.py:NAME), then give
the folder of the run as --model, or python -m dear_jax.training.export makes it a file;
or convert what the authors published, if they did: python -m dear_jax.convert. Two
stages are joined by + in the order they work, misf+elan or elan+misf: one fills, the
other enlarges; their files are found in the folder of --weights."""
_WIDTH = 88


class _File(NamedTuple):
    """A weights file: what it is called, what it says, or why it is none.

    `texture` is the file of its texture weights, if there is one.
    """

    name: str
    model: dict[str, Any]
    provenance: dict[str, Any]
    size: int = 0
    parameters: int = 0
    problem: str = ""
    texture: Path | None = None


def add_parser(subparsers) -> None:
    """Adds the command to those of `dear`."""
    parser = subparsers.add_parser(
        "models",
        help="list what can be loaded, with size, terms and training data",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--weights", metavar="FOLDER", help="also list the weights files in it"
    )


def run(flags: argparse.Namespace) -> int:
    """Prints the list; returns the exit status.

    Raises:
      InputError: if the folder of weights does not exist.
    """
    from dear_jax import bundled

    sections = [_section("Models that come along", _files(bundled.WEIGHTS), True)]
    if flags.weights:
        folder = Path(os.path.expanduser(flags.weights))
        if not os.path.isdir(folder):
            raise InputError(f"--weights {folder}: no such folder; name one of weights")
        sections.append(_section(f"Weights in {flags.weights}", _files(folder)))
    print("\n\n".join([*sections, _without_weights(), _to_be_had()]))
    return 0


def _files(folder: Path) -> list[_File]:
    from dear_jax.inference.texture import is_texture_of_another, texture_path

    files = []
    for path in sorted(folder.glob("*.safetensors")):
        if not is_texture_of_another(path):
            texture = texture_path(path)
            there = texture if texture.is_file() else None
            files.append(_read(path)._replace(texture=there))
    return files


def _read(path: Path) -> _File:
    """What a file says, without reading its tensors."""
    from safetensors import safe_open

    from dear_jax.weights import read_header

    try:
        model, provenance = read_header(path)
    except InputError as error:
        problem = str(error).removeprefix(f"{path}: ")
        return _File(path.name, {}, {}, problem=problem)
    with safe_open(path, "numpy") as file:
        names = [name for name in sorted(file.keys()) if name.startswith("params/")]
        count = sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    return _File(path.name, model, provenance, path.stat().st_size, count)


def _section(title: str, files: Sequence[_File], bundled: bool = False) -> str:
    """A heading, and each file with what it says of itself."""
    lines = [title]
    for file in files:
        name = file.name.removesuffix(".safetensors") if bundled else file.name
        if file.problem:
            lines += _wrapped(f"{name}: {file.problem}", 2, 4)
            continue
        lines += _wrapped(f"{name}  {_kind(file)}", 2, 4)
        lines += _wrapped(f"learned from {_data_of(file.provenance)}", 4, 6)
        if file.texture:
            size = file.texture.stat().st_size / 1e6
            lines += _wrapped(
                f"texture: --texture up to 1, {file.texture.name}, {size:.1f} MB", 4, 6
            )
        if began := file.provenance.get("started_from"):
            lines += _wrapped(
                f"trained on from {began['name']}, whose terms are "
                f"{began.get('terms') or 'not said'}",
                4,
                6,
            )
        lines += _wrapped(f"terms: {file.provenance.get('terms') or 'not said'}", 4, 6)
    return "\n".join(lines if files else [*lines, "  none"])


def _kind(file: _File) -> str:
    """The variant of a file, what it does, and how large it is."""
    from dear_jax.models.registry import VARIANTS, is_a, role_of

    named = [name for name in VARIANTS if is_a(file.model, name)]
    does = _DOES[role_of(file.model)]
    if "scale" in file.model and role_of(file.model) == "upscaler":
        does += f", x{file.model['scale']}"
    return (
        f"[{named[0] if named else file.model['architecture']}: {does}] "
        f"{file.size / 1e6:.1f} MB, {file.parameters / 1e6:.2f} M parameters"
    )


def _data_of(provenance: dict[str, Any]) -> str:
    """What a file says that its model has learned from."""
    if provenance.get("data"):
        return provenance["data"]
    if provenance.get("source"):
        return f"what its authors chose (converted from {provenance['source']})"
    data = provenance.get("config", {}).get("data", {})
    photos = data.get("photos")
    if not photos:
        return "nobody knows what"
    listed = photos if isinstance(photos, str) else ", ".join(map(str, photos))
    return f"photos {listed}; masks {data.get('masks')}"


def _without_weights() -> str:
    return "\n".join(
        [
            "Methods without weights",
            "  telea              fills from the borders of holes (OpenCV)",
            "  bilinear, bicubic  enlarge",
            "  classical          telea+bicubic, what a model has to beat",
        ]
    )


def _to_be_had() -> str:
    """The architectures whose weights do not come along, and how to get them."""
    from dear_jax import bundled
    from dear_jax.models.registry import VARIANTS, fields_of, role_of

    lines = ["Architectures whose weights are to be trained or converted"]
    by_role: dict[str, list[str]] = {}
    for name in VARIANTS:
        role = role_of(fields_of(name))
        if (
            role != "features"
            and not (bundled.WEIGHTS / f"{name}.safetensors").exists()
        ):
            by_role.setdefault(role, []).append(name)
    for role, names in by_role.items():
        lines += _wrapped(f"{_DOES[role]}: {', '.join(names)}", 2, 4)
    lines += _wrapped(_HOW, 2, 2)
    return "\n".join(lines)


def _wrapped(text: str, first: int, others: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * first,
        subsequent_indent=" " * others,
        break_long_words=False,
        break_on_hyphens=False,
    )
