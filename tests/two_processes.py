"""What tests let one of several processes do; its findings go to a file.

python -m tests.two_processes DEED HOST:PORT COUNT INDEX FOLDER
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from dear_jax.data.pipeline import training_batches
from dear_jax.distributed import processes
from dear_jax.distributed.alarm import Alarm
from dear_jax.errors import InputError
from dear_jax.models.registry import build
from dear_jax.training.objectives import QueryObjective
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.signals import StopSignals
from dear_jax.training.state import create_state
from dear_jax.training.step import make_mesh, make_step, put_batch
from tests.tiny import tiny_config

STEPS = 20


def findings_of_talk() -> dict:
    """What the process sees of the others, and what they tell it."""
    index = jax.process_index()

    def raises(error: Exception, on: int = 0):
        if index == on:
            raise error
        return index

    def told(call, action) -> str:
        try:
            return f"returned {call(action)}"
        except (InputError, KeyError, RuntimeError) as error:
            return f"{type(error).__name__}: {error}"

    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
    return {
        "devices": [jax.local_device_count(), jax.device_count()],
        "is_first": processes.is_first(),
        "sigterm": stop.requested,
        "gathered": processes.gathered(f"from {index}"),
        "on_first": told(processes.on_first, lambda: "done"),
        "mistake": told(processes.on_first, lambda: raises(InputError("no photos"))),
        "bug": told(processes.on_first, lambda: raises(KeyError("oops"))),
        "agreed": told(processes.agreed, lambda: raises(InputError("full"), on=9)),
        "objection": told(processes.agreed, lambda: raises(InputError("full"), on=1)),
    }


def arrays_of_steps(devices=None) -> dict[str, np.ndarray]:
    """First batch (of this process), its whole gradient, and the losses of 20 steps."""
    config = tiny_config(steps=STEPS)
    size, process = config.train.batch_size, (jax.process_index(), jax.process_count())
    model, tx = build(config.model.to_dict()), make_optimizer(config.optimizer, STEPS)
    mesh = make_mesh(size, devices)
    state = create_state(model, tx, config)
    batches = training_batches(config.data, size, config.seed, process=process)
    batch = next(batches)
    # Not from the initialisation: its zero output layer would hide most gradients.
    params = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.05, state.params)
    gradient = jax.jit(
        jax.grad(lambda p, b: QueryObjective().loss(model, {"params": p}, b)[0])
    )(params, put_batch(batch, mesh))
    step, losses = make_step(model, tx, config, mesh), []
    # On all devices, as the loop has it.
    state = jax.jit(lambda: create_state(model, tx, config))()
    state = jax.device_put(jax.device_get(state), mesh_wide(mesh))
    for number in range(STEPS):
        state, metrics = step(
            state, put_batch(batch if number == 0 else next(batches), mesh)
        )
        losses.append(float(metrics["loss"]))
    leaves = [np.ravel(jax.device_get(leaf)) for leaf in jax.tree.leaves(gradient)]
    first = {f"batch/{name}": value for name, value in batch.items()}
    return {"gradient": np.concatenate(leaves), "losses": np.array(losses), **first}


def mesh_wide(mesh) -> jax.sharding.NamedSharding:
    """The sharding of what all devices hold."""
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())


def wait_for_ever() -> None:
    """In collectives that the second process, raising an alarm, does not join."""

    def end(message: str | None, code: int) -> None:
        print(message, f"after {time.monotonic() - began:.0f} s", sep="\n", flush=True)
        os._exit(code)

    with Alarm(end) as alarm:
        multihost_utils.process_allgather(np.ones(1))
        began = time.monotonic()
        if jax.process_index() == 1:
            told = alarm.ring("no photos", 2)
            print(f"must tell it itself: {told}", flush=True)
            os._exit(2)
        multihost_utils.process_allgather(np.ones(1))


def save_slowly() -> None:
    """The first meets a mistake in what all wait for, and must save before it ends."""

    def end(message: str | None, code: int) -> None:
        print(message, flush=True)
        os._exit(code)

    def fail() -> None:
        raise InputError("no photos")

    with Alarm(end) as alarm:
        try:
            processes.on_first(fail)
        except InputError as error:
            if processes.is_first():
                time.sleep(6)
                print("saved", flush=True)
            told = alarm.ring(str(error), 2, processes.is_of_another(error))
            print(f"must tell it itself: {told}", flush=True)
            os._exit(2)


def main(deed: str, coordinator: str, count: str, index: str, folder: str) -> None:
    """Does it and writes FOLDER/DEED-INDEX.json or .npz."""
    processes.initialise(coordinator, int(count), int(index), patience=60)
    path = Path(folder) / f"{deed}-{index}"
    if deed == "talk":
        path.with_suffix(".json").write_text(json.dumps(findings_of_talk()))
    elif deed == "steps":
        np.savez(path.with_suffix(".npz"), **arrays_of_steps())
    elif deed == "alarm":
        wait_for_ever()
    elif deed == "saving":
        save_slowly()
    processes.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
