"""What a model is trained for, chosen by `config.objective.name`.

query   L1 of colours asked for at random places: DEAR (Eq. 10), LIIF, LTE
pairs   L1 of whole enlarged photos: EDSR, ELAN
texture  LPIPS and a discriminator, on whole photos, after "query"; see
        `dear_jax.training.texture`
misf, lama   with a discriminator, see `dear_jax.training.adversarial`
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from dear_jax.data.settings import sides
from dear_jax.errors import InputError
from dear_jax.models.registry import role_of
from dear_jax.training.adversarial import LaMaObjective, MISFObjective
from dear_jax.training.texture import TextureObjective

Batch = Mapping[str, jax.Array]
# loss, (parts of it, the model's other variables after a training pass).
Loss = tuple[jax.Array, tuple[dict[str, jax.Array], dict[str, Any]]]


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
        query_loss = jnp.mean(jnp.abs(colours - (2 * batch["colours"] - 1)))
        loss, parts = query_loss, {"query_l1": query_loss}
        rebuilt = getattr(features, "reconstruction", None)
        if rebuilt is not None:
            rebuilt = jnp.mean(jnp.abs(rebuilt - batch["clean"]))
            loss += self.reconstruction * rebuilt
            parts["reconstruction_l1"] = rebuilt
        return loss, (parts, {})


@dataclasses.dataclass(frozen=True)
class PairsObjective:
    """L1 between enlarged photos and the truth, in the model's own units."""

    role: ClassVar[str] = "upscaler"
    has_discriminator: ClassVar[bool] = False

    def loss(self, model: nn.Module, variables: dict, batch: Batch) -> Loss:
        """The loss of a batch of pairs; masks are not looked at."""
        low, high = model.value_range
        stats = [collection for collection in variables if collection != "params"]
        image, target = (low + (high - low) * batch[k] for k in ("image", "target"))
        output, stats = model.apply(variables, image, train=True, mutable=stats)
        loss = jnp.mean(jnp.abs(output - target))
        return loss, ({"l1": loss}, stats)


OBJECTIVES = {
    "query": QueryObjective,
    "pairs": PairsObjective,
    "misf": MISFObjective,
    "lama": LaMaObjective,
    "texture": TextureObjective,
}


def make_objective(fields: ml_collections.ConfigDict | Mapping[str, Any]) -> Any:
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


def check_fit(config: ml_collections.ConfigDict, model: nn.Module) -> None:
    """Raises InputError unless objective, model and data go together."""
    objective, role = make_objective(config.objective), role_of(config.model)
    if objective.role != role:
        raise InputError(
            f"config.objective.name={config.objective.name!r} trains models of the "
            f"role {objective.role}, but {config.model.architecture} is a {role}"
        )
    data, name = config.data, config.model.architecture
    if objective.has_discriminator and "discriminator" not in config:
        raise InputError(
            f"config.objective.name={config.objective.name!r}: needs "
            "config.discriminator, an optimizer; see configs/dear_lite_texture.py"
        )
    if config.objective.name == "texture":
        if data.queries:
            raise InputError(
                f"config.data.queries={data.queries}: texture is learned from whole "
                "photos; set 0, and one scale twice"
            )
    elif role == "query" and not data.queries:
        raise InputError(f"config.data.queries=0: {name} learns from some, e.g. 2304")
    if role == "upscaler" and (data.queries or set(data.scale) != {model.scale}):
        raise InputError(
            f"config.data.scale={tuple(data.scale)}, queries={data.queries}: {name} of "
            f"scale {model.scale} learns from whole pairs, {(float(model.scale),) * 2} "
            "and 0; name the scale after the system, as in :edsr,scale=3"
        )
    if role == "inpainter" and any(side % model.multiple for side in sides(data)):
        raise InputError(
            f"config.data.side={data.side}: {name} takes multiples of {model.multiple}"
        )
