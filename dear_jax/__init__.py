"""dear_jax: complete and enlarge small, damaged photographs (SuperInpaint).

    restorer = dear_jax.load()
    completed = restorer(image, mask, scale=6)
    decibels = dear_jax.metrics.psnr(prediction, target)

`load`, `Restorer` and `metrics` are imported on first use, so that `import dear_jax`
costs next to nothing. The rooms, each importing only those above it:

    errors, typing, files, bundled, multihost, checkpoint
                what all need: files written whole or not at all, what comes along
    images      photo files and what they carry, masks, sizes
    models      every network by name; weights and metrics stand beside it
    inference   photos through one model or two, at any size: memory, plan, tiles,
                encoding, rendering; known pixels, denoising, damage; `load`
    convert     the authors' checkpoints
    data        photos, masks, degradations and damage, training examples
    evaluation  protocols, scores, intervals, the paper's tables, sheets and curves
    training    losses and objectives, step, loop, workdir, logs
    export      models as StableHLO and as ONNX
    workflow    a photo from file to file
    serve, site the page, with a server and without
    cli         the command `dear`
"""

import importlib
from typing import TYPE_CHECKING

from dear_jax.errors import InputError

if TYPE_CHECKING:
    from dear_jax import metrics
    from dear_jax.inference.loading import load
    from dear_jax.inference.restorer import Restorer

__version__ = "0.1.0"
__all__ = ["InputError", "Restorer", "__version__", "load", "metrics"]

_HOMES = {"load": "inference.loading", "Restorer": "inference.restorer"}


def __getattr__(name: str):
    if name in _HOMES:
        module = importlib.import_module(f"dear_jax.{_HOMES[name]}")
        return getattr(module, name)
    if name == "metrics":
        return importlib.import_module("dear_jax.metrics")
    raise AttributeError(f"module 'dear_jax' has no attribute {name!r}")
