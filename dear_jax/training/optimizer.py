"""Adam or Muon, with a learning-rate schedule and gradient clipping (Sec. 5.1, 4.5)."""

from typing import Any

import jax
import optax
from optax import contrib

from dear_jax.errors import InputError
from dear_jax.typing import Array, Config


def learning_rate(optimizer: Config, steps: int) -> optax.Schedule:
    """Builds the schedule: learning rate by step.

    Args:
      optimizer: `learning_rate` (peak), `schedule`, and in steps `halve_at`, `warmup`
        and `decay`. "halving" halves the rate at each of the steps `halve_at` (the
        paper: every 100 epochs); "cosine" falls to a hundredth at the last step;
        "constant" falls along a line to zero in the last `decay` steps, so a run can
        be made longer while it has not begun to fall.
      steps: length of the run.

    Raises:
      InputError: for an unknown schedule.
    """
    peak = optimizer.learning_rate
    if optimizer.schedule == "halving":
        halvings = {step: 0.5 for step in optimizer.halve_at}
        main = optax.piecewise_constant_schedule(peak, halvings)
    elif optimizer.schedule == "constant":
        decay = optimizer.decay
        main = optax.join_schedules(
            [optax.constant_schedule(peak), optax.linear_schedule(peak, 0.0, decay)],
            [max(steps - decay - optimizer.warmup, 0)],
        )
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


def make_optimizer(optimizer: Config, steps: int) -> optax.GradientTransformation:
    """The optimizer that `optimizer.name` says, after clipping the gradient's norm.

    "adam", with betas as configured, is the paper's. "muon" (Jordan et al. 2024) makes
    the momentum of every kernel an orthogonal matrix, with steps as large as Adam's
    usually are, so rates compare; what is no matrix follows Adam, with Nesterov's
    momentum.

    Choice: the paper does not clip; `clip_norm` = 0 turns it off.

    Raises:
      InputError: for an unknown name.
    """
    clip = (
        optax.clip_by_global_norm(optimizer.clip_norm)
        if optimizer.clip_norm
        else optax.identity()
    )
    b1, b2 = optimizer.betas
    rate, name = learning_rate(optimizer, steps), optimizer.name
    if name == "adam":
        return optax.chain(clip, optax.adam(rate, b1, b2))
    if name == "muon":
        muon = contrib.muon(
            rate,
            consistent_rms=0.2,
            adam_b1=b1,
            adam_b2=b2,
            muon_weight_dimension_numbers=_matrices,
        )
        return optax.chain(clip, muon)
    raise InputError(f"config.optimizer.name={name!r}: choose 'adam' or 'muon'")


def _matrices(params: Any) -> Any:
    """How kernels are matrices, [everything else, outputs]; None for other leaves.

    Kernels of a few inputs or outputs, such as those of colours, are no matrices.
    """

    def leaf(value: Array) -> contrib.MuonDimensionNumbers | None:
        outputs = value.shape[-1] if value.ndim > 1 else 0
        if outputs < 8 or value.size // outputs < 8:
            return None
        *inputs, output = range(value.ndim)
        return contrib.MuonDimensionNumbers(tuple(inputs), output)

    return jax.tree.map(leaf, params)
