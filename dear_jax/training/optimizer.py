"""Adam with a learning-rate schedule and gradient clipping (Sec. 5.1, 4.5)."""

import ml_collections
import optax

from dear_jax.errors import InputError


def learning_rate(optimizer: ml_collections.ConfigDict, steps: int) -> optax.Schedule:
    """Builds the schedule: learning rate by step.

    Args:
      optimizer: `learning_rate` (peak), `schedule`, `halve_at` and `warmup` in steps.
        "halving" halves the rate at each of the steps `halve_at` (the paper: every
        100 epochs); "cosine" falls to a hundredth at the last step; "constant".
      steps: length of the run.

    Raises:
      InputError: for an unknown schedule.
    """
    peak = optimizer.learning_rate
    if optimizer.schedule == "halving":
        halvings = {step: 0.5 for step in optimizer.halve_at}
        main = optax.piecewise_constant_schedule(peak, halvings)
    elif optimizer.schedule == "constant":
        main = optax.constant_schedule(peak)
    elif optimizer.schedule == "cosine":
        main = optax.cosine_decay_schedule(
            peak, max(steps - optimizer.warmup, 1), alpha=0.01
        )
    else:
        raise InputError(
            f"config.optimizer.schedule={optimizer.schedule!r}: "
            "choose 'halving', 'cosine' or 'constant'"
        )
    if not optimizer.warmup:
        return main
    rise = optax.linear_schedule(0.0, peak, optimizer.warmup)
    return optax.join_schedules([rise, main], [optimizer.warmup])


def make_optimizer(
    optimizer: ml_collections.ConfigDict, steps: int
) -> optax.GradientTransformation:
    """Adam, betas as configured, after clipping the gradient's global norm.

    Choice: the paper does not clip; `clip_norm` = 0 turns it off.
    """
    clip = (
        optax.clip_by_global_norm(optimizer.clip_norm)
        if optimizer.clip_norm
        else optax.identity()
    )
    b1, b2 = optimizer.betas
    return optax.chain(clip, optax.adam(learning_rate(optimizer, steps), b1, b2))
