"""Which configurations can be trained: values alone, with the model, on the devices."""

import flax.linen as nn
import jax

from dear_jax.data.settings import sides
from dear_jax.data.sides import batch_sizes
from dear_jax.errors import InputError
from dear_jax.models.registry import role_of
from dear_jax.training.objectives import make_objective
from dear_jax.typing import Config

DTYPES = ("float32", "bfloat16")


def check_config(config: Config) -> None:
    """Raises InputError for a value that cannot be used, by its name."""
    least = {
        "train.steps": 1,
        "train.batch_size": 1,
        "train.accumulate": 1,
        "log.every": 1,
        "checkpoint.every": 1,
        "evaluate.every": 0,
        "optimizer.warmup": 0,
        "optimizer.clip_norm": 0,
    }
    for key, bound in least.items():
        part, name = key.split(".")
        if not config[part][name] >= bound:
            raise InputError(
                f"config.{key}={config[part][name]}: must be at least {bound}"
            )
    if any(step < 1 for step in config.optimizer.halve_at):
        raise InputError(
            f"config.optimizer.halve_at={config.optimizer.halve_at}: steps begin at 1"
        )
    rate, decay = config.optimizer.learning_rate, config.train.ema_decay
    if not rate > 0:
        raise InputError(f"config.optimizer.learning_rate={rate}: must be more than 0")
    if not 0 <= decay < 1:
        raise InputError(f"config.train.ema_decay={decay}: must lie in [0, 1)")
    if config.train.dtype not in DTYPES:
        raise InputError(
            f"config.train.dtype={config.train.dtype!r}: choose from "
            f"{', '.join(map(repr, DTYPES))}"
        )
    if config.train.accumulate > 1 and "discriminator" in config:
        raise InputError(
            f"config.train.accumulate={config.train.accumulate}: a run with a "
            "discriminator takes its batch at once; set 1"
        )


def check_fit(config: Config, model: nn.Module) -> None:
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
    elif role == "detector" and not data.get("damage", {}).get("share", 0):
        raise InputError(
            f"config.data.damage.share=0: {name} learns from damage; give e.g. 0.7"
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


def check_split(config: Config, mesh: jax.sharding.Mesh) -> None:
    """Raises InputError if the batches of one of several sides cannot be split."""
    parts = mesh.size * config.train.accumulate
    for side, size in batch_sizes(config.data, config.train.batch_size).items():
        if size % parts:
            raise InputError(
                f"config.data.side: photos in a batch of side {side}: {size}, not to "
                f"be split into {parts} parts; set a larger "
                "config.train.batch_size"
            )
