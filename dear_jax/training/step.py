"""One training step: loss, gradient, update, moving average.

Data-parallel: the batch is split over the mesh, the state replicated; the
gradient's sum over devices is put in by the compiler. Parameters, gradients, loss and
optimizer are float32; the model computes in `config.train.dtype`. A step without a
finite loss and gradient changes nothing but the count of steps.
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

from dear_jax.data.settings import side_weights
from dear_jax.data.sides import batch_sizes
from dear_jax.errors import InputError
from dear_jax.evaluation.scores import many
from dear_jax.inference.devices import cpu_options
from dear_jax.multihost import agreed
from dear_jax.training.objectives import make_objective
from dear_jax.training.optimizer import learning_rate, make_optimizer
from dear_jax.training.state import TrainState, create_state
from dear_jax.training.throughput import count_flops
from dear_jax.training.update import Compute, adversarial_update, plain_update

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


def make_mesh(
    batch_size: int, devices: Sequence[jax.Device] | None = None, accumulate: int = 1
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
            f"{many(count, 'device')}{parts if accumulate > 1 else ''}; "
            f"give a multiple of {count * accumulate}"
        )
    return jax.make_mesh(
        (count,), ("data",), axis_types=(AxisType.Auto,), devices=devices
    )


def check_split(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> None:
    """Raises InputError if the batches of one of several sides cannot be split."""
    parts = mesh.size * config.train.accumulate
    for side, size in batch_sizes(config.data, config.train.batch_size).items():
        if size % parts:
            raise InputError(
                f"config.data.side: photos in a batch of side {side}: {size}, not to "
                f"be split into {parts} parts; set a larger "
                "config.train.batch_size"
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
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Compiles the step.

    Returns:
      Function (state, batch, stop=False) -> (state, metrics). It donates the state and
      is compiled once for each shape of batches, which come to all processes alike.
      The metrics are float32 scalars; "skipped" is 1 for a step that changed nothing,
      "stop" is 1 if any process asked for it.

    Raises:
      InputError: for an objective that cannot be used, or without the weights of its
        perceptual network.
    """
    replicated, split = shardings(mesh)
    frozen = jax.device_put(frozen_variables(config), replicated)
    compiled = jax.jit(
        plain_step(model, tx, config, mesh),
        in_shardings=(replicated, replicated, split, split),
        out_shardings=(replicated, replicated),
        donate_argnums=0,
        compiler_options=compiler_options(config, mesh),
    )
    local = mesh.local_mesh.size
    flags = [
        jax.make_array_from_process_local_data(split, np.full(local, asked, np.float32))
        for asked in (False, True)
    ]
    together = {}

    def run(state: TrainState, batch: Batch, stop: bool = False):
        arguments = state, frozen, batch, flags[stop]
        shape = batch["image"].shape
        if shape not in together:
            # Gloo gives processes 30 seconds to come to their first exchange; one that
            # compiles while others read a cache would be late.
            together[shape] = agreed(lambda: compiled.lower(*arguments).compile())
        return together[shape](*arguments)

    return run


def plain_step(
    model: nn.Module,
    tx: optax.GradientTransformation,
    config: ml_collections.ConfigDict,
    mesh: jax.sharding.Mesh,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """The step before it is compiled.

    Returns:
      Function (state, frozen, batch, stop [devices]) -> (state, metrics); `frozen` are
      the variables of a perceptual network, or {}.
    """
    objective = make_objective(config.objective)
    rate = learning_rate(config.optimizer, config.train.steps)
    compute = Compute(config.train.dtype, config.train.accumulate)
    if objective.has_discriminator:
        their_tx = make_optimizer(config.discriminator, config.train.steps)
        update = adversarial_update(model, tx, their_tx, objective, compute)
    else:
        update = plain_update(model, tx, objective, compute, mesh)

    def step(state: TrainState, frozen: Any, batch: Batch, stop: jax.Array):
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
            new.replace(ema=ema),
            state,
        )
        metrics["learning_rate"] = jnp.asarray(rate(state.step))
        metrics["skipped"] = 1 - sound.astype(jnp.float32)
        metrics["stop"] = jnp.max(stop)
        return new.replace(step=state.step + 1), metrics

    return step


def step_flops(
    model: nn.Module, config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> float:
    """Floating-point operations of a step over all devices, see `count_flops`.

    What is computed again, to save memory, does not count. Of several sides it is the
    mean.
    """
    config = config.copy_and_resolve_references()
    config.train.update(dtype="float32", accumulate=1)
    tx = make_optimizer(config.optimizer, config.train.steps)
    state = jax.eval_shape(lambda: create_state(model, tx, config))
    stop = jax.ShapeDtypeStruct((mesh.size,), jnp.float32)
    step, frozen = plain_step(model, tx, config, mesh), frozen_variables(config)
    whole, total = config.train.batch_size, 0.0
    sizes, weights = batch_sizes(config.data, whole), side_weights(config.data)
    for (side, size), weight in zip(sizes.items(), weights, strict=True):
        # One photo: of many, attention would be computed in parts, and those again.
        batch = {
            name: jax.ShapeDtypeStruct((1, *shape), jnp.float32)
            for name, shape in _example_shapes(
                config.data, side, config.data.queries * whole // size
            ).items()
        }
        total += weight * size * count_flops(step, state, frozen, batch, stop)
    return total


def _example_shapes(
    data: ml_collections.ConfigDict, side: int, queries: int
) -> dict[str, tuple[int, ...]]:
    """Of what `MakeExample` makes."""
    photo = (side, side, 3)
    shapes = {"image": photo, "clean": photo, "level": (), "mask": (side, side, 1)}
    if not queries:
        target = round(side * data.scale[1])
        return shapes | {"target": (target, target, 3)}
    sizes = {"coordinates": 2, "cell": 2, "colours": 3}
    return shapes | {name: (queries, size) for name, size in sizes.items()}


def frozen_variables(config: ml_collections.ConfigDict) -> Any:
    """Variables that a step needs and does not change."""
    objective = make_objective(config.objective)
    if objective.has_discriminator:
        return objective.read_perceptual(config.objective.get("vgg16", ""))
    return {}


def compiler_options(
    config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> dict[str, Any]:
    """What the step is compiled with."""
    if config.train.deterministic and mesh.devices.flat[0].platform == "gpu":
        # Else sums that threads race for differ from run to run in the last bits.
        return {"xla_gpu_deterministic_ops": True}
    return cpu_options()


def put_batch(batch: dict[str, np.ndarray], mesh: jax.sharding.Mesh) -> Batch:
    """Puts this process's part of a batch on the mesh."""
    _, split = shardings(mesh)
    return {
        key: jax.make_array_from_process_local_data(split, value)
        for key, value in batch.items()
    }
