"""Every kind of reference file: how to build what made it, and what to compare.

The files are described beside them; arrays are in PyTorch's layouts, NCHW.
"""

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dear_jax import registry, resize
from dear_jax.baselines.edsr import EDSRTrunk
from dear_jax.baselines.fourier import FourierUnit, SpectralTransform
from dear_jax.convert import lama, rules
from dear_jax.convert.conversion import by_reason, convert_checkpoint, convert_state
from dear_jax.convert.conversion import family as rules_of
from dear_jax.convert.edsr import trunk_fields_from, trunk_mapping, trunk_unused
from dear_jax.convert.specs import edsr_fields, spec_fields
from dear_jax.errors import InputError
from dear_jax.evaluation import metrics
from dear_jax.model.coordinates import pixel_centres
from dear_jax.model.filtering import filter_pixels
from dear_jax.systems.catalogue import from_weights
from dear_jax.weights import read_weights

Arrays = Mapping[str, np.ndarray]


class Comparison(NamedTuple):
    """The largest difference, or another measure of it, against its tolerance."""

    name: str
    error: float
    tolerance: float


class Outcome(NamedTuple):
    """What a file is about, and its comparisons."""

    about: str
    comparisons: list[Comparison]


class Skipped(Exception):
    """A file that cannot be compared without weights."""


def compare(meta: dict, arrays: Arrays, weights: Path | None) -> Outcome:
    """Compares what a file holds with what we compute.

    Raises:
      Skipped: if it needs weights that were not given.
      InputError: for an unknown kind, or parameters that do not fit.
    """
    try:
        return _kind(meta, arrays)(meta, arrays, weights)
    except (KeyError, AttributeError) as error:
        raise InputError(f"it lacks or its meta lacks {error}") from None


def _kind(meta: dict, arrays: Arrays) -> Callable[..., Outcome]:
    if "builder" in meta:
        return edsr_file
    if "spec" in meta:
        return fast_query_file if meta["spec"]["name"] == "lte-fast" else query_file
    if "m_elan" in meta.get("args", {}):
        return elan_file
    for start, function in (("MISF", misf_file), ("LaMa", lama_file)):
        if meta.get("model", "").startswith(start):
            return function
    if "op" in meta:
        return operator_file
    if "names" in meta and "values" in meta:
        return metrics_file
    if "cases" in meta:
        return resize_file
    if not meta and arrays and all(re.search("/(lr|sr)$", key) for key in arrays):
        return published_file
    raise InputError("an unknown kind of reference file")


