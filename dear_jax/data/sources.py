"""Photos and masks as files hold them: in folders or in ArrayRecord files.

`Images` is a sequence of encoded images, `Photos` of decoded ones, RGB, of any size.
The order is that of the parts as given and of the sorted names in a part, on every
machine.
"""

import functools
import os
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Int, UInt8

from dear_jax import bundled
from dear_jax.data.shards import SUFFIX, RecordFile, check_complete
from dear_jax.errors import InputError, Unreadable
from dear_jax.files import content_hash_of_file
from dear_jax.images.io import SUFFIXES, decode_photo, names_below, read_bytes


class Images:
    """The images of several parts as one sequence; made by `open_images`.

    It is picklable and may be read by several threads.
    """

    def __init__(
        self,
        parts: Sequence["Folder | RecordFile"],
        chosen: Int[np.ndarray, " n"] | None = None,
    ):
        self._parts = list(parts)
        self._ends = np.cumsum([len(part) for part in self._parts])
        self._chosen = np.arange(self._ends[-1]) if chosen is None else chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def select(self, indices: Sequence[int] | Int[np.ndarray, " n"]) -> "Images":
        """Returns the collection of these images only, in the order of `indices`."""
        return Images(self._parts, self._chosen[np.asarray(indices, int)])

    @functools.cached_property
    def names(self) -> list[str]:
        """For every image its path below the folder, or what its record is called."""
        return self._all("name")

    def facts(self) -> list[str]:
        """Returns for every image its name and its size in bytes, as one text."""
        return self._all("fact")

    def digest(self, index: int) -> str:
        """Returns hex digits of the SHA-256 of an image file's content.

        Read once, or never where a manifest knows it.

        Raises:
          InputError: if it cannot be read.
        """
        part, number = self._place(index)
        return part.digest(number)

    def title(self, index: int) -> str:
        """Returns where an image lies, for messages."""
        part, number = self._place(index)
        return part.title(number)

    def version(self, index: int) -> tuple:
        """Returns what changes when the image may have changed."""
        part, number = self._place(index)
        return part.version(number)

    def data(self, index: int) -> bytes:
        """Returns an image file's content.

        Raises:
          InputError: if it cannot be read; the message names it and a remedy.
        """
        part, number = self._place(index)
        return part.data(number)

    def _place(self, index: int) -> tuple["Folder | RecordFile", int]:
        at = int(self._chosen[index])
        part = int(np.searchsorted(self._ends, at, side="right"))
        return self._parts[part], at - int(self._ends[part]) + len(self._parts[part])

    def _all(self, what: str) -> list[str]:
        places = map(self._place, range(len(self)))
        return [getattr(part, what)(number) for part, number in places]


def open_images(
    where: str | Path | Sequence[str | Path],
    remedy: str,
    bundled_folder: Path | None = None,
) -> Images:
    """Opens a collection of images.

    Args:
      where: one part or a sequence of parts, put one after the other (a part named
        twice counts twice). A part is a folder of images, an `.array_record` file, a
        folder of such files (subfolders included, both times), or "bundled". A
        record is the bytes of an image file.
      remedy: what to do about a wrong `where`, such as "set --data to a folder".
      bundled_folder: what "bundled" stands for.

    Raises:
      InputError: if a part does not exist, holds no image, lacks a shard or is not as
        its manifest says.
    """
    parts = [where] if isinstance(where, str | Path) else list(where)
    if not parts:
        raise InputError(f"no folder is named; {remedy}")
    paths = [
        bundled_folder
        if bundled_folder and str(part) == "bundled"
        else Path(part).expanduser()
        for part in parts
    ]
    images = Images([part for path in paths for part in _open_part(path, remedy)])
    if not len(images):
        raise InputError(f"{paths[0]}: holds no record; {remedy}")
    return images


class Folder:
    """Image files by their paths below a folder."""

    def __init__(self, folder: Path, names: Sequence[str]):
        self._folder, self._names = str(folder), list(names)

    def __len__(self) -> int:
        return len(self._names)

    def name(self, number: int) -> str:
        """The path below the folder, with forward slashes."""
        return self._names[number]

    def fact(self, number: int) -> str:
        """That path and the file's size in bytes."""
        return f"{self._names[number]} {self._status(number).st_size}"

    def digest(self, number: int) -> str:
        """Hex digits of the SHA-256 of its content; InputError if it cannot be read."""
        status, path = self._status(number), Path(self.title(number))
        return content_hash_of_file(
            path, 0, status.st_size, status.st_mtime_ns, lambda: self.data(number)
        )

    def title(self, number: int) -> str:
        """The file's path."""
        # For every image read: joining paths as `Path` does takes longer than opening.
        return os.path.join(self._folder, self._names[number])

    def version(self, number: int) -> tuple:
        """Changes when the file does."""
        status = self._status(number)
        return self.title(number), status.st_size, status.st_mtime_ns

    def data(self, number: int) -> bytes:
        """The file's content; InputError if it cannot be read."""
        return read_bytes(self.title(number))

    def _status(self, number: int) -> os.stat_result:
        try:
            return os.stat(self.title(number))
        except OSError as error:
            raise InputError(
                f"{self.title(number)}: cannot be read ({error.strerror}); put it back"
            ) from None


def _open_part(path: Path, remedy: str) -> Sequence[Folder | RecordFile]:
    if path.suffix == SUFFIX and not os.path.isdir(path):
        if not os.path.isfile(path):
            raise InputError(f"{path}: no such file; {remedy}")
        return [RecordFile(path, path.name)]
    if os.path.isfile(path):
        raise InputError(f"{path}: a file, and no {SUFFIX}; {remedy}")
    if not os.path.isdir(path):
        raise InputError(f"{path}: no such folder (looked from {Path.cwd()}); {remedy}")
    names = names_below(path, SUFFIXES | {SUFFIX})
    if not names:
        known = " ".join(sorted(SUFFIXES))
        raise InputError(
            f"{path}: holds no image (files ending in {known} or {SUFFIX}); {remedy}"
        )
    shards = [name for name in names if name.lower().endswith(SUFFIX)]
    if not shards:
        return [Folder(path, names)]
    if len(shards) < len(names):
        raise InputError(f"{path}: holds images and ArrayRecord files; keep one kind")
    check_complete(path, shards)
    return [RecordFile(path / name, name) for name in shards]


class Photos:
    """The photos of a collection as a sequence.

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

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "H W 3"]:
        try:
            data = self._images.data(index)
            return decode_photo(data, self._images.title(index))
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


def open_photos(
    where: str | Path | Sequence[str | Path], skip_unreadable: bool = False
) -> Photos:
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
        decode_photo(images.data(index), images.title(index))
    except Unreadable as error:
        problem = str(error)
    else:
        problem = None
    _problems[version] = problem
    return problem
