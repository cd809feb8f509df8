"""The authors' LaMa generator -> `dear_jax.models.lama.LaMa`.

Keys are those of the generator alone, without the "generator." that Lightning
checkpoints begin them with. The layers are numbered in one sequence: 0 is a padding,
1 the stem, then come the strided convolutions and the residual blocks, then, after a
concatenation, three entries for each upsampling, a padding and the last convolution.
"""

from typing import Any

from dear_jax.convert.rules import (
    Mapping,
    State,
    batch_norm,
    conv,
    layer,
    require,
    transposed_conv,
)


def fourier_unit_mapping(key_prefix: str, path_prefix: str) -> Mapping:
    """Rules for one `FourierUnit`.

    Args:
      key_prefix: of the official keys, with its dot: "model.5.(...).fu.", or "".
      path_prefix: of our paths, with its slash: "block_0_0/spectral/fourier/", or "".
    """
    return {
        **layer(f"{key_prefix}conv_layer", f"{path_prefix}conv", conv, bias=False),
        **batch_norm(f"{key_prefix}bn", f"{path_prefix}norm"),
    }


def spectral_transform_mapping(key_prefix: str, path_prefix: str) -> Mapping:
    """Rules for one `SpectralTransform`; arguments as `fourier_unit_mapping`."""
    return {
        **layer(f"{key_prefix}conv1.0", f"{path_prefix}narrow", conv, bias=False),
        **batch_norm(f"{key_prefix}conv1.1", f"{path_prefix}norm"),
        **fourier_unit_mapping(f"{key_prefix}fu.", f"{path_prefix}fourier/"),
        **layer(f"{key_prefix}conv2", f"{path_prefix}widen", conv, bias=False),
    }


def mapping(fields: dict) -> Mapping:
    """See `rules.Mapping`; fields are those of `LaMa`."""
    levels, blocks = fields["downsamplings"], fields["blocks"]
    found: Mapping = {}
    for i in range(levels):
        key, path = f"model.{1 + i}", f"down_{i}" if i else "stem"
        found |= layer(f"{key}.ffc.convl2l", f"{path}/conv", conv, bias=False)
        found |= batch_norm(f"{key}.bn_l", f"{path}/norm")
    found |= _from_local(f"model.{1 + levels}", f"down_{levels}")
    for i in range(blocks):
        for j in (0, 1):
            key, path = f"model.{2 + levels + i}.conv{1 + j}", f"block_{i}_{j}"
            g2l, g2g = f"{key}.ffc.convg2l", f"{key}.ffc.convg2g."
            found |= _from_local(key, path)
            found |= layer(g2l, f"{path}/global_to_local", conv, bias=False)
            found |= spectral_transform_mapping(g2g, f"{path}/spectral/")
    first_up = 3 + levels + blocks
    for i in range(levels):
        key, path = first_up + 3 * i, f"up_{levels - 1 - i}"
        found |= layer(f"model.{key}", f"{path}/conv", transposed_conv)
        found |= batch_norm(f"model.{key + 1}", f"{path}/norm")
    return found | layer(f"model.{first_up + 3 * levels + 1}", "head", conv)


def fields_from(state: State) -> dict[str, Any]:
    """The fields that the shapes reveal: all of them.

    The largest width shows only where it limits another; else it is the usual 1024.

    Raises:
      InputError: if the stem or the convolution that splits features is missing.
    """
    numbers = range(len(state))
    splits = [i for i in numbers if f"model.{i}.ffc.convl2g.weight" in state]
    split = splits[0] if splits else "*"
    keys = (
        "model.1.ffc.convl2l.weight",
        f"model.{split}.ffc.convl2l.weight",
        f"model.{split}.ffc.convl2g.weight",
    )
    require(state, "a LaMa generator", *keys)
    width, local_width, global_width = (state[key].shape[0] for key in keys)
    levels, widest = splits[0] - 1, local_width + global_width
    return {
        "width": width,
        "blocks": sum(f"model.{i}.conv1.bn_l.weight" in state for i in numbers),
        "downsamplings": levels,
        "global_ratio": global_width / widest,
        "largest_width": widest if widest < width * 2**levels else max(1024, widest),
    }


def _from_local(key: str, path: str) -> Mapping:
    """Of a Fourier convolution, what it makes of local features, and its norms."""
    return {
        **layer(f"{key}.ffc.convl2l", f"{path}/local_to_local", conv, bias=False),
        **layer(f"{key}.ffc.convl2g", f"{path}/local_to_global", conv, bias=False),
        **batch_norm(f"{key}.bn_l", f"{path}/norm_local"),
        **batch_norm(f"{key}.bn_g", f"{path}/norm_global"),
    }