def largest(name: str, ours: Any, theirs: np.ndarray, tolerance: float) -> Comparison:
    """The largest absolute difference of two arrays of one shape."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        raise InputError(f"{name} is {theirs.shape}, ours is {ours.shape}")
    return Comparison(name, float(np.max(np.abs(ours - theirs))), tolerance)


def nhwc(array: np.ndarray) -> np.ndarray:
    """[B, C, H, W] -> [B, H, W, C] as float32."""
    return np.moveaxis(array, 1, -1).astype(np.float32)


def parameters(arrays: Arrays) -> dict[str, np.ndarray]:
    """The official state_dict."""
    start = "param/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def built(fields: dict, arrays: Arrays) -> tuple[Any, dict, str]:
    """Module, variables and a description, from fields that the meta tells."""
    state = parameters(arrays)
    fields = {**registry.fields_of(fields["architecture"]), **fields}
    told = rules_of(fields["architecture"]).fields_from(state)
    for key, value in told.items():
        if fields[key] != value:
            raise InputError(f"{key} is {fields[key]}, its tensors say {value}")
    variables, left = convert_state(state, fields)
    return (
        registry.build(fields),
        variables,
        _about(fields["architecture"], state, left),
    )


def _about(what: str, state: Mapping, left: Mapping[str, str]) -> str:
    used = f"{what}: {len(state) - len(left)} tensors used"
    reasons = [f"{len(keys)} {reason}" for reason, keys in by_reason(left).items()]
    return ", ".join([used, *reasons])


def edsr_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """EDSR as LIIF and LTE build it; its encoder has no tail."""
    fields = _edsr_sizes(meta["builder"], meta["kwargs"])
    if fields["residual_scale"] != meta.get("res_scale", fields["residual_scale"]):
        raise InputError(f"residual_scale {fields['residual_scale']} against its meta")
    x = nhwc(arrays["input/x"])
    if meta["kwargs"].get("no_upsampling"):
        module, variables, about = _trunk(fields, arrays)
    else:
        fields |= {"architecture": "edsr", "scale": meta["kwargs"].get("scale", 2)}
        module, variables, about = built(fields, arrays)
    output = jax.jit(module.apply)(variables, x)
    return Outcome(about, [largest("output", output, nhwc(arrays["output"]), 5e-5)])


def _edsr_sizes(builder: str, kwargs: dict) -> dict:
    sizes = {"edsr-baseline": (64, 16), "edsr": (256, 32)}
    fields = edsr_fields(builder, kwargs)
    width, blocks = sizes[builder]
    return {
        "width": kwargs.get("n_feats", width),
        "blocks": kwargs.get("n_resblocks", blocks),
        **fields,
    }


def _trunk(fields: dict, arrays: Arrays) -> tuple[Any, dict, str]:
    state, module = parameters(arrays), EDSRTrunk(**fields)
    for key, value in trunk_fields_from(state, "").items():
        if fields[key] != value:
            raise InputError(f"{key} is {fields[key]}, its tensors say {value}")
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    variables = rules.convert(
        state,
        trunk_mapping(fields, "", "trunk"),
        trunk_unused(""),
        {},
        {"params": {"trunk": shapes["params"]}},
    )
    about = _about("edsr encoder", state, trunk_unused(""))
    return module, {"params": variables["params"]["trunk"]}, about


def _query_model(meta: dict, arrays: Arrays) -> tuple[Callable, str]:
    """(coordinates, cell) -> colours of the file's photo, and a description."""
    spec = meta["spec"]
    variant, fields = spec_fields(spec)
    arguments, encoder = spec["args"], spec["args"]["encoder_spec"]
    fields |= _edsr_sizes(encoder["name"], encoder.get("args", {}))
    fields |= {"architecture": registry.fields_of(variant)["architecture"]}
    hidden = arguments.get("imnet_spec", {}).get("args", {}).get("hidden_list", [])
    if variant == "liif" and not hidden:
        fields["pixel_scale"] = encoder.get("args", {}).get("scale", 2)
    elif variant == "liif":
        fields |= {"decoder_width": hidden[0], "decoder_layers": len(hidden)}
    else:
        layers = arguments.get("num_layer", 3) if variant == "lte-fast" else len(hidden)
        fields |= {"hidden": arguments.get("hidden_dim", 256), "layers": layers}
        fields["layout"] = registry.fields_of(variant)["layout"]
    module, variables, about = built(fields, arrays)
    image = nhwc(arrays["input/lr"])
    encode = jax.jit(functools.partial(module.apply, method="encode"))
    features = encode(variables, image, np.zeros_like(image[..., :1]))
    decode = jax.jit(functools.partial(module.apply, method="decode"))
    return functools.partial(decode, variables, features), f"{variant}, {about}"


def query_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """LIIF and LTE: a grid, queries anywhere, and one where neighbours tie."""
    decode, about = _query_model(meta, arrays)
    tolerance = 1e-4 if meta["spec"]["name"] == "liif" else 2e-4
    output = decode(arrays["input/coord"], arrays["input/cell"])
    found = [largest("output", output, arrays["output"], tolerance)]
    if "output_image" in arrays:
        image = np.clip(np.asarray(output) / 2 + 0.5, 0, 1)
        theirs = arrays["output_image"]
        found += [
            largest("output_image", image.reshape(theirs.shape), theirs, tolerance)
        ]
    if "rand_output" in arrays:
        output = decode(arrays["input/rand_coord"], arrays["input/rand_cell"])
        found += [largest("random queries", output, arrays["rand_output"], tolerance)]
    if "tie_output" in arrays:
        batch, _, height, width = arrays["input/lr"].shape
        size = (3 * height, 3 * width)
        grid = np.broadcast_to(
            pixel_centres(size).reshape(1, -1, 2), (batch, 9 * height * width, 2)
        )
        cell = np.broadcast_to(np.float32(2) / np.float32(size), grid.shape)
        output = decode(grid, cell)
        found += [largest("tie queries", output, arrays["tie_output"], tolerance)]
    return Outcome(about, found)


def fast_query_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """LTE+: queries [B, h, w, 2], one cell a photo, output NCHW."""
    decode, about = _query_model(meta, arrays)
    grid, cell = arrays["input/coord"], arrays["input/cell"]
    queries = grid.reshape(len(grid), -1, 2)
    cells = np.broadcast_to(cell.reshape(-1, 1, 2), queries.shape)
    output = np.asarray(decode(queries, cells)).reshape(*grid.shape[:3], 3)
    return Outcome(about, [largest("output", output, nhwc(arrays["output"]), 2e-4)])


