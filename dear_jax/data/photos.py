"""Random access to photos, uint8 [H, W, 3] RGB of any size."""

from collections.abc import Sequence
from concurrent import futures

import numpy as np
from absl import logging

from dear_jax import bundled
from dear_jax.data.images import Images, open_images
from dear_jax.errors import InputError, Unreadable
from dear_jax.images import decoding


class Photos:
    """The photos of a collection as a sequence: `photos[i]` is uint8 [H, W, 3].

    Unreadable ones raise InputError. It is picklable and may be read by several
    threads.

    Args:
      images: the encoded photos.
      otherwise: what else to do about one that cannot be read, for its message.
    """

    def __init__(self, images: Images, otherwise: str = "or remove it"):
        self._images, self._otherwise = images, otherwise

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> np.ndarray:
        try:
            data = self._images.data(index)
            return decoding.decode_photo(data, self._images.title(index))
        except InputError as error:
            raise InputError(f"{error}, {self._otherwise}") from None

    def __repr__(self) -> str:
        return f"Photos({len(self)})"

    @property
    def names(self) -> list[str]:
        """For every photo its path below the folder, or what its record is called."""
        return self._images.names

    def facts(self) -> list[str]:
        """Returns for every photo its name and its size in bytes, as one text."""
        return self._images.facts()

    def digest(self, index: int) -> str:
        """Returns a photo's hash, see `Images.digest`; decodes nothing."""
        return self._images.digest(index)

    def title(self, index: int) -> str:
        """Returns where a photo lies, for messages."""
        return self._images.title(index)

    def select(self, indices: Sequence[int]) -> "Photos":
        """Returns these photos only, in the order of `indices`."""
        return Photos(self._images.select(indices), self._otherwise)


def open_photos(where: str | Sequence[str], skip_unreadable: bool = False) -> Photos:
    """Opens photos for training.

    Args:
      where: a part or a sequence of parts, see `open_images`; "bundled" are the photos
        that come with the package.
      skip_unreadable: read every photo once now, leave out those that are damaged or
        no images and log their names; otherwise they raise when they are asked for.

    Raises:
      InputError: if a part does not exist, holds no photo or lacks a shard; or, with
        skip_unreadable, if a file cannot be opened.
    """
    remedy = "set config.data.photos to a folder of images or ArrayRecord files"
    images = open_images(where, remedy, bundled.PHOTOS)
    if skip_unreadable:
        images = _readable(images)
    if not len(images):
        raise InputError(f"{where}: holds no readable photo; {remedy}")
    return Photos(images, "remove it or set config.data.skip_unreadable=True")


# What is wrong with a version of an image. It is remembered, so that opening the same
# photos again (for a fingerprint, say) does not decode them all once more.
_problems: dict[tuple, str | None] = {}


def _readable(images: Images) -> Images:
    with futures.ThreadPoolExecutor() as pool:
        problems = list(pool.map(lambda i: _problem(images, i), range(len(images))))
    for problem in filter(None, problems):
        logging.warning("left out: %s", problem)
    return images.select(np.flatnonzero([problem is None for problem in problems]))


def _problem(images: Images, index: int) -> str | None:
    version = images.version(index)
    if version in _problems:
        return _problems[version]
    try:
        decoding.decode_photo(images.data(index), images.title(index))
    except Unreadable as error:
        problem = str(error)
    else:
        problem = None
    _problems[version] = problem
    return problem
