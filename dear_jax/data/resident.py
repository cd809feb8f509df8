"""Training batches of photos in the memory of the devices.

All photos are loaded once, on every device; `dear_jax.data.render` makes examples.
"""

import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import UInt8

from dear_jax.data import settings
from dear_jax.data.render import Batch, Render
from dear_jax.data.sources import Photos, open_photos
from dear_jax.errors import InputError
from dear_jax.typing import Config

_GIB = 2**30


def make_render(data: Config, mesh: Mesh) -> Callable[[Batch], Batch]:
    """Returns what makes training batches of those of `training_batches`.

    For `data.render` = "host" that is nothing; for "resident" all photos are loaded
    now.

    Args:
      data: see `dear_jax.data.pipeline`.
      mesh: has the axis "data", over which batches are split.

    Raises:
      InputError: if a value cannot be used or the photos cannot be loaded.
    """
    settings.check(data)
    if settings.render(data) == "host":
        return lambda batch: batch
    chooser = settings.chooser(data)
    found = open_photos(settings.parts(data), data.skip_unreadable)
    largest = dataclasses.replace(chooser, side=max(settings.sides(data)))
    photos = load_photos(found, largest.sides[-1], mesh)
    renders = {
        side: Render(dataclasses.replace(chooser, side=side), mesh, photos)
        for side in settings.sides(data)
    }
    if len(renders) == 1:
        return renders.popitem()[1]
    return lambda batch: renders[batch["mask"].shape[1]](batch)


def size_of_all(photos: Photos, least: int) -> tuple[int, int]:
    """Returns the size (H, W) that all photos must have: that of the first.

    Args:
      photos: of which one is read.
      least: side of the largest crop in pixels.

    Raises:
      InputError: if it cannot be read, or a side is less than `least`.
    """
    height, width, _ = photos[0].shape
    if min(height, width) < least:
        wanted = f"at least {least} x {least}"
        raise _unfit(photos, 0, (height, width), wanted, least)
    return height, width


def load_photos(photos: Photos, least: int, mesh: Mesh) -> UInt8[jax.Array, "N H W 3"]:
    """Reads all photos and copies them to every device; the first process has a bar.

    Args:
      photos: of one size.
      least: side of the largest crop in pixels.
      mesh: the devices.

    Raises:
      InputError: if a photo cannot be read, or is unlike the first or too small,
        naming it; or if this machine or its devices have no room for them.
    """
    size = size_of_all(photos, least)
    shape = (len(photos), *size, 3)
    check_room(shape, mesh.local_devices)
    held = _host_memory(shape)

    def read(index: int) -> None:
        pixels = photos[index]
        height, width, _ = pixels.shape
        if (height, width) != size:
            like = f"as the first, {size[1]} x {size[0]}"
            raise _unfit(photos, index, (height, width), like, max(least, min(size)))
        held[index] = pixels

    with futures.ThreadPoolExecutor() as pool, _bar(len(photos)) as bar:
        for _ in pool.map(read, range(len(photos))):
            bar.update()
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.make_array_from_process_local_data(everywhere, held, shape)


def check_room(shape: Sequence[int], devices: Sequence[Any]) -> None:
    """Raises InputError if uint8 photos of `shape` exceed a device's free memory.

    Devices that do not tell have room enough.
    """
    needed = math.prod(shape)
    for device in devices:
        known = device.memory_stats() or {}
        if "bytes_limit" not in known:
            continue
        free = known["bytes_limit"] - known.get("bytes_in_use", 0)
        if needed > free:
            free = f"and {device} has {free / _GIB:.1f} GiB free"
            raise _too_large(shape, free)


def _host_memory(shape: tuple[int, ...]) -> UInt8[np.ndarray, "N H W 3"]:
    try:
        return np.empty(shape, np.uint8)
    except MemoryError:
        raise _too_large(
            shape, "for which this machine has too little memory"
        ) from None


def _too_large(shape: Sequence[int], why: str) -> InputError:
    return InputError(
        f"config.data.render='resident': {shape[0]} photos of {shape[2]} x {shape[1]} "
        f"pixels are {math.prod(shape) / _GIB:.1f} GiB, {why}; "
        "set config.data.render='host'"
    )


def _unfit(
    photos: Photos, index: int, size: tuple[int, int], wanted: str, side: int
) -> InputError:
    return InputError(
        f"{photos.title(index)}: {size[1]} x {size[0]} pixels, and config.data.render="
        f"'resident' needs all photos {wanted}; prepare them with python -m data_prep "
        f"... --side {side} or set config.data.render='host'"
    )


def _bar(total: int) -> Any:
    from tqdm import tqdm

    # A file that the bar is written to need not hold it ten times a second.
    pause = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(
        total=total,
        desc="loading",
        unit=" photos",
        mininterval=pause,
        disable=jax.process_index() != 0,
    )
