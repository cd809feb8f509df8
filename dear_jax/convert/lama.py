"""The authors' LaMa generator -> `dear_jax.models.lama.LaMa`.

Keys are those of the generator alone, without the "generator." that Lightning
checkpoints begin them with. The layers are numbered in one sequence: 0 is a padding,
1 the stem, then come the strided convolutions and the residual blocks, then, after a
concatenation, three entries for each upsampling, a padding and the last convolution.
"""

from collections.abc import Mapping
from typing import Any

from dear_jax.convert import rules
from dear_jax.errors import InputError

Rules = dict[str, tuple[rules.Target, ...]]


def fourier_unit_mapping(key_prefix: str, path_prefix: str) -> Rules:
    """Rules for one `FourierUnit`.

    Args:
      key_prefix: of the official keys, with its dot: "model.5.(...).fu.", or "".
      path_prefix: of our paths, with its slash: "block_0_0/spectral/fourier/", or "".
    """
    return {
        **_conv(f"{key_prefix}conv_layer", f"{path_prefix}conv"),
        **rules.batch_norm(f"{key_prefix}bn", f"{path_prefix}norm"),
    }


def spectral_transform_mapping(key_prefix: str, path_prefix: str) -> Rules:
    """Rules for one `SpectralTransform`; arguments as `fourier_unit_mapping`."""
    return {
        **_conv(f"{key_prefix}conv1.0", f"{path_prefix}narrow"),
        **rules.batch_norm(f"{key_prefix}conv1.1", f"{path_prefix}norm"),
        **fourier_unit_mapping(f"{key_prefix}fu.", f"{path_prefix}fourier/"),
        **_conv(f"{key_prefix}conv2", f"{path_prefix}widen"),
    }


def mapping(fields: Mapping[str, Any]) -> Rules:
    """Official key -> where it goes; see `rules.convert`."""
    levels, blocks = fields["downsamplings"], fields["blocks"]
    found = _unit("model.1", "stem")
    for i in range(1, levels):
        found |= _unit(f"model.{1 + i}", f"down_{i}")
    found |= _from_local(f"model.{1 + levels}", f"down_{levels}")
    for i in range(blocks):
        for j in (0, 1):
            key, path = f"model.{2 + levels + i}.conv{1 + j}", f"block_{i}_{j}"
            found |= _from_local(key, path)
            found |= _conv(f"{key}.ffc.convg2l", f"{path}/global_to_local")
            found |= spectral_transform_mapping(
                f"{key}.ffc.convg2g.", f"{path}/spectral/"
            )
    first_up = 3 + levels + blocks
    for i in range(levels):
        key, path = first_up + 3 * i, f"up_{levels - 1 - i}"
        found |= rules.layer(f"model.{key}", f"{path}/conv", rules.transposed_conv)
        found |= rules.batch_norm(f"model.{key + 1}", f"{path}/norm")
    last = first_up + 3 * levels + 1
    return {**found, **rules.layer(f"model.{last}", "head", rules.conv)}


def unused(fields: Mapping[str, Any]) -> dict[str, str]:
    """Official keys that the model does not need, and why."""
    statistics = (key for key in mapping(fields) if key.endswith(".running_mean"))
    return {
        key.replace("running_mean", "num_batches_tracked"): "counts training steps"
        for key in statistics
    }


def constants(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Official keys that hold what is built into the model: none."""
    return {}


def fields_from(state: rules.State) -> dict[str, Any]:
    """The fields that the shapes tell: all of them.

    The largest width shows only where it limits another; else it is the usual 1024.

    Raises:
      InputError: if the stem or the convolution that splits features is missing.
    """
    count = len(state)
    splits = [i for i in range(count) if f"model.{i}.ffc.convl2g.weight" in state]
    split = splits[0] if splits else "*"
    tellers = (
        "model.1.ffc.convl2l.weight",
        f"model.{split}.ffc.convl2l.weight",
        f"model.{split}.ffc.convl2g.weight",
    )
    for key in tellers:
        if key not in state:
            raise InputError(f"this is not a LaMa generator: {key} is missing")
    width, local_width, global_width = (state[key].shape[0] for key in tellers)
    levels, widest = split - 1, local_width + global_width
    return {
        "width": width,
        "blocks": sum(f"model.{i}.conv1.bn_l.weight" in state for i in range(count)),
        "downsamplings": levels,
        "global_ratio": global_width / widest,
        "largest_width": widest if widest < width * 2**levels else max(1024, widest),
    }


def _unit(key: str, path: str) -> Rules:
    return {
        **_conv(f"{key}.ffc.convl2l", f"{path}/conv"),
        **rules.batch_norm(f"{key}.bn_l", f"{path}/norm"),
    }


def _from_local(key: str, path: str) -> Rules:
    """Of a Fourier convolution, what it makes of local features, and its norms."""
    return {
        **_conv(f"{key}.ffc.convl2l", f"{path}/local_to_local"),
        **_conv(f"{key}.ffc.convl2g", f"{path}/local_to_global"),
        **rules.batch_norm(f"{key}.bn_l", f"{path}/norm_local"),
        **rules.batch_norm(f"{key}.bn_g", f"{path}/norm_global"),
    }


def _conv(key: str, path: str) -> Rules:
    return rules.layer(key, path, rules.conv, bias=False)
