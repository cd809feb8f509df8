"""Where each tensor of a PyTorch state_dict goes, and a check that all went somewhere.

Layouts: a convolution is OIHW there and HWIO here, a dense layer (out, in) there
and (in, out) here; a transposed convolution is (in, out, H, W) there.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dear_jax.errors import InputError

State = Mapping[str, np.ndarray]


class Target(NamedTuple):
    """One of our tensors and how to make it.

    Attributes:
      path: such as "params/encoder/head/kernel".
      layout: official array -> our array.
    """

    path: str
    layout: Callable[[np.ndarray], np.ndarray]


def same(array: np.ndarray) -> np.ndarray:
    """Vectors: biases, scales, statistics."""
    return array


def conv(array: np.ndarray) -> np.ndarray:
    """Convolution kernel: [O, I, H, W] -> [H, W, I, O]."""
    return array.transpose(2, 3, 1, 0)


def dense(array: np.ndarray) -> np.ndarray:
    """Dense kernel: [O, I] -> [I, O]."""
    return array.transpose(1, 0)


def pointwise(array: np.ndarray) -> np.ndarray:
    """Kernel of a 1x1 convolution: [O, I, 1, 1] -> [I, O]."""
    return dense(array[:, :, 0, 0])


def transposed_conv(array: np.ndarray) -> np.ndarray:
    """Kernel [I, O, H, W] -> [H, W, I, O] of the plain convolution over the
    zero-interleaved input that a transposed convolution is."""
    return array.transpose(2, 3, 0, 1)[::-1, ::-1]


def layer(key: str, path: str, layout: Callable, bias: bool = True) -> dict:
    """Rules for `key`.weight, and .bias: to params/`path`/kernel and bias."""
    rules = {f"{key}.weight": (Target(f"params/{path}/kernel", layout),)}
    if bias:
        rules[f"{key}.bias"] = (Target(f"params/{path}/bias", same),)
    return rules


def batch_norm(key: str, path: str) -> dict:
    """Rules for the four arrays of a batch normalisation."""
    return {
        f"{key}.weight": (Target(f"params/{path}/scale", same),),
        f"{key}.bias": (Target(f"params/{path}/bias", same),),
        f"{key}.running_mean": (Target(f"batch_stats/{path}/mean", same),),
        f"{key}.running_var": (Target(f"batch_stats/{path}/var", same),),
    }


def convert(
    state: State,
    mapping: Mapping[str, tuple[Target, ...]],
    unused: Mapping[str, str],
    constants: Mapping[str, np.ndarray],
    shapes: Any,
) -> dict[str, Any]:
    """Turns a state_dict into variables, using every tensor exactly once.

    Args:
      state: official key -> array.
      mapping, unused, constants: see the file of each family beside this one.
      shapes: tree of the variables' shapes, see `registry.init_shapes`.

    Returns:
      Variables {"params": ..., "batch_stats": ...} as float32 arrays.

    Raises:
      InputError: if keys are missing or left over, or shapes or constants differ;
        it lists them.
    """
    known = {*mapping, *unused, *constants}
    complaints = [f"missing {key}" for key in sorted(mapping.keys() - state.keys())]
    complaints += [f"unknown {key}" for key in sorted(state.keys() - known)]
    complaints += [
        f"{key} differs from the values built into the model"
        for key, value in constants.items()
        if key in state and not _equal(state[key], value)
    ]
    if complaints:
        raise InputError(f"this is another architecture: {_listed(complaints)}")
    made: dict[str, np.ndarray] = {}
    for key, targets in mapping.items():
        for path, layout in targets:
            if path in made:
                raise ValueError(f"two tensors for {path}")
            made[path] = np.ascontiguousarray(layout(state[key]), np.float32)
    expected = {k: v.shape for k, v in flatten_dict(shapes, sep="/").items()}
    complaints = [
        f"{path} is {made[path].shape if path in made else 'missing'}, "
        f"should be {expected.get(path, 'absent')}"
        for path in sorted(made.keys() | expected.keys())
        if path not in made or made[path].shape != expected.get(path)
    ]
    if complaints:
        raise InputError(f"the shapes do not fit the model: {_listed(complaints)}")
    return unflatten_dict(made, sep="/")


def _equal(array: np.ndarray, value: np.ndarray) -> bool:
    return array.shape == value.shape and np.allclose(array, value, rtol=1e-5)


def _listed(complaints: list[str], most: int = 12) -> str:
    more = len(complaints) - most
    rest = f"; and {more} more" if more > 0 else ""
    return "; ".join(complaints[:most]) + rest
