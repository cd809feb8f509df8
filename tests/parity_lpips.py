"""LPIPS against PyTorch with random weights, and on its authors' examples."""

from pathlib import Path

import jax
import numpy as np
from drawn_lpips import drawn
from parity_outcome import Arrays, Comparison, Outcome, largest, nhwc

from dear_jax import metrics
from dear_jax.convert import rules
from dear_jax.errors import InputError
from dear_jax.images.io import read_photo
from dear_jax.models.lpips import CONVOLUTIONS, LPIPS

# Distance of ex_*.png to ex_ref.png by AlexNet, as the authors' code gives it.
EXAMPLES = {"ex_p0.png": 0.7219, "ex_p1.png": 0.1376}


def lpips_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """Distance and its gradient, with the weights of `drawn`."""
    network = meta["network"]
    weights = drawn(network)
    drawn_layers = zip(CONVOLUTIONS[network], weights.convolutions, strict=True)
    features = {
        layer.name: {"kernel": rules.conv(kernel), "bias": bias}
        for layer, (kernel, bias) in drawn_layers
    }
    heads = {f"head_{i}": head for i, head in enumerate(weights.heads, 1)}
    params = {"features": features, **heads}
    target = nhwc(arrays["input/target"])

    def distance(prediction, params):
        found = LPIPS(network).apply({"params": params}, prediction, target)
        return found.sum(), found

    by_prediction = jax.jit(jax.grad(distance, has_aux=True))
    gradient, output = by_prediction(nhwc(arrays["input/prediction"]), params)
    theirs = nhwc(arrays["grad/prediction"])
    scale = np.abs(theirs).max()
    return Outcome(
        f"LPIPS by {network}, {len(features) + len(heads)} layers drawn",
        [
            largest("output", output, arrays["output"], 1e-6),
            largest("relative gradient", gradient / scale, theirs / scale, 1e-4),
        ],
    )


def lpips_examples(folder: Path) -> Outcome:
    """The example images of LPIPS's authors in a folder, with the bundled weights.

    Raises:
      InputError: if one is missing.
    """
    reference = _read(folder / "ex_ref.png")
    found = [
        largest(name, metrics.lpips(_read(folder / name), reference), [theirs], 5e-4)
        for name, theirs in EXAMPLES.items()
    ]
    itself = float(metrics.lpips(reference, reference)[0])
    return Outcome(
        "LPIPS by AlexNet, bundled weights",
        [*found, Comparison("ex_ref.png", abs(itself), 1e-7)],
    )


def _read(path: Path) -> np.ndarray:
    if not path.is_file():
        raise InputError(
            f"{path.name} is missing; a folder is to hold LPIPS's examples, "
            f"ex_ref.png, {', '.join(EXAMPLES)}"
        )
    return read_photo(path)[None].astype(np.float32) / 255
