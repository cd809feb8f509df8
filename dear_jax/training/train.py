"""The training loop: resume, step, report, evaluate, save, stop cleanly.

All processes of a run go through it together, each with its part of every batch; the
first one writes and evaluates.
"""

import contextlib
import dataclasses
import json
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from dear_jax.checkpoint import Checkpoints, saved_steps
from dear_jax.data.pipeline import fingerprint, training_batches
from dear_jax.data.resident import make_render
from dear_jax.data.sides import mean_batch_size
from dear_jax.errors import InputError
from dear_jax.evaluation.run_plots import draw_run
from dear_jax.images.io import write_photo
from dear_jax.inference.runs import BEST, provenance, read_config
from dear_jax.models.registry import build, init_shapes
from dear_jax.multihost import agreed, check_alike, is_first, on_first
from dear_jax.training.check import check_config, check_fit, check_split
from dear_jax.training.flops import step_flops
from dear_jax.training.logging import Log, StepMetrics, read_metrics
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import Start, TrainState, create_state, read_start
from dear_jax.training.step import make_mesh, make_step, put_batch, shardings
from dear_jax.training.throughput import Profile, Rates, peak_flops
from dear_jax.training.validation import DamageValidation, Validation, validation_of
from dear_jax.training.workdir import claim_workdir
from dear_jax.typing import Config
from dear_jax.weights import Weights, read_weights, write_weights


def train(
    config: Config,
    workdir: str | Path,
    accept_changes: bool = False,
    profile: bool = False,
) -> TrainState:
    """Trains, or goes on training, until `config.train.steps`.

    Ends early, after saving, on SIGTERM and SIGINT. The state after a given step is
    the same however often the run was interrupted. With several processes (see
    `dear_jax.multihost`) all call it alike.

    Args:
      config: see configs/.
      workdir: folder of the run, made if need be; for several processes one that all
        of them see.
      accept_changes: go on although the configuration differs, where that can be.
      profile: write a trace of a few steps to WORKDIR/profile.

    Returns:
      The last state.

    Raises:
      InputError: for a configuration, data or workdir that cannot be used, and when
        the loss stops being a number.
    """
    workdir = Path(workdir).expanduser()
    check_config(config)
    model = build(config.model.to_dict())
    check_fit(config, model)
    init_shapes(model)  # Refuses what cannot be built before the workdir is claimed.
    tx = make_optimizer(config.optimizer, config.train.steps)
    size = config.train.batch_size
    mesh = make_mesh(size, accumulate=config.train.accumulate)
    check_split(config, mesh)
    marks = agreed(lambda: fingerprint(config.data, config.seed, size))
    check_alike("what lies in config.data", marks)
    check_alike("the configuration", _shared(config))
    validation = None
    if config.evaluate.every:
        validation = on_first(lambda: validation_of(config))
    step_fn = agreed(lambda: make_step(model, tx, config, mesh))
    say = print if is_first() else _nothing
    start = _start(config, model, workdir)
    facts = start and start.facts
    on_first(lambda: claim_workdir(workdir, config, marks, accept_changes, say, facts))
    render = agreed(lambda: make_render(config.data, mesh))
    with Checkpoints(workdir, say=say) as checkpoints, StopSignals() as stop:
        state = _newest_state(model, tx, config, mesh, checkpoints, start)
        first, flops = int(state.step), step_flops(model, config, mesh)
        peak = peak_flops(jax.devices(), config.train.dtype)
        rates = Rates(first, mean_batch_size(config.data, size), flops, peak)
        traced = workdir if profile and is_first() else None
        with (
            Log(workdir, config.train.steps, first, rates, is_first()) as log,
            Profile(traced, first, log.say) as trace,
        ):
            for line in start.lines if start else []:
                log.say(line)
            run = _Run(config, workdir, checkpoints, validation, stop, log, trace)
            state = run.train(
                state, step_fn, lambda batch: render(put_batch(batch, mesh))
            )
            on_first(lambda: _draw(workdir, log))
    return state


class StopSignals:
    """Notes SIGTERM and SIGINT instead of dying; a second SIGINT does interrupt.

    A context manager, for the main thread.

    Attributes:
      requested: whether a signal came.
    """

    def __init__(self):
        self.requested = False

    def __enter__(self) -> "StopSignals":
        self._before = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested and is_first():
            # Not by print, which may be at work when the signal comes.
            os.write(2, b"\nstopping within two steps; Ctrl-C again ends at once\n")
        self.requested = True


def _start(config, model, workdir: Path) -> Start | None:
    """The weights that a run begins from; None for random ones, or if it goes on.

    What is wrong with them is found before the workdir is claimed.
    """
    steps = saved_steps(workdir)
    check_alike("what --workdir holds", str(steps))
    if steps:
        return None
    start = agreed(lambda: read_start(config, model))
    digest = start.facts["hash"] if start else ""
    check_alike("what config.train.start_from names", digest)
    return start


def _newest_state(
    model, tx, config, mesh, checkpoints: Checkpoints, start: Start | None
) -> TrainState:
    """The last state that was saved, or the first one; never both at once."""
    everywhere = shardings(mesh)[0]
    create = jax.jit(
        lambda variables: create_state(model, tx, config, variables),
        out_shardings=everywhere,
    )
    template = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
        jax.eval_shape(create, None),
    )
    state = checkpoints.restore(template)
    return create(start.variables if start else None) if state is None else state