def elan_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """ELAN; values in [0, 255]."""
    arguments = meta["args"]
    fields = {
        "architecture": "elan",
        "channels": arguments["c_elan"],
        "blocks": arguments["m_elan"],
        "shared": arguments["n_share"],
        "expansion": arguments["r_expand"],
        "windows": tuple(arguments["window_sizes"]),
        "scale": arguments["scale"],
    }
    module, variables, about = built(fields, arrays)
    output = jax.jit(module.apply)(variables, nhwc(arrays["input/x"]))
    return Outcome(about, [largest("output", output, nhwc(arrays["output"]), 5e-3)])


def misf_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """MISF; its authors' output on photos that are not square is no target."""
    if meta["kernel_size"] != 3:
        raise InputError(f"kernel_size {meta['kernel_size']}; MISF's is 3")
    fields = {
        "architecture": "misf",
        "width": meta["base_width"],
        "blocks": meta["residual_blocks"],
    }
    target = "output_hw_fixed" if "output_hw_fixed" in arrays else "output"
    return _inpainter_file(fields, arrays, target, 3e-5)


def lama_file(meta: dict, arrays: Arrays, _) -> Outcome:
    """LaMa."""
    arguments = meta["kwargs"]
    block = arguments["resnet_conv_kwargs"]
    if block["enable_lfu"] or block["ratio_gin"] != block["ratio_gout"]:
        raise InputError(f"blocks with {block} are not those of LaMa")
    if arguments["add_out_act"] != "sigmoid":
        raise InputError(f"add_out_act {arguments['add_out_act']}; LaMa's is sigmoid")
    fields = {
        "architecture": "lama",
        "width": arguments["ngf"],
        "blocks": arguments["n_blocks"],
        "downsamplings": arguments["n_downsampling"],
        "global_ratio": block["ratio_gin"],
        "largest_width": arguments.get("max_features", 1024),
    }
    return _inpainter_file(fields, arrays, "output", 5e-5)


def _inpainter_file(
    fields: dict, arrays: Arrays, target: str, tolerance: float
) -> Outcome:
    module, variables, about = built(fields, arrays)
    image, mask = nhwc(arrays["input/image"]), nhwc(arrays["input/mask"])
    output = jax.jit(module.apply)(variables, image, mask)
    found = [largest(target, output, nhwc(arrays[target]), tolerance)]
    if target == "output" and "composite" in arrays:
        composite = np.where(mask > 0, output, image)
        theirs = nhwc(arrays["composite"])
        found.append(largest("composite", composite, theirs, tolerance))
    return Outcome(about, found)


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
    unused = {
        key: "counts training steps"
        for key in state
        if key.endswith("num_batches_tracked")
    }
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    variables = rules.convert(state, mapping, unused, {}, shapes)
    output = jax.jit(module.apply)(variables, x)
    return Outcome(
        _about(name, state, unused),
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
        np.round(a * 255) / 255, b, channels="luma", border=s
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
    """Pillow's bicubic, and ours in JAX; compared by the share of values that differ."""
    found, wrong, total = [], 0, 0
    for i, (_, size) in enumerate(meta["cases"]):
        photo, theirs = arrays[f"input/hr{i}"], arrays[f"output{i}"]
        if theirs.shape[:2] != tuple(size):
            raise InputError(f"output{i} is {theirs.shape}, its meta says {size}")
        ours = resize.bicubic(photo, tuple(size))
        found.append(Comparison(f"output{i}", float(np.mean(ours != theirs)), 1e-3))
        on_device = np.asarray(resize.bicubic_on_device(photo[None], tuple(size))[0])
        wrong += int(np.sum(on_device != theirs))
        total += theirs.size
    if total:
        found.append(Comparison("all, on the device", wrong / total, 1e-3))
    return Outcome("bicubic on grey levels, share that differs", found)


def published_file(_, arrays: Arrays, weights: Path | None) -> Outcome:
    """What the published LIIF answered for photos; its weights are not in the file."""
    if weights is None:
        raise Skipped("needs --weights, the published edsr-baseline-liif.pth")
    if weights.suffix == ".safetensors":
        read = read_weights(weights)
    else:
        read, _ = convert_checkpoint(weights, "liif", "")
    restorer = from_weights(read, "liif")
    found = []
    for key in sorted(arrays):
        if key.endswith("/lr"):
            photo, theirs = arrays[key], arrays[key.removesuffix("lr") + "sr"]
            image = photo.astype(np.float32) / 255
            mask = np.zeros(photo.shape[:2], bool)
            ours = restorer.restore(image, mask, theirs.shape[:2])
            found.append(largest(key.removesuffix("/lr"), ours, theirs, 1e-3))
    return Outcome("the published LIIF", found)
