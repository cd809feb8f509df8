"""Finding weights in a folder by what the files say of themselves."""

import functools
from pathlib import Path

from dear_jax.errors import InputError
from dear_jax.inference.devices import on_devices
from dear_jax.inference.inpainter import trained_side
from dear_jax.inference.texture import is_texture_of_another
from dear_jax.models.registry import is_a, role_of
from dear_jax.weights import Weights, read_header, read_weights


def find_weights(folder: Path | None, stage: str, damaged: bool) -> dict[str, Weights]:
    """Finds the weights of a model: file name -> weights.

    Files that are not weights of this project are passed over, and so are texture
    weights beside the weights that they belong to, see `dear_jax.inference.texture`.

    Args:
      folder: None or one that does not exist has none.
      stage: a variant, or an architecture for any of its variants.
      damaged: whether a query model must have learned from damaged photos, else
        from clean ones.

    Raises:
      InputError: if two files could be meant.
    """
    found: dict[str, Weights] = {}
    kinds: dict[object, str] = {}
    for path in sorted(folder.glob("*.safetensors")) if folder else ():
        if is_texture_of_another(path):
            continue
        changed = path.stat().st_mtime_ns
        model, provenance = _header(path, changed)
        if not is_a(model, stage):
            continue
        if role_of(model) == "query" and trained_on_clean(provenance) == damaged:
            continue
        weights = _weights(path, changed)
        kind = _kind(weights)
        if kind in kinds:
            raise InputError(
                f"{folder}: {kinds[kind]} and {path.name} are both weights of {stage}"
                f"{kind and ' for ' + kind}; move one away, or name its variant or file"
            )
        kinds[kind] = path.name
        found[path.name] = weights
    return found


def trained_on_clean(provenance: dict) -> bool:
    """Whether weights learned from photos without holes; authors' weights did."""
    data = provenance.get("config", {}).get("data")
    return data is None or data.get("clean", 0.0) == 1.0


def _kind(weights: Weights) -> str:
    """What tells the weights of one model apart."""
    role = role_of(weights.model)
    if role == "upscaler":
        return f"x{weights.model['scale']}"
    return f"{trained_side(weights)} pixels" if role == "inpainter" else ""


@functools.lru_cache(maxsize=256)
def _header(path: Path, changed: int) -> tuple[dict, dict]:
    try:
        return read_header(path)
    except InputError:
        return {}, {}


@functools.lru_cache(maxsize=32)
def _weights(path: Path, changed: int) -> Weights:
    return on_devices(read_weights(path))
