"""Every model by name: its module, its role, its fields.

A model is described by its fields, e.g. {"architecture": "liif", "width": 64, ...};
weights files and configurations carry them. Variants are names for the fields of
released models. There are five roles, each with one interface:

  query      encode(image, mask), then decode(features, coordinates, cell): any scale
  upscaler   module(image), `scale` times as large, in its `value_range`
  inpainter  module(image, mask), same size; sides are multiples of its `multiple`
  features   module(image, image): a distance, restores nothing
  detector   module(image): logits of damage, restores nothing
"""

import dataclasses
import importlib
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.errors import InputError
from dear_jax.typing import Config

# Architecture and field -> the texts it can be.
_CHOICES = {
    ("dear", "network"): ("paper", "lite"),
    ("dear", "norm"): ("none", "instance"),
    ("dear", "high_pass"): ("impulse", "ones"),
    ("dear", "attention_keys"): ("all", "known"),
    ("dear", "decoder_blend"): ("colours", "hidden"),
    ("dear", "residual"): ("none", "bilinear", "fill"),
    ("lte", "layout"): ("interleaved", "halves"),
    ("lpips", "network"): ("alexnet", "vgg16"),
}
_MAY_BE_ZERO = (
    "blocks",
    "depths",
    "detail_groups",
    "attention_chunk",
    "pixel_scale",
    "shared",
)


def check_field(architecture: str, field: str, value: Any, example: Any) -> None:
    """Checks the value of one field.

    Args:
      architecture: the model's, see `dear_jax.models.registry`.
      field: its name.
      value: its value; a list will do for a tuple, a whole number for a float.
      example: the field's default, of the type that it should have.

    Raises:
      InputError: if the field cannot have this value, saying what to give.
    """
    complaint = _unlike(value, example) or _unfit(architecture, field, value, example)
    if complaint:
        raise InputError(f"model field {field} = {value!r}; {complaint}")


def _unfit(architecture: str, field: str, value: Any, example: Any) -> str:
    """What is wrong with a value of the right type; "" if nothing is."""
    choices = _CHOICES.get((architecture, field), (value,))
    numbers = value if isinstance(example, tuple) else (value,)
    least = 0 if field in _MAY_BE_ZERO else 1
    if value not in choices:
        return f"choose from {', '.join(map(repr, choices))}"
    if type(example) in (int, tuple) and min(numbers, default=least) < least:
        return "too small"
    if field in ("detail_kernel", "importance_kernel") and value % 2 == 0:
        return "must be odd"
    return ""


def _unlike(value: Any, example: Any) -> str:
    """What to give instead of a value of another type than `example`; "" if alike."""
    if isinstance(example, tuple):
        several = isinstance(value, tuple | list) and (value or not example)
        fine = several and all(_is_whole(number) for number in value)
        return "" if fine else "give several whole numbers"
    if isinstance(example, bool):
        return "" if isinstance(value, bool) else "give true or false"
    if isinstance(example, int):
        return "" if _is_whole(value) else "give a whole number"
    if isinstance(example, float):
        number = isinstance(value, float) or _is_whole(value)
        return "" if number and abs(value) < math.inf else "give a finite number"
    return "" if isinstance(value, str) else "give a text"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# Roles of models that restore photos.
RESTORING = ("query", "upscaler", "inpainter")

# Architecture -> its module; what it does is the module's ROLE.
ARCHITECTURES = {
    "dear": "dear_jax.models.dear.dear:DEAR",
    "liif": "dear_jax.models.liif:LIIF",
    "lte": "dear_jax.models.lte:LTE",
    "edsr": "dear_jax.models.edsr:EDSR",
    "elan": "dear_jax.models.elan:ELAN",
    "misf": "dear_jax.models.misf:MISF",
    "lama": "dear_jax.models.lama:LaMa",
    # A measure, whose VGG16 the inpainters' training uses.
    "lpips": "dear_jax.models.lpips:LPIPS",
    "detector": "dear_jax.models.detector.detector:Detector",
}

# Variant -> architecture and what differs from the module's defaults. The first
# variant of an architecture is meant where only the architecture is named.
VARIANTS: dict[str, dict[str, Any]] = {
    # The paper's widths (Sec. 4.5): 22 M parameters.
    "dear": {"architecture": "dear"},
    # The paper's ablation (Table 5), which adds part by part.
    "dear-base": {
        "architecture": "dear",
        "detail": False,
        "attention": False,
        "importance": False,
    },
    "dear-detail": {"architecture": "dear", "attention": False, "importance": False},
    "dear-attention": {"architecture": "dear", "importance": False},
    # Made for CPUs and notebooks: 2.2 M parameters, beyond the paper where the
    # README's table of choices says so.
    "dear-lite": {
        "architecture": "dear",
        "network": "lite",
        "detail_groups": 16,
        "attention_keys": "known",
        "attention_pool": 4,
        "decoder_width": 64,
        "decoder_layers": 3,
        "cell_decode": True,
        "residual": "fill",
    },
    "liif": {"architecture": "liif"},
    "lte": {"architecture": "lte"},
    "lte-fast": {"architecture": "lte", "layout": "halves"},
    "edsr-baseline": {"architecture": "edsr"},
    "edsr-full": {
        "architecture": "edsr",
        "width": 256,
        "blocks": 32,
        "residual_scale": 0.1,
    },
    "elan-light": {"architecture": "elan"},
    "elan-full": {"architecture": "elan", "channels": 180, "blocks": 36, "shared": 0},
    "misf": {"architecture": "misf"},
    "lama-fourier": {"architecture": "lama"},
    "big-lama": {"architecture": "lama", "blocks": 18},
    "lpips-alexnet": {"architecture": "lpips"},
    "lpips-vgg16": {"architecture": "lpips", "network": "vgg16"},
    "damage-detector": {"architecture": "detector"},
}

