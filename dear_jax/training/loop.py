"""The training loop: resume, step, report, evaluate, save, stop cleanly."""

import json
import math
import signal
import time
from pathlib import Path

import jax
import ml_collections
import numpy as np

from dear_jax.data.pipeline import fingerprint, training_batches
from dear_jax.errors import InputError
from dear_jax.photo import write_photo
from dear_jax.registry import build, init_shapes
from dear_jax.training.checkpoints import Checkpoints
from dear_jax.training.log import Log
from dear_jax.training.objectives import check_fit
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import TrainState, create_state
from dear_jax.training.step import make_mesh, make_step, put_batch, shardings
from dear_jax.training.validation import Validation
from dear_jax.training.workdir import BEST, claim_workdir, provenance
from dear_jax.weights import Weights, read_weights, write_weights


def train(config: ml_collections.ConfigDict, workdir: str | Path) -> TrainState:
    """Trains, or goes on training, until `config.train.steps`.

    Ends early, after saving, on SIGTERM and SIGINT. The state after a given step is
    the same however often the run was interrupted.

    Args:
      config: see configs/.
      workdir: folder of the run, made if need be.

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
    mesh = make_mesh(config.train.batch_size)
    marks = fingerprint(config.data, config.seed, config.train.batch_size)
    validation = Validation(config) if config.evaluate.every else None
    step_fn = make_step(model, tx, config, mesh)
    claim_workdir(workdir, config, marks)
    with Checkpoints(workdir) as checkpoints, _StopSignals() as stop:
        state = jax.jit(
            lambda: create_state(model, tx, config), out_shardings=shardings(mesh)[0]
        )()
        if checkpoints.latest is not None:
            state = checkpoints.restore(state)
        run = _Run(config, workdir, checkpoints, validation, stop)
        return run.train(state, step_fn, mesh)


def check_config(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for a number that cannot be used, by its name."""
    least = {
        "train.steps": 1,
        "train.batch_size": 1,
        "log.every": 1,
        "checkpoint.every": 1,
        "evaluate.every": 0,
        "optimizer.warmup": 0,
        "optimizer.clip_norm": 0,
    }
    for key, bound in least.items():
        part, name = key.split(".")
        if not config[part][name] >= bound:
            raise InputError(
                f"config.{key}={config[part][name]}: must be at least {bound}"
            )
    if any(step < 1 for step in config.optimizer.halve_at):
        raise InputError(
            f"config.optimizer.halve_at={config.optimizer.halve_at}: steps begin at 1"
        )
    rate, decay = config.optimizer.learning_rate, config.train.ema_decay
    if not rate > 0:
        raise InputError(f"config.optimizer.learning_rate={rate}: must be more than 0")
    if not 0 <= decay < 1:
        raise InputError(f"config.train.ema_decay={decay}: must lie in [0, 1)")


class _Run:
    """The loop and its occasions: reports, evaluations, checkpoints."""

    def __init__(self, config, workdir, checkpoints, validation, stop):
        self._config = config
        self._workdir = workdir
        self._checkpoints = checkpoints
        self._validation = validation
        self._stop = stop
        self._best = _best_so_far(workdir, config)

    def train(self, state: TrainState, step_fn, mesh) -> TrainState:
        config, start = self._config, int(state.step)
        size, steps = config.train.batch_size, config.train.steps
        batches = training_batches(config.data, size, config.seed, start)
        with Log(self._workdir, steps, start, size) as log:
            if start:
                log.say(f"resumed at step {start}")
            elif config.evaluate.every:
                self._evaluate(state, 0, log)  # What there is to gain.
            pending = []
            for step in range(start + 1, steps + 1):
                state, metrics = step_fn(state, put_batch(next(batches), mesh))
                pending.append(metrics)
                log.advance()
                # Asked once: a signal that comes later is for the next step.
                stopping = self._stop.requested and step < steps
                last = stopping or step == steps
                if last or step % config.log.every == 0:
                    log.train(step, _means(pending, step))
                    pending = []
                if not stopping and self._is_time(config.evaluate.every, step):
                    _means(pending, step)
                    self._evaluate(state, step, log)
                if last or self._is_time(config.checkpoint.every, step):
                    # What is saved must be sound, or the run could not go on.
                    _means(pending, step)
                    self._checkpoints.save(state)
                if stopping:
                    log.say(f"stopped at step {step}; the same command continues")
                    return state
            log.say(f"finished: {steps} steps in {self._workdir}")
        return state

    def _is_time(self, every: int, step: int) -> bool:
        return every > 0 and (step % every == 0 or step == self._config.train.steps)

    def _evaluate(self, state: TrainState, step: int, log: Log) -> None:
        began = time.monotonic()
        values, sheet = self._validation(state.ema)
        log.evaluation(step, {**values, "seconds": time.monotonic() - began}, sheet)
        write_photo(self._workdir / "sheets" / f"{step:08d}.png", sheet)
        if step and values["psnr"] > self._best:
            self._best = values["psnr"]
            model = self._config.model.to_dict()
            facts = provenance(self._config.to_dict(), step, psnr=self._best)
            write_weights(self._workdir / BEST, Weights(state.ema, model, facts))


def _best_so_far(workdir: Path, config: ml_collections.ConfigDict) -> float:
    """PSNR of the best weights, if they were scored as this run scores."""
    try:
        facts = read_weights(workdir / BEST).provenance
    except InputError:
        return -math.inf  # None yet, or damaged and to be replaced.
    before, now = facts["config"]["evaluate"], json.loads(config.evaluate.to_json())
    same = all(before.get(key) == now[key] for key in now if key != "every")
    return facts["psnr"] if same else -math.inf


def _means(reports: list[dict[str, jax.Array]], step: int) -> dict[str, float]:
    """Means over the reports of several steps; InputError if one is not a number."""
    values = jax.device_get(reports)
    means = {k: float(np.mean([v[k] for v in values])) for k in (values or [{}])[0]}
    bad = [key for key, value in means.items() if not math.isfinite(value)]
    if bad:
        raise InputError(
            f"{bad[0]} is {means[bad[0]]} at or shortly before step {step}; training "
            "stopped, the last checkpoint is sound. Lower config.optimizer."
            "learning_rate or set config.optimizer.clip_norm in a new --workdir"
        )
    return means


class _StopSignals:
    """Notes SIGTERM and SIGINT instead of dying; a second SIGINT does interrupt."""

    def __init__(self):
        self.requested = False

    def __enter__(self) -> "_StopSignals":
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
        self.requested = True
