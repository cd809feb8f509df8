"""What tests let one of two processes do; its findings go to a file.

python -m tests.two_processes HOST:PORT INDEX FOLDER
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np

from dear_jax.data.pipeline import training_batches
from dear_jax.errors import InputError
from dear_jax.models.registry import build
from dear_jax.multihost import (
    agreed,
    check_alike,
    exit_status,
    gathered,
    initialize,
    is_first,
    on_first,
)
from dear_jax.training.objectives import QueryObjective
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import create_state
from dear_jax.training.step import make_mesh, make_step, put_batch, shardings
from dear_jax.training.train import StopSignals
from tests.tiny import tiny_config

STEPS = 20


def findings_of_talk() -> dict:
    """What the process sees of the other, and what they say to each other."""
    index = jax.process_index()

    def fails(message: str, on: int = 0):
        if index == on:
            raise InputError(message)
        return index

    def outcome(call, *arguments) -> str:
        try:
            return f"returned {call(*arguments)}"
        except InputError as error:
            return f"InputError: {error}"

    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
    return {
        "devices": [jax.local_device_count(), jax.device_count()],
        "is_first": is_first(),
        "sigterm": stop.requested,
        "gathered": gathered(f"from {index}"),
        "on_first": outcome(on_first, lambda: "done"),
        "mistake": outcome(on_first, lambda: fails("no photos")),
        "agreed": outcome(agreed, lambda: fails("full", on=9)),
        "objection": outcome(agreed, lambda: fails("full", on=1)),
        "alike": outcome(check_alike, "the seed", "1"),
        "unlike": outcome(check_alike, "the seed", str(index)),
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
    gradient_of = jax.jit(
        jax.grad(lambda p, b: QueryObjective().loss(model, {"params": p}, b)[0])
    )
    arguments = params, put_batch(batch, mesh)
    # Processes exchange only when both have compiled, see `make_step`.
    gradient = agreed(lambda: gradient_of.lower(*arguments).compile())(*arguments)
    step, losses = make_step(model, tx, config, mesh), []
    # On all devices, as the loop has it.
    state = jax.jit(lambda: create_state(model, tx, config))()
    state = jax.device_put(jax.device_get(state), shardings(mesh)[0])
    for number in range(STEPS):
        state, metrics = step(
            state, put_batch(batch if number == 0 else next(batches), mesh)
        )
        losses.append(float(metrics["loss"]))
    leaves = [np.ravel(jax.device_get(leaf)) for leaf in jax.tree.leaves(gradient)]
    first = {f"batch/{name}": value for name, value in batch.items()}
    return {"gradient": np.concatenate(leaves), "losses": np.array(losses), **first}


def main(coordinator: str, index: str, folder: str) -> None:
    """Writes FOLDER/INDEX.json and .npz, and ends by a mistake that both make."""
    with exit_status():
        initialize(coordinator, 2, int(index))
        path = Path(folder) / index
        path.with_suffix(".json").write_text(json.dumps(findings_of_talk()))
        np.savez(path.with_suffix(".npz"), **arrays_of_steps())
        on_first(_mistake)


def _mistake() -> None:
    raise InputError("the end")


if __name__ == "__main__":
    main(*sys.argv[1:])