# What tells the variants of an architecture apart, whatever their widths.
_TELLING = {
    "dear": ("network", "detail", "attention", "importance"),
    "lte": ("layout",),
    "edsr": ("residual_scale",),
    "elan": ("shared",),
    "lama": ("blocks",),
    "lpips": ("network",),
}


def is_model(name: str) -> bool:
    """Whether it is the name of a variant or an architecture."""
    return name in VARIANTS or name in ARCHITECTURES


def is_a(fields: Mapping[str, Any], name: str) -> bool:
    """Whether a model is of this architecture, or of this variant of one.

    Widths do not matter, only what tells the variants apart.
    """
    wanted = fields_of(name)
    if fields.get("architecture") != wanted["architecture"]:
        return False
    telling = _TELLING.get(wanted["architecture"], ()) if name in VARIANTS else ()
    return all(fields.get(field) == wanted[field] for field in telling)


def variant_of(name: str) -> str:
    """The variant that a name means: itself, or an architecture's first.

    Raises:
      InputError: for an unknown name, naming those that exist.
    """
    if name in VARIANTS:
        return name
    for variant, fields in VARIANTS.items():
        if fields["architecture"] == name:
            return variant
    raise InputError(f"model {name!r} is unknown; known: {', '.join(VARIANTS)}")


def fields_of(name: str) -> dict[str, Any]:
    """Every field of a variant, those it leaves at their default included.

    Raises:
      InputError: for an unknown name, naming those that exist.
    """
    changes = VARIANTS[variant_of(name)]
    return {**_defaults(changes["architecture"]), **changes}


def completed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A model's fields, those it leaves at their default included."""
    return {**_defaults(_architecture(fields)), **fields}


def role_of(fields: Config | Mapping[str, Any]) -> str:
    """ "query", "upscaler", "inpainter" or "features"."""
    return _module(_architecture(fields)).ROLE


def build(fields: Mapping[str, Any]) -> Any:
    """Builds a model from its fields, e.g. `build(fields_of("dear"))`.

    Raises:
      InputError: for an unknown field or a value it cannot have, naming those it can.
    """
    architecture = _architecture(fields)
    known = _defaults(architecture)
    for field, value in fields.items():
        if field not in known:
            raise InputError(
                f"model field {field!r} is unknown; {architecture} has: "
                f"{', '.join(sorted(known))}"
            )
        check_field(architecture, field, value, known[field])
    # Lists come back from JSON where tuples went in.
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    del values["architecture"]
    module = _module(architecture)(**values)
    getattr(module, "check", lambda: None)()
    return module


def init_variables(model: nn.Module, seed: int) -> dict[str, Any]:
    """Initialises {"params": ...} and, where there is batch normalisation,
    "batch_stats"; they do not depend on the size of the photo."""
    image, mask = jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 16, 16, 1))
    queries = jnp.zeros((1, 1, 2))
    inputs = {
        "query": (image, mask, queries, queries),
        "inpainter": (image, mask),
        # AlexNet takes no smaller ones.
        "features": (jnp.zeros((1, 31, 31, 3)),) * 2,
    }
    # Compiled as a whole, what initialisation does not need is not computed.
    return jax.jit(model.init)(jax.random.key(seed), *inputs.get(model.ROLE, (image,)))


def init_shapes(model: nn.Module) -> dict[str, Any]:
    """Shapes and dtypes of the variables, computing none."""
    return jax.eval_shape(lambda: init_variables(model, 0))


def _architecture(fields: Config | Mapping[str, Any]) -> str:
    name = fields.get("architecture")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise InputError(
            f"model field architecture = {name!r}; choose from "
            f"{', '.join(ARCHITECTURES)}"
        )
    return name


def _module(architecture: str) -> Any:
    path, name = ARCHITECTURES[architecture].split(":")
    return getattr(importlib.import_module(path), name)


def _defaults(architecture: str) -> dict[str, Any]:
    fields = {
        field.name: field.default
        for field in dataclasses.fields(_module(architecture))
        if field.name not in ("parent", "name")
    }
    return {"architecture": architecture, **fields}
