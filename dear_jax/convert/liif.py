"""LIIF's official tensors: an EDSR trunk and the MLP `imnet`, or a whole EDSR.

`imnet`'s first layer reads the unfolded features, the relative place and the cell,
concatenated. Ours is split: a convolution over the features, once per pixel, and a
dense layer over the rest, once per query.

LIIF's training code, which LTE's is made of, also writes the model's specification
into the file: {"name": "liif", "args": {"encoder_spec": ..., "imnet_spec": ...,
switches}}.
"""

import sys
from typing import Any

import numpy as np
from jaxtyping import Shaped

from dear_jax.convert import edsr
from dear_jax.convert.rules import Mapping, State, Target, conv, dense, layer, same
from dear_jax.convert.unpickle import short
from dear_jax.errors import InputError

_FIRST = "imnet.layers.0.weight"
_SWITCHES = {
    "local_ensemble": "local_ensemble",
    "feat_unfold": "feature_unfold",
    "cell_decode": "cell_decode",
}
# What the two builders of EDSR multiply a residual block with by default.
_RESIDUAL_SCALE = {"edsr-baseline": 1.0, "edsr": 0.1}


def mapping(fields: dict) -> Mapping:
    """See `rules.Mapping`; fields are those of `LIIF`."""
    if fields["pixel_scale"]:
        whole = {**fields, "scale": fields["pixel_scale"], "mean_shift": False}
        return {
            f"encoder.{key}": tuple(
                target._replace(path=target.path.replace("params/", "params/encoder/"))
                for target in rule
            )
            if isinstance(rule, tuple)
            else rule
            for key, rule in edsr.mapping(whole).items()
        }

    def pixel_part(array: np.ndarray) -> Shaped[np.ndarray, "window window C O"]:
        return conv(_split(array, fields)[0])

    def relative_part(array: np.ndarray) -> Shaped[np.ndarray, "n O"]:
        return dense(_split(array, fields)[1])

    rules = edsr.trunk_mapping(fields, "encoder.", "encoder")
    rules[_FIRST] = (
        Target("params/decoder/pixel_part/kernel", pixel_part),
        Target("params/decoder/relative_part/kernel", relative_part),
    )
    rules["imnet.layers.0.bias"] = (Target("params/decoder/pixel_part/bias", same),)
    hidden = fields["decoder_layers"] - 1
    for i in range(hidden):
        # The ReLUs have the odd indices.
        rules |= layer(f"imnet.layers.{2 * i + 2}", f"decoder/hidden_{i}", dense)
    return rules | layer(f"imnet.layers.{2 * hidden + 2}", "decoder/output", dense)


def fields_from(state: State) -> dict:
    """Reads the widths and depths, feature_unfold, cell_decode and pixel_scale.

    residual_scale and local_ensemble leave no trace in the tensors.

    Raises:
      InputError: if the trunk is missing, if there is neither an MLP nor EDSR's tail,
        or if the MLP reads another number of channels than LIIF's can.
    """
    fields = edsr.trunk_fields_from(state, "encoder.")
    if _FIRST not in state:
        if "encoder.tail.1.weight" not in state:
            raise InputError(f"{_FIRST} is missing, so this is not LIIF")
        encoder = {key.removeprefix("encoder."): state[key] for key in state}
        return {**fields, "pixel_scale": edsr.fields_from(encoder)["scale"]}
    width, inputs = state[_FIRST].shape
    known = {
        _inputs(choice): choice
        for unfold in (True, False)
        for cell in (True, False)
        for choice in [{**fields, "feature_unfold": unfold, "cell_decode": cell}]
    }
    if inputs not in known:
        raise InputError(
            f"{_FIRST} has {inputs} inputs; LIIF's with {fields['width']} channels has "
            f"{', '.join(map(str, sorted(known)))}"
        )
    later = later_widths(state, "imnet.layers.")
    return {
        **known[inputs],
        "decoder_width": width,
        "decoder_layers": len(later) + 1,
        "decoder_later_widths": later if set(later) - {width} else (),
        "pixel_scale": 0,
    }


def later_widths(state: State, prefix: str) -> tuple[int, ...]:
    """Units of an MLP's hidden layers after the first; the ReLUs have odd indices."""
    count = sum(key.startswith(prefix) and key.endswith(".weight") for key in state)
    found = (state.get(f"{prefix}{2 * i}.weight") for i in range(1, count - 1))
    return tuple(array.shape[0] for array in found if array is not None)


def spec_fields(spec: dict[Any, Any]) -> tuple[str, dict[str, Any]]:
    """Reads a specification.

    Returns:
      The variant, "liif", "lte" or "lte-fast", and the fields that the tensors
      do not reveal.

    Raises:
      InputError: for another model or encoder.
    """
    name, arguments = spec.get("name"), part(spec, "args")
    if name not in ("liif", "lte", "lte-fast"):
        raise InputError(
            f"its model is {short(name)}; known are liif, lte and lte-fast"
        )
    encoder = part(arguments, "encoder_spec")
    fields = edsr_fields(encoder.get("name"), part(encoder, "args"))
    for theirs in _SWITCHES.keys() & arguments.keys() if name == "liif" else ():
        value = fields[_SWITCHES[theirs]] = arguments[theirs]
        if not isinstance(value, bool):
            raise InputError(f"its {theirs} is {short(value)}, should be true or false")
    return name, fields


def edsr_fields(builder: Any, arguments: dict[Any, Any]) -> dict[str, float]:
    """What a specification of EDSR says that its tensors do not: `residual_scale`.

    Args:
      builder: "edsr-baseline" or "edsr".
      arguments: of the builder.

    Raises:
      InputError: for another encoder.
    """
    if not isinstance(builder, str) or builder not in _RESIDUAL_SCALE:
        raise InputError(
            f"its encoder is {short(builder)}, not known here; "
            "give a checkpoint whose name begins with edsr-baseline"
        )
    scale = arguments.get("res_scale", _RESIDUAL_SCALE[builder])
    if not isinstance(scale, int | float) or not 0 <= scale <= sys.float_info.max:
        raise InputError(
            f"its res_scale is {short(scale)}, which is no positive number"
        )
    return {"residual_scale": float(scale)}


def part(specification: dict[Any, Any], key: str) -> dict[Any, Any]:
    """What a specification holds under `key`; nothing if that is null or absent.

    Raises:
      InputError: if it is no dict.
    """
    found = specification.get(key)
    if found is not None and not isinstance(found, dict):
        raise InputError(f"its {key} is {short(found)}, should be a dict")
    return found or {}


def _inputs(fields: dict) -> int:
    """Inputs of the MLP."""
    taps = 9 if fields["feature_unfold"] else 1
    return fields["width"] * taps + (4 if fields["cell_decode"] else 2)


def _split(
    array: Shaped[np.ndarray, "O I"], fields: dict
) -> tuple[Shaped[np.ndarray, "O C window window"], Shaped[np.ndarray, "O n"]]:
    """The first layer's kernels, for pixels and for the 2 or 4 numbers of a query."""
    if array.shape[1] != _inputs(fields):
        raise InputError(
            f"{_FIRST} has {array.shape[1]} inputs, should have {_inputs(fields)}; "
            "feature_unfold, cell_decode or width differ"
        )
    window = 3 if fields["feature_unfold"] else 1
    pixel, relative = np.split(array, [fields["width"] * window**2], axis=1)
    return pixel.reshape(len(array), -1, window, window), relative
