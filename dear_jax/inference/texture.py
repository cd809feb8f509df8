"""Between fidelity and texture: two sets of weights of one network, interpolated.

Weights trained for fidelity (L1) hedge, those trained for texture on top of them
(`dear_jax.training.adversarial`) decide. What lies between them on a straight line is
sound too (network interpolation, Wang et al. 2018, ESRGAN):

    w = (1 - t) w_fidelity + t w_texture

The texture weights of FILE.safetensors lie beside it as FILE-texture.safetensors.
"""

import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dear_jax.errors import InputError
from dear_jax.models.registry import completed
from dear_jax.weights import Weights, freeze

_SUFFIX = "-texture"


def texture_path(path: str | Path) -> Path:
    """Where the texture weights of a weights file lie, whether they exist or not."""
    path = Path(path)
    return path.with_name(f"{path.stem}{_SUFFIX}{path.suffix}")


def is_texture_of_another(path: Path) -> bool:
    """Whether it is by its name the texture file of a weights file that exists."""
    stem = path.stem.removesuffix(_SUFFIX)
    return stem not in ("", path.stem) and path.with_name(stem + path.suffix).is_file()


def check_texture(texture: Any) -> float:
    """The amount of texture as a number.

    Raises:
      InputError: unless it is a number in [0, 1].
    """
    try:
        number = float(texture)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise InputError(
            f"texture={texture!r}: give a number from 0 (fidelity) to 1 (texture)"
        )
    return number


def mixed(fidelity: Weights, texture: Weights, amount: float) -> Weights:
    """Weights between two of one model.

    Args:
      fidelity: the weights at 0, returned to the bit there.
      texture: the weights at 1, likewise; of the same model.
      amount: t in [0, 1].

    Returns:
      Float32 weights (1 - t) fidelity + t texture, with the provenance of both.

    Raises:
      InputError: if their models differ, naming the first field that does.
    """
    mine, theirs = (dict(freeze(completed(w.model))) for w in (fidelity, texture))
    for field in sorted(mine.keys() | theirs.keys()):
        if mine.get(field) != theirs.get(field):
            raise InputError(
                f"texture weights have model field {field} = {theirs.get(field)!r}, "
                f"the fidelity weights {mine.get(field)!r}; give two of one model"
            )
    if amount == 0:
        return fidelity
    facts = {"texture": amount, "texture_weights": texture.provenance}
    provenance = {**fidelity.provenance, **facts}
    if amount == 1:
        return Weights(texture.variables, fidelity.model, provenance)

    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        # In float64, so that what both have in common stays what it is.
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return ((1 - amount) * a + amount * b).astype(np.float32)

    variables = jax.tree.map(
        between, *map(jax.device_get, (fidelity.variables, texture.variables))
    )
    return Weights(variables, fidelity.model, provenance)
