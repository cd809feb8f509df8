"""What a run carries from step to step, and the weights that it starts from.

A run starts from random weights or from `config.train.start_from`, to learn something
more: a user's own album, or texture after fidelity. These weights decide the state of
step 0 and nothing else; a run that goes on does so from its own checkpoints.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict

from dear_jax.data.settings import sides
from dear_jax.errors import InputError
from dear_jax.inference.loading import find
from dear_jax.models.registry import init_variables
from dear_jax.training.objectives import make_objective
from dear_jax.training.optimizer import make_optimizer
from dear_jax.typing import Config
from dear_jax.weights import digest_of

# Kernels of the photo, and into how many groups its channels are folded there. The
# channel of `level_input` is the last of each.
_PHOTO_KERNELS = {"params/encoder/stem/kernel": 1, "params/predictor/stem/kernel": 16}


@flax.struct.dataclass
class DiscriminatorState:
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
      discriminator: a `DiscriminatorState`, or None.
    """

    step: Any
    params: Any
    stats: Any
    opt_state: Any
    ema: Any
    discriminator: Any


def create_state(
    model: nn.Module,
    tx: optax.GradientTransformation,
    config: Config,
    variables: Any = None,
) -> TrainState:
    """Initialises the state from `config.seed`.

    Args:
      model: to be trained.
      tx: its optimizer.
      config: of the run.
      variables: what the model starts from, see `read_start`; None: random ones.

    Raises:
      InputError: if the photos are too small for the objective.
    """
    if variables is None:
        variables = init_variables(model, config.seed)
    variables = dict(variables)
    # A copy of its own: both are donated to the step.
    ema = jax.tree.map(jnp.copy, variables)
    params = variables.pop("params")
    discriminator, objective = None, make_objective(config.objective)
    if objective.has_discriminator:
        key = jax.random.fold_in(jax.random.key(config.seed), 1)
        least = min(sides(config.data))
        side = objective.output_side(least, config.data.scale[0])
        d_params, d_state = objective.init(key, (side, side))
        d_tx = make_optimizer(config.discriminator, config.train.steps)
        discriminator = DiscriminatorState(d_params, d_state, d_tx.init(d_params))
    step = jnp.zeros((), jnp.int32)
    return TrainState(step, params, variables, tx.init(params), ema, discriminator)


class Start(NamedTuple):
    """The weights that a run starts from.

    Attributes:
      variables: of the model, {"params": ...} and others, NumPy arrays.
      facts: name, hash, terms and data of the weights; for the run's provenance.
      lines: which layers did not fit, for the log; none if all did.
    """

    variables: dict[str, Any]
    facts: dict[str, Any]
    lines: list[str]


def read_start(config: Config, model: nn.Module) -> Start | None:
    """Reads the weights that a run starts from; None for random ones.

    Args:
      config: of the run; `train.start_from` is the name of a bundled model, a weights
        file or the folder of a run.
      model: its model.

    Raises:
      InputError: if there are no such weights, they are of another architecture, or
        no layer fits.
    """
    name = config.train.get("start_from", "")
    if not name:
        return None
    field = f"config.train.start_from={name!r}"
    try:
        weights = find(name).weights
        mine, theirs = config.model.architecture, weights.model.get("architecture")
        if mine != theirs:
            raise InputError(
                f"weights of {theirs}, but config.model.architecture={mine!r}; give "
                "weights of that architecture"
            )
        fresh = jax.device_get(init_variables(model, config.seed))
        variables, lines = fitted(weights.variables, fresh)
    except InputError as error:
        raise InputError(f"{field}: {error}") from None
    facts = {"name": name, "hash": digest_of(weights.model, weights.variables)}
    made = weights.provenance
    facts |= {k: made[k] for k in ("terms", "data", "started_from") if made.get(k)}
    return Start(variables, facts, [f"{field}: {line}" for line in lines])


def fitted(
    variables: dict[str, Any], fresh: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Variables of one model as far as they fit another, which has `fresh` ones.

    Layers that the first lacks, or has in another shape, keep the fresh ones; layers
    that the second lacks are left out. Where the second has `level_input` and the
    first has not, the kernels of the photo get zeros for it, so that it starts
    without effect.

    Returns:
      The variables, all of the shapes of `fresh`, and what did not fit, a line for
      each kind.

    Raises:
      InputError: if not a single layer fits.
    """
    found: dict[str, Any] = flatten_dict(variables, sep="/")
    result: dict[str, Any] = flatten_dict(fresh, sep="/")
    missing, unlike = sorted(result.keys() - found.keys()), []
    for key in result.keys() & found.keys():
        value, shape = np.asarray(found[key]), result[key].shape
        if value.shape != shape:
            value = _widened(value, _PHOTO_KERNELS.get(key, 0))
        if value.shape == shape:
            result[key] = value
        else:
            unlike.append(f"{key} {np.shape(found[key])} for {shape}")
    if len(missing) + len(unlike) == len(result):
        raise InputError("none of its layers fits the model; check config.model")
    kinds = {
        "start anew, of another shape": sorted(unlike),
        "start anew, not in the weights": missing,
        "left out, not in the model": sorted(found.keys() - result.keys()),
    }
    lines = [f"{kind}: {', '.join(keys)}" for kind, keys in kinds.items() if keys]
    return unflatten_dict(result, sep="/"), lines


def _widened(kernel: np.ndarray, groups: int) -> np.ndarray:
    """A kernel [..., groups C, out] as [..., groups (C + 1), out], with zeros."""
    if not groups or kernel.ndim < 2 or kernel.shape[-2] % groups:
        return kernel
    *outer, inner, out = kernel.shape
    parts = kernel.reshape(*outer, groups, inner // groups, out)
    widths = [(0, 0)] * (parts.ndim - 2) + [(0, 1), (0, 0)]
    return np.pad(parts, widths).reshape(*outer, inner + groups, out)
