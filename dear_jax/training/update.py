"""What a step does to the parameters: gradient, perhaps in parts, and optimizer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from dear_jax.models.layers import cast
from dear_jax.training.state import Opponent, TrainState

Batch = dict[str, jax.Array]


class Compute(NamedTuple):
    """How a step computes, see `config.train`."""

    dtype: str
    accumulate: int


def plain_update(
    model: nn.Module, tx, objective, compute: Compute, mesh: jax.sharding.Mesh
):
    """Follows the gradient of one loss."""

    def loss_of(params, stats, batch: Batch):
        variables = {"params": cast(params, compute.dtype), **stats}
        return objective.loss(model, variables, batch)

    gradient_of = jax.value_and_grad(loss_of, has_aux=True)
    if compute.accumulate > 1:
        gradient_of = accumulated_gradient(gradient_of, compute.accumulate, mesh)

    def update(state: TrainState, frozen: Any, batch: Batch):
        (loss, (parts, stats)), gradient = gradient_of(state.params, state.stats, batch)
        params, opt_state = _follow(tx, gradient, state.opt_state, state.params)
        metrics = {"loss": loss, **parts, "gradient_norm": optax.tree.norm(gradient)}
        return state.replace(params=params, stats=stats, opt_state=opt_state), metrics

    return update


def accumulated_gradient(gradient_of: Callable, count: int, mesh: jax.sharding.Mesh):
    """Losses and gradients as means over `count` parts of the batch, one at a time.

    Batch normalisation sees one part at a time, too.
    """
    split = NamedSharding(mesh, PartitionSpec(None, "data"))

    def in_parts(x: jax.Array) -> jax.Array:
        # Each device goes through its own photos: [B, ...] -> [count, B / count, ...].
        parts = x.reshape(mesh.size, count, -1, *x.shape[1:]).swapaxes(0, 1)
        parts = parts.reshape(count, -1, *x.shape[1:])
        return jax.lax.with_sharding_constraint(parts, split)

    def accumulated(params, stats, batch: Batch):
        batch = jax.tree.map(in_parts, batch)
        first = jax.tree.map(lambda x: x[0], batch)
        (loss, (parts, _)), gradient = jax.eval_shape(gradient_of, params, stats, first)
        total = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (loss, parts, gradient)
        )

        def add(carry, part: Batch):
            total, stats = carry
            (loss, (parts, stats)), gradient = gradient_of(params, stats, part)
            return (jax.tree.map(jnp.add, total, (loss, parts, gradient)), stats), None

        (total, stats), _ = jax.lax.scan(add, (total, stats), batch)
        loss, parts, gradient = jax.tree.map(lambda t: t / count, total)
        return (loss, (parts, stats)), gradient

    return accumulated


def adversarial_update(model: nn.Module, tx, their_tx, objective, compute: Compute):
    """Generator, then discriminator; see `dear_jax.training.adversarial`.

    Only the generator computes in `compute.dtype`.
    """

    def generate(params, stats, batch: Batch):
        variables = {"params": cast(params, compute.dtype), **stats}
        return objective.generate(model, variables, batch)

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
            "discriminator_gradient_norm": optax.tree.norm(their_gradient),
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
