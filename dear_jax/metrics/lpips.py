"""LPIPS with trained weights, loaded once."""

import functools
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from dear_jax.metrics.compared import compared


def lpips(
    prediction: jax.Array,
    target: jax.Array,
    *,
    data_range: float = 1.0,
    border: int = 0,
    rounded: bool = False,
    network: str = "alexnet",
    weights: str | os.PathLike | None = None,
) -> jax.Array:
    """Learned perceptual distance, version 0.1 (Zhang et al. 2018); lower is better.

    As a loss it makes the weights a constant of the compiled program; to pass them
    as an argument, use `dear_jax.models.lpips.LPIPS`.

    Args:
      prediction: [B, H, W, 3] in [0, data_range]. Without the border H and W are at
        least 31 for AlexNet, 16 for VGG16, see `dear_jax.models.lpips.SMALLEST`.
      target: [B, H, W, 3].
      data_range, border, rounded: see `dear_jax.metrics`.
      network: whose features, "alexnet" or "vgg16".
      weights: the weights file, made by `python -m dear_jax.convert`. None for the
        bundled ones, which are AlexNet's.

    Returns:
      [B], 0 for identical images, rarely above 1.

    Raises:
      InputError: for images or options that `compared` refuses, if an image is too
        small for the network, or for lack of weights, saying how to make them.
    """
    from dear_jax.models.lpips import check_size
    from dear_jax.models.lpips_weights import weights_path

    path = weights_path(network, weights)
    prediction, target = compared(
        prediction, target, data_range=data_range, border=border, rounded=rounded
    )
    check_size(prediction.shape, network)
    parameters = _parameters(network, path, path.stat().st_mtime_ns)
    return _distance(parameters, prediction, target, network)


@functools.lru_cache(maxsize=4)
def _parameters(network: str, path: Path, changed: int) -> dict[str, Any]:
    """The parameters on the device; `changed` lets a new file be noticed."""
    from dear_jax.models.lpips_weights import read_lpips

    parameters = read_lpips(network, path)
    # Arrays rather than parts of a program, should the caller be compiling one.
    with jax.ensure_compile_time_eval():
        return jax.tree.map(jnp.asarray, parameters)


@functools.partial(jax.jit, static_argnames="network")
def _distance(
    parameters: dict[str, Any], prediction: jax.Array, target: jax.Array, network: str
) -> jax.Array:
    from dear_jax.models.lpips import LPIPS

    return LPIPS(network).apply({"params": parameters}, prediction, target)
