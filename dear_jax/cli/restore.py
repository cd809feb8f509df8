"""The work of `dear restore`: photos from file to file.

Photo i of the sorted list is in part i modulo their number, whatever exists already,
so that each is restored once however often the commands are started.
"""

import gc
import time
from collections.abc import Callable
from functools import partial

import jax

from dear_jax.cli.batch import Work, prepare_batch
from dear_jax.cli.progress import ProgressDisplay, duration
from dear_jax.errors import InputError
from dear_jax.inference.damage import bundled_detector
from dear_jax.inference.loading import load
from dear_jax.inference.query import QueryRestorer
from dear_jax.inference.restorer import Restorer
from dear_jax.workflow.jobs import Job, find_jobs
from dear_jax.workflow.options import RestoreOptions
from dear_jax.workflow.restoring import restore_photo

_BESIDE = ("preview", "importance", "record")
_SIZES = 64  # Number of pairs of sizes after which compiled programs are dropped.


def prepare(options: RestoreOptions) -> Callable[[], int]:
    """Pairs the files and loads the model, before any photo is read.

    Returns:
      The work, a function that returns the exit status: 1 if some of several photos
      could not be restored. For the only photo it raises InputError.

    Raises:
      InputError: for photos, masks and outputs that do not go together, or a model
        that cannot be loaded or does not support the options.
    """
    beside = [kind for kind in _BESIDE if getattr(options, kind)]
    found = find_jobs(
        options.photos,
        options.out,
        options.mask,
        options.recursive,
        beside,
        missing=options.missing_masks,
    )
    part, parts = options.part
    single = len(found.jobs) == 1
    found = found._replace(jobs=found.jobs[part - 1 :: parts])

    def loaded() -> Work:
        restorer = _load(options)
        return partial(
            _restore_shown, restorer=restorer, options=options, compiled=set()
        )

    return prepare_batch(found, single, options.overwrite, loaded, "restored")


def _load(options: RestoreOptions) -> Restorer:
    """The model; InputError unless it supports the options."""
    restorer = load(options.model, weights=options.weights, texture=options.texture)
    maps = isinstance(restorer, QueryRestorer) and restorer.model.get("importance")
    if options.importance and not maps:
        raise InputError(
            f"--importance: {restorer.name} has no importance map; dear-lite and dear "
            "have"
        )
    if options.denoise is not None and not isinstance(options.denoise, str):
        restorer.levels(options.denoise, 1)
    if options.find_damage or options.missing_masks == "auto":
        bundled_detector()
    return restorer


def _restore_shown(
    job: Job,
    display: ProgressDisplay,
    restorer: Restorer,
    options: RestoreOptions,
    compiled: set[str],
) -> str:
    """Restores a photo; returns what was done, in a line."""
    began = time.monotonic()
    with display.on(job.name) as progress:
        done = restore_photo(job, restorer, options, progress, display.print)
    _drop_programs(compiled, done.sizes)
    words = [f"{done.sizes} pixels", done.damage, done.denoise]
    return ", ".join(filter(None, [*words, duration(time.monotonic() - began)]))


def _drop_programs(compiled: set[str], sizes: str) -> None:
    """Keeps memory from growing over a folder of photos of many sizes.

    JAX holds a few MiB for each size it has met, whatever becomes of the programs.

    Args:
      compiled: sizes of the photos since the last time, added to here.
      sizes: of the last photo, e.g. "64 x 48 to 384 x 288".
    """
    compiled.add(sizes)
    if len(compiled) >= _SIZES:
        jax.clear_caches()
        gc.collect()
        compiled.clear()
