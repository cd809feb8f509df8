"""Reference files of single operators, of metrics and of resizing.

Arrays are in PyTorch's layouts, NCHW; those of resizing are HWC.
"""

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from parity_outcome import (
    Arrays,
    Comparison,
    Outcome,
    described,
    largest,
    nhwc,
    parameters,
)

from dear_jax import metrics
from dear_jax.convert import lama, rules
from dear_jax.errors import InputError
from dear_jax.images import resize
from dear_jax.models.dear.coordinates import pixel_centres
from dear_jax.models.dear.filtering import filter_pixels
from dear_jax.models.lama import FourierUnit, SpectralTransform


def operator_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """A layer of LaMa's, or MISF's filter of every pixel."""
    name, x = meta["op"], nhwc(arrays["input/feature"])
    if name == "KernelConv":
        return _pixel_filter_file(meta, arrays)
    layers = {
        "FourierUnit": (FourierUnit, lama.fourier_unit_mapping),
        "SpectralTransform": (SpectralTransform, lama.spectral_transform_mapping),
    }
    if name not in layers:
        raise InputError(f"an unknown operator {name!r}")
    if meta.get("enable_lfu") or meta.get("fft_norm", "ortho") != "ortho":
        raise InputError("with a local Fourier unit or another norm, not LaMa's")
    kind, mapping_of = layers[name]
    module, mapping = kind(meta["out_channels"]), mapping_of("", "")
    state = parameters(arrays)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    variables = rules.convert(state, mapping, shapes)
    output = jax.jit(module.apply)(variables, x)
    return Outcome(
        described(name, state, rules.left_out(state, mapping)),
        [largest("output", output, nhwc(arrays["output"]), 1e-5)],
    )


def _pixel_filter_file(meta: dict, arrays: Arrays) -> Outcome:
    taps, x = meta["kernel_size"] ** 2, nhwc(arrays["input/feature"])
    kernels = nhwc(arrays["input/kernels"])

    def filtered(x, kernels, dilation=1):
        by_tap = kernels.reshape(*x.shape, taps).swapaxes(-1, -2)
        return filter_pixels(x, by_tap, "zero", dilation)

    output, backward = jax.vjp(filtered, x, kernels)
    found = [largest("output", output, nhwc(arrays["output"]), 1e-5)]
    if "output_rate2" in arrays:
        output = filtered(x, kernels, 2)
        found.append(
            largest("output_rate2", output, nhwc(arrays["output_rate2"]), 1e-5)
        )
    if "grad/output" in arrays:
        gradients = backward(jnp.asarray(nhwc(arrays["grad/output"])))
        for key, gradient in zip(("feature", "kernels"), gradients, strict=True):
            theirs = nhwc(arrays[f"grad/{key}"])
            found.append(largest(f"gradient of {key}", gradient, theirs, 1e-5))
    return Outcome(f"filter of every pixel, {taps} taps, no parameters", found)


_METRICS: dict[str, Callable] = {
    "liif_plain": lambda a, b, s: metrics.psnr(a, b),
    "liif_benchmark": lambda a, b, s: metrics.psnr(a, b, channels="luma", border=s),
    "liif_div2k": lambda a, b, s: metrics.psnr(a, b, border=s + 6),
    "edsr_style_quantised_benchmark": lambda a, b, s: metrics.psnr(
        a, b, channels="luma", border=s, rounded=True
    ),
    "elan_psnr": lambda a, b, s: metrics.psnr(a, b, channels="luma", border=s),
    "elan_ssim": lambda a, b, s: metrics.ssim(a, b, channels="luma", border=s),
}


def metrics_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """PSNR, SSIM, luma and pixel centres by the repositories' conventions."""
    output, truth = (
        nhwc(arrays["input/sr_unclamped"]).clip(0, 1),
        nhwc(arrays["input/hr"]),
    )
    found = []
    for name, value in zip(meta["names"], arrays["output"], strict=True):
        kind, scale = re.fullmatch(r"(.*?)(?:_x(\d+))?", name).groups()
        if kind not in _METRICS:
            raise InputError(f"an unknown metric {name!r}")
        ours = np.mean(_METRICS[kind](output, truth, int(scale or 0)))
        found.append(largest(name, ours, value, 1e-4))
    for key, theirs in arrays.items():
        if key.startswith("coord_"):
            size = tuple(map(int, key.removeprefix("coord_").split("x")))
            grid = pixel_centres(size).reshape(theirs.shape)
            found.append(largest(key, grid, theirs, 1e-6))
    for key, image in (("elan_y_sr", output), ("elan_y_hr", truth)):
        if key in arrays:
            ours = 255 * metrics.luma(image)
            found.append(largest(key, ours, nhwc(arrays[key]), 1e-4))
    return Outcome("metrics, no parameters", found)


def resize_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """Pillow's bicubic, by the share of values that differ."""
    found = []
    for i, (_, size) in enumerate(meta["cases"]):
        photo, theirs = arrays[f"input/hr{i}"], arrays[f"output{i}"]
        if theirs.shape[:2] != tuple(size):
            raise InputError(f"output{i} is {theirs.shape}, its meta says {size}")
        ours = resize.bicubic(photo, tuple(size))
        found.append(Comparison(f"output{i}", float(np.mean(ours != theirs)), 1e-3))
    return Outcome("bicubic on grey levels, share that differs", found)
