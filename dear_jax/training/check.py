"""Which numbers a configuration can have."""

import ml_collections

from dear_jax.errors import InputError

DTYPES = ("float32", "bfloat16")


def check_config(config: ml_collections.ConfigDict) -> None:
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
