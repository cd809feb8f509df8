"""A compiled step fed by the data pipeline, as in training; for `train_step.py`."""

import argparse
import time

import jax
from roofline import brief
from steps import Step

from dear_jax.data.pipeline import training_batches
from dear_jax.data.resident import make_render

COLUMNS = (
    "model",
    "dtype",
    "batch",
    "rendered",
    "images/s",
    "of the step alone",
    "waiting for data",
)
NOTES = """\
End to end: batches made by the pipeline ("host": on the processor; "resident": on the
device, in whose memory the photos lie), copied and trained on, one step under way while
the next batch is fetched. "waiting for data" is the share of the time spent waiting for
the next batch of the pipeline, copies not included."""


def end_to_end(
    step: Step, render: str, flags: argparse.Namespace, alone: float
) -> list[str]:
    """Trains from the pipeline for a while; a line of the table.

    Args:
      step: has been compiled.
      render: see `config.data.render`.
      flags: of `train_step.py`.
      alone: images/s of the step alone.
    """
    line = [*step.case.head(), render]
    try:
        rate, waiting = _train(step, render, flags)
    except Exception as error:  # What this machine cannot do.
        return [*line, brief(error), "-", "-"]
    return [*line, f"{rate:.4g}", f"{rate / alone:.0%}", f"{waiting:.1%}"]


def _train(step: Step, render: str, flags: argparse.Namespace) -> tuple[float, float]:
    """(images/s, share of the time spent waiting for the pipeline)."""
    config = step.config.copy_and_resolve_references()
    config.data.render, config.data.masks = render, flags.masks
    config.data.workers = flags.workers
    if flags.photos:
        config.data.photos = (str(flags.photos),)
    if flags.threads is not None:
        config.data.threads = flags.threads
    place = make_render(config.data, step.mesh)
    batches = training_batches(config.data, step.case.batch, config.seed)
    try:
        for _ in range(2):
            before = step(place(step.put(next(batches))))
        jax.block_until_ready(before)
        count, waited, start = 0, 0.0, time.perf_counter()
        while count < 5 or time.perf_counter() - start < flags.seconds:
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            loss = step(place(step.put(batch)))
            jax.block_until_ready(before)
            before, count = loss, count + 1
        jax.block_until_ready(before)
        seconds = time.perf_counter() - start
    finally:
        batches.close()
    return count * step.case.batch / seconds, waited / seconds
