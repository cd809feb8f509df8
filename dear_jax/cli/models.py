"""`dear models`: what can be loaded, how large it is, and under which terms."""

import argparse
import math
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    "detector": "finds damage, restores nothing",
}
_HOW = """Train one with run_train.py (--config=configs/celebahq.py:NAME), then give
the folder of the run as --model, or python -m dear_jax.training.export makes it a file;
or convert what the authors published, if they did: python -m dear_jax.convert. Two
stages are joined by + in the order they work, misf+elan or elan+misf: one fills, the
other enlarges; their files are found in the folder of --weights."""
_WITHOUT_WEIGHTS = """\
Methods without weights
  telea              fills from the borders of holes (OpenCV)
  bilinear, bicubic  enlarge
  classical          telea+bicubic, what a model has to beat"""
_WIDTH = 88


def add_parser(commands) -> None:
    """Adds the command to those of `dear`."""
    parser = commands.add_parser(
        "models",
        help="list what can be loaded, with size, terms and training data",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.set_defaults(prepare=_prepare, parser=parser)
    parser.add_argument(
        "--weights", metavar="FOLDER", help="also list the weights files in it"
    )


def _prepare(flags: argparse.Namespace) -> Callable[[], int]:
    sections = model_list(flags.weights)

    def show() -> int:
        print("\n\n".join(sections))
        return 0

    return show


def model_list(folder: str | None = None) -> list[str]:
    """The sections of the list, each of several lines.

    Args:
      folder: of weights files that are listed as well, or None.

    Raises:
      InputError: if it does not exist.
    """
    from dear_jax import bundled

    sections = [
        _section("Models that come along", bundled.WEIGHTS, ".safetensors"),
        _section(
            "For --mask auto and dear mask", bundled.DETECTOR.parent, ".safetensors"
        ),
    ]
    if folder:
        path = Path(os.path.expanduser(folder))
        if not os.path.isdir(path):
            raise InputError(f"--weights {path}: no such folder; name one of weights")
        sections.append(_section(f"Weights in {folder}", path))
    return [*sections, _WITHOUT_WEIGHTS, _architectures(bundled.WEIGHTS)]


def _section(title: str, folder: Path, suffix: str = "") -> str:
    """A heading, and each weights file without that suffix, with what it says."""
    from dear_jax.inference.texture import is_texture_of_another

    paths = sorted(folder.glob("*.safetensors"))
    files = [path for path in paths if not is_texture_of_another(path)]
    lines = [title]
    for path in files:
        lines += _lines_of(path, path.name.removesuffix(suffix))
    return "\n".join(lines if files else [*lines, "  none"])


def _lines_of(path: Path, name: str) -> list[str]:
    """What a weights file says of itself, without reading its tensors."""
    from safetensors import safe_open

    from dear_jax.inference.texture import texture_path
    from dear_jax.weights import read_header

    try:
        model, provenance = read_header(path)
    except InputError as error:
        return _wrapped(f"{name}: {str(error).removeprefix(f'{path}: ')}")
    with safe_open(path, "numpy") as file:
        names = [name for name in file.keys() if name.startswith("params/")]
        count = sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    texture, began = texture_path(path), provenance.get("started_from")
    facts = [f"learned from {_data_of(provenance)}"]
    if texture.is_file():
        facts.append(f"texture: --texture up to 1, {texture.name}, {_size(texture)}")
    if began:
        terms = began.get("terms") or "not said"
        facts.append(f"trained on from {began['name']}, whose terms are {terms}")
    facts.append(f"terms: {provenance.get('terms') or 'not said'}")
    head = f"{name}  [{_kind(model)}] {_size(path)}, {count / 1e6:.2f} M parameters"
    return _wrapped(head) + [line for fact in facts for line in _wrapped(fact, 4)]


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


def _kind(model: dict[str, Any]) -> str:
    """The variant of a model, and what it does."""
    from dear_jax.models.registry import VARIANTS, is_a, role_of

    role = role_of(model)
    variants = (name for name in VARIANTS if is_a(model, name))
    scale = f", x{model['scale']}" if "scale" in model and role == "upscaler" else ""
    return f"{next(variants, model['architecture'])}: {_DOES[role]}{scale}"


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


def _architectures(weights: Path) -> str:
    """The architectures whose weights do not come along, and how to get them."""
    from dear_jax.models.registry import RESTORING, VARIANTS, fields_of, role_of

    by_role: dict[str, list[str]] = {}
    for name in VARIANTS:
        role = role_of(fields_of(name))
        if role in RESTORING and not (weights / f"{name}.safetensors").exists():
            by_role.setdefault(role, []).append(name)
    lines = ["Architectures whose weights are to be trained or converted"]
    for role, names in by_role.items():
        lines += _wrapped(f"{_DOES[role]}: {', '.join(names)}")
    return "\n".join([*lines, *_wrapped(_HOW, hanging=0)])


def _wrapped(text: str, indent: int = 2, hanging: int = 2) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )
