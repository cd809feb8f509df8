"""What a training run carries from step to step, and nothing else."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax

from dear_jax.data.settings import sides
from dear_jax.models.registry import init_variables
from dear_jax.training.objectives import make_objective
from dear_jax.training.optimizer import make_optimizer


@flax.struct.dataclass
class Opponent:
    """The discriminator of an adversarial run.

    Attributes:
      params: its parameters.
      state: its other variables, see `dear_jax.training.adversarial`.
      opt_state: of its optimizer.
    """

    params: Any
    state: Any
    opt_state: Any


@flax.struct.dataclass
class TrainState:
    """The state after `step` steps.

    Attributes:
      step: int32 scalar.
      params: parameters of the model.
      stats: its other variables: batch statistics, or {}.
      opt_state: of the optimizer.
      ema: exponential moving average of all its variables; what is evaluated and
        shipped.
      opponent: the discriminator, or None.
    """

    step: jax.Array
    params: Any
    stats: Any
    opt_state: Any
    ema: Any
    opponent: Opponent | None


def create_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    config: ml_collections.ConfigDict,
    variables: Any = None,
) -> TrainState:
    """Initialises the state from `config.seed`.

    Args:
      model: to be trained.
      tx: its optimizer.
      config: of the run.
      variables: what the model begins from, see `dear_jax.training.start`; None:
        random ones.

    Raises:
      InputError: if the photos are too small for the objective.
    """
    if variables is None:
        variables = init_variables(model, config.seed)
    variables = dict(variables)
    # A copy of its own: both are donated to the step.
    ema = jax.tree.map(jnp.copy, variables)
    params = variables.pop("params")
    opponent, objective = None, make_objective(config.objective)
    if objective.has_discriminator:
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        least = min(sides(config.data))
        judged = objective.judged_side(least, config.data.scale[0])
        theirs, state = objective.init(key, (judged, judged))
        their_tx = make_optimizer(config.discriminator, config.train.steps)
        opponent = Opponent(theirs, state, their_tx.init(theirs))
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, variables, tx.init(params), ema, opponent)
