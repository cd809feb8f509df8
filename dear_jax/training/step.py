"""One training step: loss, gradient, update, moving average.

Data-parallel: the batch is split over the mesh, the state replicated; the
gradient's sum over devices is put in by the compiler. Parameters, gradients, loss and
optimizer are float32; the model computes in `config.train.dtype`. A step without a
finite loss and gradient changes nothing but the count of steps.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Float, Shaped

from dear_jax.errors import InputError
from dear_jax.inference.devices import cpu_options
from dear_jax.models.layers import cast
from dear_jax.multihost import agreed
from dear_jax.training.objectives import make_objective
from dear_jax.training.optimizer import learning_rate, make_optimizer
from dear_jax.training.state import DiscriminatorState, TrainState
from dear_jax.typing import Array, Config

Batch = dict[str, Array]
Metrics = dict[str, Float[jax.Array, ""]]
# (state, frozen variables, batch) -> (state, metrics).
Update = Callable[[TrainState, Any, Batch], tuple[TrainState, Metrics]]


def make_mesh(
    batch_size: int, devices: Sequence[Any] | None = None, accumulate: int = 1
) -> jax.sharding.Mesh:
    """One axis, "data", over the devices, by default all of all processes.

    Raises:
      InputError: if the batch cannot be split evenly, on each device into `accumulate`
        parts.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if batch_size % (count * accumulate):
        parts = f", each config.train.accumulate={accumulate} parts"
        raise InputError(
            f"config.train.batch_size={batch_size} cannot be split over "
            f"{count} device{'s' * (count > 1)}{parts if accumulate > 1 else ''}; "
            f"give a multiple of {count * accumulate}"
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


def put_batch(batch: dict[str, np.ndarray], mesh: jax.sharding.Mesh) -> Batch:
    """Puts this process's part of a batch on the mesh."""
    _, split = shardings(mesh)
    return {
        key: jax.make_array_from_process_local_data(split, value)
        for key, value in batch.items()
    }


def make_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    config: Config,
    mesh: jax.sharding.Mesh,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Compiles the step.

    Returns:
      Function (state, batch, stop=False) -> (state, metrics). It donates the state and
      is compiled once for each shape of batches, which come to all processes alike.
      The metrics are float32 scalars; "skipped" is 1 for a step that changed nothing,
      "stop" is 1 if any process requests it.

    Raises:
      InputError: for an objective that cannot be used, or without the weights of its
        perceptual network.
    """
    replicated, split = shardings(mesh)
    frozen = jax.device_put(frozen_variables(config), replicated)
    step = jax.jit(
        plain_step(model, tx, config, mesh),
        in_shardings=(replicated, replicated, split, split),
        out_shardings=(replicated, replicated),
        donate_argnums=0,
        compiler_options=compiler_options(config, mesh),
    )
    local = mesh.local_mesh.size
    flags = [
        jax.make_array_from_process_local_data(split, np.full(local, flag, np.float32))
        for flag in (False, True)
    ]
    compiled = {}

    def run(state: TrainState, batch: Batch, stop: bool = False):
        arguments = state, frozen, batch, flags[stop]
        shape = batch["image"].shape
        if shape not in compiled:
            # Gloo gives processes 30 seconds to come to their first exchange; one that
            # compiles while others read a cache would be late.
            compiled[shape] = agreed(lambda: step.lower(*arguments).compile())
        return compiled[shape](*arguments)

    return run


def plain_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    config: Config,
    mesh: jax.sharding.Mesh,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """The step before it is compiled.

    Returns:
      Function (state, frozen, batch, stop) -> (state, metrics); `frozen` are the
      `frozen_variables`, `stop` has a number for each device.
    """
    rate = learning_rate(config.optimizer, config.train.steps)
    if make_objective(config.objective).has_discriminator:
        update = _adversarial_update(model, tx, config)
    else:
        update = _plain_update(model, tx, config, mesh)

    def step(
        state: TrainState, frozen: Any, batch: Batch, stop: Float[Array, " devices"]
    ) -> tuple[TrainState, Metrics]:
        new, metrics = update(state, frozen, batch)
        # Early on the average is short, so that it forgets the initialisation.
        keep = jnp.minimum(config.train.ema_decay, (1 + state.step) / (10 + state.step))
        ema = jax.tree.map(
            lambda e, v: keep * e + (1 - keep) * v,
            state.ema,
            {"params": new.params, **new.stats},
        )
        sound = jnp.all(jnp.isfinite(jnp.stack(list(metrics.values()))))
        new = jax.tree.map(
            lambda now, before: jnp.where(sound, now, before),
            dataclasses.replace(new, ema=ema),
            state,
        )
        metrics["learning_rate"] = jnp.asarray(rate(state.step))
        metrics["skipped"] = 1 - sound.astype(jnp.float32)
        metrics["stop"] = jnp.max(stop)
        return dataclasses.replace(new, step=state.step + 1), metrics

    return step


def frozen_variables(config: Config) -> Any:
    """Variables that a step needs and does not change: a perceptual network's, or {}.

    Raises:
      InputError: if there is no file of them.
    """
    objective = make_objective(config.objective)
    if objective.has_discriminator:
        return objective.read_perceptual(config.objective.get("vgg16", ""))
    return {}


def compiler_options(config: Config, mesh: jax.sharding.Mesh) -> dict[str, Any]:
    """What the step is compiled with."""
    if config.train.deterministic and mesh.devices.flat[0].platform == "gpu":
        # Else sums that threads race for differ from run to run in the last bits.
        return {"xla_gpu_deterministic_ops": True}
    return cpu_options()


def _plain_update(
    model: nn.Module,
    tx: optax.GradientTransformation,
    config: Config,
    mesh: jax.sharding.Mesh,
) -> Update:
    """Follows the gradient of one loss."""
    objective = make_objective(config.objective)

    def loss_of(params, stats, batch: Batch):
        variables = {"params": cast(params, config.train.dtype), **stats}
        return objective.loss(model, variables, batch)

    gradient_of = jax.value_and_grad(loss_of, has_aux=True)
    if config.train.accumulate > 1:
        gradient_of = _accumulated(gradient_of, config.train.accumulate, mesh)

    def update(
        state: TrainState, frozen: Any, batch: Batch
    ) -> tuple[TrainState, Metrics]:
        (loss, (parts, stats)), gradient = gradient_of(state.params, state.stats, batch)
        params, opt_state = _follow(tx, gradient, state.opt_state, state.params)
        metrics = {"loss": loss, **parts, "gradient_norm": optax.tree.norm(gradient)}
        new = dataclasses.replace(
            state, params=params, stats=stats, opt_state=opt_state
        )
        return new, metrics

    return update


def _accumulated(gradient_of: Callable, count: int, mesh: jax.sharding.Mesh):
    """Losses and gradients as means over `count` parts of the batch, one at a time.

    Batch normalisation sees one part at a time, too.
    """
    split = NamedSharding(mesh, PartitionSpec(None, "data"))

    def in_parts(
        x: Shaped[Array, "B ..."],
    ) -> Shaped[jax.Array, "parts each ..."]:
        # Each device goes through its own photos.
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


def _adversarial_update(
    model: nn.Module, tx: optax.GradientTransformation, config: Config
) -> Update:
    """Generator, then discriminator; see `dear_jax.training.adversarial`.

    Only the generator computes in `config.train.dtype`.
    """
    objective = make_objective(config.objective)
    discriminator_tx = make_optimizer(config.discriminator, config.train.steps)

    def generate(params, stats, batch: Batch):
        variables = {"params": cast(params, config.train.dtype), **stats}
        return objective.generate(model, variables, batch)

    def update(state: TrainState, vgg: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        before = state.discriminator
        assert before is not None

        def generator_loss(params):
            output, stats = generate(params, state.stats, batch)
            loss, after = objective.generator_loss(
                before.params, before.state, vgg, output, batch
            )
            return loss, (output, stats, *after)

        gradient_of = jax.value_and_grad(generator_loss, has_aux=True)
        (loss, (output, stats, d_state, parts)), gradient = gradient_of(state.params)
        params, opt_state = _follow(tx, gradient, state.opt_state, state.params)
        if objective.generates_twice:
            output, stats = generate(params, stats, batch)

        gradient_of = jax.value_and_grad(objective.discriminator_loss, has_aux=True)
        (d_loss, (d_state, d_parts)), d_gradient = gradient_of(
            before.params, d_state, output, batch
        )
        d_params, d_opt_state = _follow(
            discriminator_tx, d_gradient, before.opt_state, before.params
        )
        metrics = {
            "loss": loss,
            **parts,
            "gradient_norm": optax.tree.norm(gradient),
            "discriminator_loss": d_loss,
            "discriminator_gradient_norm": optax.tree.norm(d_gradient),
            **{f"discriminator_{name}": part for name, part in d_parts.items()},
        }
        new = dataclasses.replace(
            state,
            params=params,
            stats=stats,
            opt_state=opt_state,
            discriminator=DiscriminatorState(d_params, d_state, d_opt_state),
        )
        return new, metrics

    return update


def _follow(
    tx: optax.GradientTransformation, gradient: Any, opt_state: Any, params: Any
) -> tuple[Any, Any]:
    """(parameters, optimizer state) after one update."""
    updates, opt_state = tx.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state
