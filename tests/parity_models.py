"""Reference files of whole models: how to build what made them, what to compare.

Arrays are in PyTorch's layouts, NCHW.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from parity_outcome import (
    Arrays,
    Outcome,
    Skipped,
    described,
    largest,
    nhwc,
    parameters,
)

from dear_jax.convert import convert_checkpoint, convert_state, family, rules
from dear_jax.convert.edsr import trunk_fields_from, trunk_mapping
from dear_jax.convert.liif import edsr_fields, part, spec_fields
from dear_jax.errors import InputError
from dear_jax.inference.loading import from_weights
from dear_jax.models import registry
from dear_jax.models.dear.coordinates import pixel_centres
from dear_jax.models.edsr import EDSRTrunk
from dear_jax.weights import read_weights


def built(fields: dict, arrays: Arrays, what: str = "") -> tuple[Any, dict, str]:
    """Module, variables and a description, from fields that the meta tells."""
    state = parameters(arrays)
    fields = {**registry.fields_of(fields["architecture"]), **fields}
    _check_fields(fields, family(fields["architecture"]).fields_from(state))
    variables, left = convert_state(state, fields)
    about = described(what or fields["architecture"], state, left)
    return registry.build(fields), variables, about


def _check_fields(fields: dict, told: dict) -> None:
    if fields.get("architecture") == "lama":
        told = {**told, "largest_width": _largest_width(fields, told)}
    for key, value in told.items():
        # Of a share, tensors tell what is left after rounding.
        if fields[key] != value and not isinstance(value, float):
            raise InputError(f"{key} is {fields[key]}, its tensors say {value}")


def _largest_width(fields: dict, told: dict) -> int:
    """The one that tensors tell, or any if neither it nor the file's limits a width."""
    widest = fields["width"] * 2 ** fields["downsamplings"]
    limits = min(told["largest_width"], fields["largest_width"]) < widest
    return told["largest_width"] if limits else fields["largest_width"]


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
    _check_fields(fields, trunk_fields_from(state, ""))
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    mapping = trunk_mapping(fields, "", "trunk")
    shapes = {"params": {"trunk": shapes["params"]}}
    variables = rules.convert(state, mapping, shapes)
    about = described("edsr encoder", state, rules.left_out(state, mapping))
    return module, {"params": variables["params"]["trunk"]}, about


def _query_model(meta: dict, arrays: Arrays) -> tuple[Callable, str]:
    """(coordinates, cell) -> colours of the file's photo, and a description."""
    spec = meta["spec"]
    variant, fields = spec_fields(spec)
    arguments, encoder = spec["args"], spec["args"]["encoder_spec"]
    fields |= _edsr_sizes(encoder["name"], part(encoder, "args"))
    fields |= {"architecture": registry.fields_of(variant)["architecture"]}
    mlp = part(part(arguments, "imnet_spec"), "args")
    hidden = mlp.get("hidden_list") or []
    if variant == "liif" and not hidden:
        fields["pixel_scale"] = part(encoder, "args").get("scale", 2)
    elif variant == "liif":
        fields |= {"decoder_width": hidden[0], "decoder_layers": len(hidden)}
        if set(hidden) - {hidden[0]}:
            fields["decoder_later_widths"] = tuple(hidden[1:])
    else:
        layers = arguments.get("num_layer", 3) if variant == "lte-fast" else len(hidden)
        fields |= {"hidden": arguments.get("hidden_dim", 256), "layers": layers}
        fields["layout"] = registry.fields_of(variant)["layout"]
    module, variables, about = built(fields, arrays, variant)
    image = nhwc(arrays["input/lr"])
    encode = jax.jit(functools.partial(module.apply, method="encode"))
    features = encode(variables, image, np.zeros_like(image[..., :1]))
    decode = jax.jit(functools.partial(module.apply, method="decode"))
    return functools.partial(decode, variables, features), about


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
        grid = pixel_centres(size).reshape(1, -1, 2)
        grid = np.broadcast_to(grid, (batch, size[0] * size[1], 2))
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
    members = 1 + arguments["n_share"]
    fields = {
        "architecture": "elan",
        "channels": arguments["c_elan"],
        "blocks": arguments["m_elan"] // members * members,
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
            ours = restorer(image, size=theirs.shape[:2])
            found.append(largest(key.removesuffix("/lr"), ours, theirs, 1e-3))
    return Outcome("the published LIIF", found)
