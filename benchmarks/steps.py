"""A training step to be measured: its configuration, its batch, its compiled program.

Sizes come from the recipes in configs/: the paper's on an accelerator, those of
configs/quickstart.py on a CPU; a case then changes what it names.
"""

import itertools
import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from roofline import Costs, costs

from configs import celebahq, quickstart
from dear_jax.models.dear.coordinates import to_coordinates
from dear_jax.models.registry import build
from dear_jax.training import step as training_step
from dear_jax.training.flops import step_flops
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import create_state


class Case(NamedTuple):
    """What a row of the table measures; None leaves the recipe's value.

    Attributes:
      model: a name in `dear_jax.models.registry`.
      dtype: "float32" or "bfloat16".
      batch: photos a step, over all devices.
      side, scale, queries: of the examples; targets are scale x side.
      width: the model's field of that name.
      accumulate, deterministic: see `config.train`.
      steps: steps a dispatch.
    """

    model: str
    dtype: str
    batch: int
    side: int | None = None
    scale: float | None = None
    queries: int | None = None
    width: int | None = None
    accumulate: int = 1
    deterministic: bool = True
    steps: int = 1

    def head(self) -> list[str]:
        """The first cells of its lines."""
        return [self.model, self.dtype, str(self.batch)]

    def label(self) -> str:
        """What is not in the table's other columns."""
        parts = [f"{self.accumulate} parts"] * (self.accumulate > 1)
        parts += ["racing sums"] * (not self.deterministic)
        parts += [f"{self.steps} steps a dispatch"] * (self.steps > 1)
        return ", ".join(parts) or "-"


def configuration(case: Case) -> ml_collections.ConfigDict:
    """The recipe for this machine with the case's changes."""
    small = jax.default_backend() == "cpu"
    config = (quickstart if small else celebahq).get_config(case.model)
    if case.side:
        config.data.side = case.side
    scale = case.scale or config.data.scale[1]
    config.data.scale = (float(scale), float(scale))
    if config.data.queries:
        # A quarter of LIIF's for a quarter of the pixels.
        config.data.queries = case.queries or (576 if small else config.data.queries)
    if case.width:
        config.model.width = case.width
    config.data.photos, config.data.masks = ("bundled",), "generated"
    config.train.batch_size, config.train.dtype = case.batch, case.dtype
    config.train.accumulate = case.accumulate
    config.train.deterministic = case.deterministic
    return config


def random_batch(config: ml_collections.ConfigDict, seed: int = 0) -> dict:
    """A batch of the right shapes: float32 photos of noise, a fifth missing."""
    rng = np.random.default_rng(seed)
    batch, side = config.train.batch_size, config.data.side
    target = round(side * config.data.scale[1])
    image = rng.random((batch, side, side, 3), np.float32)
    made = {
        "image": image,
        "clean": image,
        "level": np.zeros(batch, np.float32),
        "mask": (rng.random((batch, side, side, 1)) < 0.2).astype(np.float32),
    }
    count = config.data.queries
    if not count:
        return made | {"target": rng.random((batch, target, target, 3), np.float32)}
    index = rng.integers(target, size=(batch, count, 2))
    return made | {
        "coordinates": to_coordinates(index, (target, target)),
        "cell": np.full((batch, count, 2), 2 / target, np.float32),
        "colours": rng.random((batch, count, 3), np.float32),
    }


class Step:
    """A compiled step, and the state that it trains.

    It is `make_step`'s program, compiled here to be looked into and put in a loop.

    Args:
      case: what to compile.

    Attributes:
      case, config, mesh: as it was made.
      flops: the model's, of one step over all devices.
      costs: XLA's, of one step on one device.
      compiling: seconds that it took.
      batch: lies on the devices, [B, ...]; with several steps a dispatch [K, B, ...].
    """

    def __init__(self, case: Case):
        self.case, self.config = case, configuration(case)
        config = self.config
        self.mesh = training_step.make_mesh(case.batch, accumulate=case.accumulate)
        replicated, split = training_step.shardings(self.mesh)
        model = build(config.model.to_dict())
        tx = make_optimizer(config.optimizer, config.train.steps)
        self._state = jax.jit(
            lambda: create_state(model, tx, config), out_shardings=replicated
        )()
        self._frozen = jax.device_put(
            training_step.frozen_variables(config), replicated
        )
        self._stop = jax.device_put(np.zeros(self.mesh.size, np.float32), split)
        self.batch = self.put(random_batch(config))
        self.flops = step_flops(model, config, self.mesh)
        one = training_step.plain_step(model, tx, config, self.mesh)
        if case.steps > 1:
            one = in_one_dispatch(one, case.steps)
            split = jax.NamedSharding(self.mesh, jax.P(None, "data"))
            self.batch = jax.device_put(
                jax.tree.map(lambda x: jnp.stack([x] * case.steps), self.batch), split
            )
        self._function = jax.jit(
            one,
            in_shardings=(replicated, replicated, split, self._stop.sharding),
            out_shardings=(replicated, replicated),
            donate_argnums=0,
            compiler_options=training_step.compiler_options(config, self.mesh),
        )
        start = time.perf_counter()
        lowered = self._function.lower(
            self._state, self._frozen, self.batch, self._stop
        )
        # Calls find what is compiled here.
        self.costs: Costs = costs(lowered.compile())
        self.compiling = time.perf_counter() - start

    def __call__(self, batch: Any = None) -> jax.Array:
        """Dispatches the step; returns its loss, perhaps before it is there."""
        batch = self.batch if batch is None else batch
        self._state, metrics = self._function(
            self._state, self._frozen, batch, self._stop
        )
        return metrics["loss"]

    def put(self, batch: dict) -> dict:
        """Puts a batch of the host on the devices."""
        return training_step.put_batch(batch, self.mesh)


def in_one_dispatch(step: Any, count: int) -> Any:
    """Several steps as one function of their batches [K, B, ...]; the last metrics."""

    def steps(state: Any, frozen: Any, batches: Any, stop: jax.Array):
        state, metrics = jax.lax.scan(
            lambda state, batch: step(state, frozen, batch, stop), state, batches, count
        )
        return state, jax.tree.map(lambda m: m[-1], metrics)

    return steps


class Timing(NamedTuple):
    """Seconds of a dispatch: in a row, one by one, and until the call returns."""

    row: float
    single: float
    dispatch: float


def time_step(step: Step, budget: float, least: int = 3, most: int = 200) -> Timing:
    """Medians of a compiled step; the first two calls do not count."""
    for _ in range(2):
        jax.block_until_ready(step())
    singles: list[float] = []
    dispatches: list[float] = []
    while len(singles) < least or (sum(singles) < budget / 2 and len(singles) < most):
        start = time.perf_counter()
        loss = step()
        dispatches.append(time.perf_counter() - start)
        jax.block_until_ready(loss)
        singles.append(time.perf_counter() - start)
    ends = []
    before = step()
    for _ in range(len(singles) + 1):
        # As training does: one step under way while the next is dispatched.
        loss = step()
        jax.block_until_ready(before)
        ends.append(time.perf_counter())
        before = loss
    jax.block_until_ready(before)
    in_row = [after - before for before, after in itertools.pairwise(ends)]
    return Timing(*map(statistics.median, (in_row, singles, dispatches)))
