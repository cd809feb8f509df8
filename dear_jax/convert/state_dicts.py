"""Finds the state_dict inside what each of the six repositories saves."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dear_jax.convert.specs import spec_fields
from dear_jax.convert.unpickle import short
from dear_jax.errors import InputError
from dear_jax.models.registry import VARIANTS

# Where it lies: LIIF and LTE; ELAN; LaMa (Lightning); MISF. EDSR's is the file itself.
_PLACES = (("model", "sd"), ("model_state_dict",), ("state_dict",), ("generator",))

# No tensor's name is longer.
_LONGEST = 999

# A tensor that only this family has; the first that is there tells.
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


class Found(NamedTuple):
    """A state_dict.

    Attributes:
      state: official key -> array, as the conversion rules know the keys.
      others: keys that lie beside the model's -> why they are left out.
      fields: what the checkpoint says of the model beside its tensors.
    """

    state: dict[str, np.ndarray]
    others: dict[str, str]
    fields: dict[str, Any]


def state_dict_of(content: Mapping[str, Any], family: str) -> Found:
    """Finds the state_dict of a family in the content of a checkpoint.

    Args:
      content: from `read_checkpoint`.
      family: "edsr", "liif", "lte", "elan", "misf", "lama" or "lpips".

    Raises:
      InputError: if there is none, or it is of another family, naming that.
    """
    fields: dict[str, Any] = {}
    spec = content.get("model")
    if isinstance(spec, dict) and "sd" in spec:
        _, fields = spec_fields(spec)
    state, others = _stripped(_located(content))
    told = next((name for key, name in _TELLING.items() if key in state), None)
    whole_edsr_in_liif = family == "liif" and "encoder.tail.1.weight" in state
    if told is None:
        some = ", ".join(sorted(key[:99] for key in state)[:4]) or "none"
        raise InputError(
            f"no state_dict of a known model inside (its tensors: {some}, ...); "
            "discriminators, optimizers and other networks are not converted"
        )
    if told != family and not whole_edsr_in_liif:
        names = [v for v, fields in VARIANTS.items() if fields["architecture"] == told]
        raise InputError(
            f"these are tensors of {told}, not {family}; name {' or '.join(names)}"
        )
    if family == "edsr" and "encoder.tail.1.weight" in state:
        state = {key.removeprefix("encoder."): value for key, value in state.items()}
    if family != "liif":
        fields = {k: v for k, v in fields.items() if k == "residual_scale"}
    return Found(state, others, fields)


def _located(content: Mapping[str, Any]) -> dict[str, Any]:
    for place in _PLACES:
        found = content
        for key in place:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            return found
    # NumPy pickles of Flax parameters are nested dicts.
    return _flat(content) if _nested(content) else dict(content)


def _nested(content: Mapping[str, Any]) -> bool:
    return all(
        isinstance(key, str) and isinstance(value, dict)
        for key, value in content.items()
    )


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dicts as one, its keys joined by slashes."""
    found: dict[str, Any] = {}
    seen: set[int] = set()
    todo: list[tuple[str, Any]] = list(content.items())
    while todo:
        path, value = todo.pop()
        if not isinstance(value, dict):
            found[path] = value
            continue
        # Each dict once: they could hold one another over and over.
        if id(value) in seen or len(path) > _LONGEST:
            raise InputError(f"dicts within dicts without end at {path[:99]}")
        seen.add(id(value))
        todo += [(f"{path}/{_text(key)}", item) for key, item in value.items()]
    return found


def _text(key: Any) -> str:
    return key if isinstance(key, str) else short(key)


def _stripped(state: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Removes the prefixes of wrappers; tells apart what is not the model's."""
    others = {
        _text(key): "no tensor"
        for key, value in state.items()
        if not isinstance(value, np.ndarray)
    }
    state = {_text(k): v for k, v in state.items() if _text(k) not in others}
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    generator = {
        key.removeprefix("generator."): value
        for key, value in state.items()
        if key.startswith("generator.")
    }
    if generator:
        others |= {
            key: "not the generator's"
            for key in state
            if not key.startswith("generator.")
        }
    return generator or state, others
