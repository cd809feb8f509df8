"""What a model is trained for, chosen by `config.objective.name`.

"query"   L1 of colours at random places: DEAR (Eq. 10), LIIF, LTE
"pairs"   L1 of whole enlarged photos: EDSR, ELAN
"damage"  cross-entropy of each pixel, damaged or not, and Dice: detectors
"texture", "misf", "lama"   see `dear_jax.training.adversarial`

The fields of an objective are those of `config.objective`; what it returns as parts is
logged part by part.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.errors import InputError
from dear_jax.training.adversarial import (
    LaMaObjective,
    MISFObjective,
    TextureObjective,
)
from dear_jax.training.losses import Scalar, l1
from dear_jax.typing import Array, Config

Batch = Mapping[str, Array]
# loss, (parts of it, the model's other variables after a training pass).
Loss = tuple[Scalar, tuple[dict[str, Scalar], Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class QueryObjective:
    """L1 over the queries + weight * L1 of the rebuilt low-resolution photo (Eq. 10).

    The second compares with the photo before any degradation or damage. The first is
    in [-1, 1] units, the second in [0, 1] units, as the model gives them. A model that
    rebuilds no photo has no second term.

    Attributes:
      reconstruction: weight of the second term.
    """

    reconstruction: float = 0.01

    role: ClassVar[str] = "query"
    has_discriminator: ClassVar[bool] = False

    def loss(self, model: nn.Module, variables: dict, batch: Batch) -> Loss:
        """The loss of a batch of photos with queries."""
        names = ("image", "mask", "coordinates", "cell")
        level = batch["level"] if getattr(model, "level_input", False) else None
        colours, features = model.apply(
            variables, *(batch[name] for name in names), level
        )
        query_loss = l1(colours, 2 * batch["colours"] - 1)
        loss, parts = query_loss, {"query_l1": query_loss}
        rebuilt = getattr(features, "reconstruction", None)
        if rebuilt is not None:
            rebuilt = l1(rebuilt, batch["clean"])
            loss += self.reconstruction * rebuilt
            parts["reconstruction_l1"] = rebuilt
        return loss, (parts, {})


@dataclasses.dataclass(frozen=True)
class PairsObjective:
    """L1 between enlarged photos and the truth, in the model's own units."""

    role: ClassVar[str] = "upscaler"
    has_discriminator: ClassVar[bool] = False

    def loss(self, model: nn.Module, variables: dict, batch: Batch) -> Loss:
        """The loss of a batch of pairs; masks are not used."""
        low, high = model.value_range
        stats = [collection for collection in variables if collection != "params"]
        image, target = (low + (high - low) * batch[k] for k in ("image", "target"))
        output, stats = model.apply(variables, image, train=True, mutable=stats)
        loss = l1(output, target)
        return loss, ({"l1": loss}, stats)


@dataclasses.dataclass(frozen=True)
class DamageObjective:
    """Cross-entropy of each pixel, damaged or not, + weight * (1 - Dice).

    Dice's coefficient is that of all photos of a batch together, 2 |A and B| / (|A| +
    |B|) with probabilities: the F1 of pixels. An undamaged photo counts in both terms.
    Damage that does not show, see `Damage.to_find`, counts for neither.

    Attributes:
      damaged: weight of damaged pixels, which are few, in the cross-entropy.
      dice: weight of the second term.
    """

    damaged: float = 2.0
    dice: float = 0.3

    role: ClassVar[str] = "detector"
    has_discriminator: ClassVar[bool] = False

    def loss(self, model: nn.Module, variables: dict, batch: Batch) -> Loss:
        """The loss of a batch of photos; masks are not used."""
        logits: Any = model.apply(variables, batch["image"])
        target = batch["damage"]
        shows = jnp.abs(2 * target - 1)
        weight = shows * (1 + (self.damaged - 1) * target)
        entropy = jnp.mean(weight * (jax.nn.softplus(logits) - target * logits))
        found = shows * jax.nn.sigmoid(logits)
        both = jnp.sum(found * target)
        # One pixel more in each, for batches without damage.
        dice = (2 * both + 1) / (jnp.sum(found) + jnp.sum(shows * target) + 1)
        parts = {"cross_entropy": entropy, "dice": 1 - dice}
        return entropy + self.dice * (1 - dice), (parts, {})


OBJECTIVES = {
    "query": QueryObjective,
    "pairs": PairsObjective,
    "damage": DamageObjective,
    "misf": MISFObjective,
    "lama": LaMaObjective,
    "texture": TextureObjective,
}


def make_objective(fields: Config) -> Any:
    """Makes the objective that `config.objective` describes.

    Raises:
      InputError: for an unknown name or field, naming those there are.
    """
    values = dict(fields)
    name = values.pop("name", None)
    values.pop("vgg16", None)  # A file, which the step reads.
    if name not in OBJECTIVES:
        raise InputError(
            f"config.objective.name={name!r}: choose from {', '.join(OBJECTIVES)}"
        )
    known = [field.name for field in dataclasses.fields(OBJECTIVES[name])]
    for key in values:
        if key not in known:
            raise InputError(
                f"config.objective.{key}: {name} has only {', '.join(known) or 'none'}"
            )
    return OBJECTIVES[name](**values)
