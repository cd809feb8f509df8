"""One training step: loss, gradient, update, moving average.

Data-parallel: the batch is split over the mesh, the state replicated; the
gradient's sum over devices is put in by the compiler.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dear_jax.errors import InputError
from dear_jax.perceptual.pretrained import read_vgg16
from dear_jax.training.objectives import make_objective
from dear_jax.training.optimizer import learning_rate, make_optimizer
from dear_jax.training.state import Opponent, TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


def make_mesh(
    batch_size: int, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
    """One axis, "data", over the devices, all there are by default.

    Raises:
      InputError: if the batch cannot be split evenly.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if batch_size % count:
        raise InputError(
            f"config.train.batch_size={batch_size} cannot be split over {count} "
            f"devices; give a multiple of {count}"
        )
    return jax.make_mesh(
        (count,), ("data",), axis_types=(AxisType.Auto,), devices=devices
    )


def shardings(mesh: jax.sharding.Mesh) -> tuple[NamedSharding, NamedSharding]:
    """(replicated, split along the batch)."""
    return (
        NamedSharding(mesh, PartitionSpec()),
        NamedSharding(mesh, PartitionSpec("data")),
    )


def make_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    config: ml_collections.ConfigDict,
    mesh: jax.sharding.Mesh,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Compiles the step. It donates the state it is given.

    Raises:
      InputError: for an objective that cannot be used, or without the weights of its
        perceptual network.
    """
    replicated, split = shardings(mesh)
    objective = make_objective(config.objective)
    rate = learning_rate(config.optimizer, config.train.steps)
    update, frozen = _plain_update(model, tx, objective), {}
    if objective.has_discriminator:
        their_tx = make_optimizer(config.discriminator, config.train.steps)
        update = _adversarial_update(model, tx, their_tx, objective)
        if objective.needs_vgg16:
            frozen = jax.device_put(read_vgg16(config.objective.vgg16), replicated)

    def step(state: TrainState, frozen: Any, batch: Batch):
        new, metrics = update(state, frozen, batch)
        # Early on the average is short, so that it forgets the initialisation.
        keep = jnp.minimum(config.train.ema_decay, (1 + state.step) / (10 + state.step))
        ema = jax.tree.map(
            lambda e, v: keep * e + (1 - keep) * v,
            state.ema,
            {"params": new.params, **new.stats},
        )
        metrics["learning_rate"] = jnp.asarray(rate(state.step))
        return new.replace(step=state.step + 1, ema=ema), metrics

    compiled = jax.jit(
        step,
        in_shardings=(replicated, replicated, split),
        out_shardings=(replicated, replicated),
        donate_argnums=0,
    )
    return lambda state, batch: compiled(state, frozen, batch)


def _plain_update(model: nn.Module, tx, objective):
    """Follows the gradient of one loss."""

    def update(state: TrainState, frozen: Any, batch: Batch):
        def loss_of(params):
            return objective.loss(model, {"params": params, **state.stats}, batch)

        (loss, (parts, stats)), gradient = jax.value_and_grad(loss_of, has_aux=True)(
            state.params
        )
        params, opt_state = _follow(tx, gradient, state.opt_state, state.params)
        metrics = {"loss": loss, **parts, "gradient_norm": optax.tree.norm(gradient)}
        return state.replace(params=params, stats=stats, opt_state=opt_state), metrics

    return update


def _adversarial_update(model: nn.Module, tx, their_tx, objective):
    """Generator, then discriminator; see `dear_jax.training.adversarial`."""

    def generate(params, stats, batch: Batch):
        return model.apply(
            {"params": params, **stats},
            batch["image"],
            batch["mask"],
            train=True,
            mutable=list(stats),
        )

    def update(state: TrainState, vgg: Any, batch: Batch):
        opponent = state.opponent

        def loss_of(params):
            output, stats = generate(params, state.stats, batch)
            loss, judged = objective.generator_loss(
                opponent.params, opponent.state, vgg, output, batch
            )
            return loss, (output, stats, *judged)

        (loss, (output, stats, theirs, parts)), gradient = jax.value_and_grad(
            loss_of, has_aux=True
        )(state.params)
        params, opt_state = _follow(tx, gradient, state.opt_state, state.params)
        if objective.generates_twice:
            output, stats = generate(params, stats, batch)

        def their_loss_of(their_params):
            return objective.discriminator_loss(their_params, theirs, output, batch)

        (their_loss, (theirs, their_parts)), their_gradient = jax.value_and_grad(
            their_loss_of, has_aux=True
        )(opponent.params)
        their_params, their_opt_state = _follow(
            their_tx, their_gradient, opponent.opt_state, opponent.params
        )
        metrics = {
            "loss": loss,
            **parts,
            "gradient_norm": optax.tree.norm(gradient),
            "discriminator_loss": their_loss,
            **{f"discriminator_{name}": part for name, part in their_parts.items()},
        }
        new = state.replace(
            params=params,
            stats=stats,
            opt_state=opt_state,
            opponent=Opponent(their_params, theirs, their_opt_state),
        )
        return new, metrics

    return update


def _follow(tx, gradient, opt_state, params):
    """(parameters, optimizer state) after one update."""
    updates, opt_state = tx.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def put_batch(batch: dict[str, np.ndarray], mesh: jax.sharding.Mesh) -> Batch:
    """Puts this process's part of a batch on the mesh."""
    _, split = shardings(mesh)
    return {
        key: jax.make_array_from_process_local_data(split, value)
        for key, value in batch.items()
    }
