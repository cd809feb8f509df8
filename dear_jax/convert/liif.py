"""LIIF's official tensors: an EDSR trunk and the MLP `imnet`, or a whole EDSR.

`imnet`'s first layer reads the unfolded features, the relative place and the cell,
concatenated. Ours is split: a convolution over the features, once per pixel, and a
dense layer over the rest, once per query.
"""

import numpy as np

from dear_jax.convert import edsr
from dear_jax.convert.rules import State, Target, conv, dense, layer, same
from dear_jax.errors import InputError

_FIRST = "imnet.layers.0.weight"


def mapping(fields: dict) -> dict[str, tuple[Target, ...]]:
    """Official key -> our tensors; fields are those of `LIIF`."""
    if fields["pixel_scale"]:
        rules = edsr.mapping({**fields, "scale": fields["pixel_scale"]})
        return {
            f"encoder.{key}": tuple(
                target._replace(path=target.path.replace("params/", "params/encoder/"))
                for target in targets
            )
            for key, targets in rules.items()
        }

    def pixel_part(array: np.ndarray) -> np.ndarray:
        return conv(_split(array, fields)[0])

    def relative_part(array: np.ndarray) -> np.ndarray:
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


def unused(fields: dict) -> dict[str, str]:
    """Official keys that the model does not need -> why."""
    return edsr.trunk_unused("encoder.")


def constants(fields: dict) -> dict[str, np.ndarray]:
    """None."""
    return {}


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
    layers = sum(key.startswith("imnet.") and key.endswith(".weight") for key in state)
    return {
        **known[inputs],
        "decoder_width": width,
        "decoder_layers": layers - 1,
        "pixel_scale": 0,
    }


def _inputs(fields: dict) -> int:
    """Inputs of the MLP."""
    taps = 9 if fields["feature_unfold"] else 1
    return fields["width"] * taps + (4 if fields["cell_decode"] else 2)


def _split(array: np.ndarray, fields: dict) -> tuple[np.ndarray, np.ndarray]:
    """The first layer [O, I] -> its kernels [O, C, window, window] and [O, 2 or 4]."""
    if array.shape[1] != _inputs(fields):
        raise InputError(
            f"{_FIRST} has {array.shape[1]} inputs, should have {_inputs(fields)}; "
            "feature_unfold, cell_decode or width differ"
        )
    window = 3 if fields["feature_unfold"] else 1
    pixel, relative = np.split(array, [fields["width"] * window**2], axis=1)
    return pixel.reshape(len(array), -1, window, window), relative
