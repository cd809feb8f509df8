"""What a run begins from: `config.train.start_from`, or random weights if it is "".

A run begins from weights that exist to learn something more: a user's own album, or
texture after fidelity. They decide the state of step 0 and nothing else; a run that
goes on does so from its own checkpoints.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import ml_collections
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dear_jax.errors import InputError
from dear_jax.inference.loading import find
from dear_jax.models.registry import init_variables
from dear_jax.weights import digest_of

# Kernels that see the photo, and into how many groups its channels are folded there.
# The channel of `level_input` is the last of each.
_SEES_PHOTO = {"params/encoder/stem/kernel": 1, "params/predictor/stem/kernel": 16}


class Start(NamedTuple):
    """What a run begins from.

    Attributes:
      variables: of the model, {"params": ...} and others, NumPy arrays.
      facts: name, hash, terms and data of the weights; for the run's provenance.
      lines: which layers did not fit, for the log; none if all did.
    """

    variables: dict[str, Any]
    facts: dict[str, Any]
    lines: list[str]


def read_start(config: ml_collections.ConfigDict, model: nn.Module) -> Start | None:
    """Reads the weights that a run begins from; None for random ones.

    Layers that the weights lack, or have in another shape, start as those of a run
    from random weights do; layers that the model lacks are left out.

    Args:
      config: of the run; `train.start_from` is the name of a bundled model, a weights
        file or the folder of a run.
      model: its model.

    Raises:
      InputError: if there are no such weights, or they are of another architecture.
    """
    name = config.train.get("start_from", "")
    if not name:
        return None
    field = f"config.train.start_from={name!r}"
    try:
        weights = find(name).weights
    except InputError as error:
        raise InputError(f"{field}: {error}") from None
    mine, theirs = config.model.architecture, weights.model.get("architecture")
    if mine != theirs:
        raise InputError(
            f"{field}: weights of {theirs}, but config.model.architecture={mine!r}; "
            "give weights of that architecture"
        )
    fresh = jax.device_get(init_variables(model, config.seed))
    try:
        variables, lines = fitted(weights.variables, fresh)
    except InputError as error:
        raise InputError(f"{field}: {error}") from None
    facts = {"name": name, "hash": digest_of(weights.model, weights.variables)}
    told = weights.provenance
    facts |= {k: told[k] for k in ("terms", "data", "started_from") if told.get(k)}
    return Start(variables, facts, [f"{field}: {line}" for line in lines])


def fitted(
    variables: dict[str, Any], fresh: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Variables of one model as far as they fit another, which has `fresh` ones.

    A layer that sees the photo, of a model which gained the input of how degraded it
    is, gets zeros for that input, so that it begins without effect.

    Returns:
      The variables, all of the shapes of `fresh`, and what did not fit, a line for
      each kind.

    Raises:
      InputError: if not a single layer fits.
    """
    found, result = flatten_dict(variables, sep="/"), flatten_dict(fresh, sep="/")
    missing, unlike = [], []
    for key, value in result.items():
        if key not in found:
            missing.append(key)
            continue
        widened = _widened(np.asarray(found[key]), value.shape, _SEES_PHOTO.get(key))
        if widened is None:
            shapes = f"{np.shape(found[key])} for {value.shape}"
            unlike.append(f"{key} {shapes}")
        else:
            result[key] = widened
    if len(missing) + len(unlike) == len(result):
        raise InputError("none of its layers fits the model; check config.model")
    extra = sorted(found.keys() - result.keys())
    kinds = {
        "start anew, of another shape": unlike,
        "start anew, not in the weights": missing,
        "left out, not in the model": extra,
    }
    lines = [f"{kind}: {', '.join(keys)}" for kind, keys in kinds.items() if keys]
    return unflatten_dict(result, sep="/"), lines


def _widened(
    kernel: np.ndarray, shape: tuple[int, ...], groups: int | None
) -> np.ndarray | None:
    """A kernel in `shape`, with zeros for one more channel; None if it does not fit.

    Args:
      kernel: [..., groups C, out] where there are groups.
      shape: the same, or [..., groups (C + 1), out].
      groups: of inputs, each with the channels of the photo; None: of another layer.
    """
    if kernel.shape == shape:
        return kernel
    if not groups or (*kernel.shape[:-2], kernel.shape[-2] + groups) != shape[:-1]:
        return None
    if kernel.shape[-1] != shape[-1]:
        return None
    parts = kernel.reshape(*kernel.shape[:-2], groups, -1, kernel.shape[-1])
    widths = [(0, 0)] * parts.ndim
    widths[-2] = (0, 1)
    return np.pad(parts, widths).reshape(shape)