@dataclasses.dataclass
class _Run:
    """The loop and what happens between its steps: reports, evaluations, checkpoints.

    Attributes:
      best: score of the best weights so far.
    """

    config: Config
    workdir: Path
    checkpoints: Checkpoints
    validation: Validation | DamageValidation | None
    stop: StopSignals
    log: Log
    trace: Profile
    best: float = -math.inf

    def train(self, state: TrainState, step_fn: Callable, place: Callable):
        """Makes the steps that remain; `place` puts a batch on the devices."""
        config, start = self.config, int(state.step)
        process = jax.process_index(), jax.process_count()
        # Any: an iterator that can be closed, whichever it is.
        batches: Any = training_batches(
            config.data, config.train.batch_size, config.seed, start, process
        )
        if start:
            self.log.say(f"resumed at step {start}")
            if self.validation:
                measure = self.validation.measure
                self.best = _best_so_far(self.workdir, config, measure)
        # At 0, what there is to gain; later, if the run ended before it was made.
        if self._is_time(config.evaluate.every, start):
            self._evaluate(state, start)
        with contextlib.closing(batches):
            return self._make_steps(state, batches, step_fn, place)

    def _make_steps(self, state: TrainState, batches, step_fn, place) -> TrainState:
        config, log, steps = self.config, self.log, self.config.train.steps
        start, metrics_of_steps = int(state.step), StepMetrics()
        if start < steps:
            log.say("compiling the step, which may take a minute")
        for step in range(start + 1, steps + 1):
            began = time.monotonic()
            batch = self._next(batches, state, step)
            waited = time.monotonic() - began
            with self.trace.step(step):
                state, metrics = step_fn(state, place(batch), self.stop.requested)
            metrics_of_steps.add(step, metrics)
            log.advance(waited)
            # All processes read the same metrics, so they stop after the same step.
            stopping = metrics_of_steps.settle(ahead=1).stop and step < steps
            last = stopping or step == steps
            if last or step % config.log.every == 0:
                log.train(step, metrics_of_steps.settle().means())
            if last or self._is_time(config.checkpoint.every, step):
                self.checkpoints.save(state)
            if not stopping and self._is_time(config.evaluate.every, step):
                self._evaluate(state, step)
            if last:
                self.checkpoints.close()
            if stopping:
                log.say(f"stopped at step {step}; the same command continues")
                return state
        log.say(f"finished: {int(state.step)} steps in {self.workdir}")
        return state

    def _next(self, batches, state: TrainState, step: int):
        """The batch of a step; if there is none, the state before it is kept."""
        try:
            return next(batches)
        except InputError:
            # With others to wait for, the last checkpoint has to do.
            if jax.process_count() == 1 and step > 1:
                self._keep(state, step - 1)
            raise

    def _keep(self, state: TrainState, step: int) -> None:
        """Saves a state before an error ends the run, which waits for it."""
        self.log.say(f"saving step {step}")
        self.checkpoints.save(state)

    def _is_time(self, every: int, step: int) -> bool:
        return every > 0 and (step % every == 0 or step == self.config.train.steps)

    def _evaluate(self, state: TrainState, step: int) -> None:
        ema = jax.tree.map(lambda leaf: leaf.addressable_data(0), state.ema)
        try:
            on_first(lambda: self._score(ema, step))
        except InputError:  # In all processes.
            if step:
                self._keep(state, step)
            raise

    def _score(self, ema, step: int) -> None:
        """Scores weights unless it was done; keeps them if they are the best."""
        reports = read_metrics(self.workdir)
        if any((r["step"], r["kind"]) == (step, "evaluate") for r in reports):
            return
        began = time.monotonic()
        assert self.validation is not None
        found = self.validation(ema, lambda: self.stop.requested)
        if found is None:
            self.log.say(f"step {step}: not evaluated, the run was asked to stop")
            return
        values, sheet = found
        values["seconds"] = time.monotonic() - began
        write_photo(self.workdir / "sheets" / f"{step:08d}.png", sheet)
        measure = self.validation.measure
        if step and values[measure] > self.best:
            self.best = values[measure]
            score = {measure: self.best}
            facts = provenance(read_config(self.workdir), step, **score)
            weights = Weights(ema, self.config.model.to_dict(), facts)
            write_weights(self.workdir / BEST, weights)
        # Last: an evaluation that has been reported is not made again.
        self.log.evaluation(step, values, sheet)


def _draw(workdir: Path, log: Log) -> None:
    try:
        draw_run(workdir, read_metrics(workdir))
    except InputError as error:
        log.say(str(error))  # The run has come to its end all the same.


def _best_so_far(workdir: Path, config: Config, measure: str) -> float:
    """The score of the best weights, if they were scored as this run scores."""
    try:
        facts = read_weights(workdir / BEST).provenance
    except InputError:
        return -math.inf  # None yet, or damaged and to be replaced.
    before, now = facts["config"]["evaluate"], json.loads(config.evaluate.to_json())
    same = all(before.get(key) == now[key] for key in now if key != "every")
    return facts[measure] if same else -math.inf


def _shared(config: Config) -> str:
    """What must be the same in all processes; photos may lie elsewhere in each."""
    own = ("photos", "masks", "threads", "workers")
    fields = json.loads(config.to_json())
    fields["data"] = {k: v for k, v in fields["data"].items() if k not in own}
    return json.dumps(fields, sort_keys=True)


def _nothing(message: str) -> None:
    """Prints nothing: the first process prints for all."""
