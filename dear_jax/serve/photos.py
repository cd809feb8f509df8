"""Photos on the server: files of a private folder that goes with the process.

A photo has a folder of its own with its file as it came, its mask, the damage found and
the newest result. It is removed after an hour in which nobody asked for it.
"""

import io
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from dear_jax.errors import InputError
from dear_jax.files import printable
from dear_jax.images.decode import with_bits
from dear_jax.images.io import FORMATS, SUFFIXES, ImageFile, read_image, write_photo
from dear_jax.images.masks import decode_mask, read_mask
from dear_jax.serve.schema import Options

PREFIX, LOCK = "dear-serve-", "running"
MAX_BYTES, MAX_PIXELS = 300 << 20, 200_000_000
MAX_PHOTOS = 500
IDLE = 3600.0  # Seconds.
# Photos whose pixels are kept in memory, of so many pixels together.
_HELD = 60_000_000
_LONGEST_NAME = 120
_NEW = 60  # Seconds.
_ROOM = 1 << 30  # Bytes of the disk that stay free.


class Restored(NamedTuple):
    """What was made of a photo.

    Attributes:
      file: the result.
      mask: the file of the mask that was used.
      size: (h, w).
      level: of degradation that it was restored at.
      options: how.
      remarks: sentences about it.
      revision: the photo's when it was made.
    """

    file: Path
    mask: Path
    size: tuple[int, int]
    level: float
    options: Options
    remarks: list[str]
    revision: int


@dataclass(eq=False)
class StoredPhoto:
    """A photo and all that belongs to it.

    Attributes:
      id: a random name, which nobody can guess.
      visitor: whose it is.
      file: as it came.
      about: all that its file holds but the pixels.
      mask, damage, revision: how often each was changed; 0: there is none.
      restored: the newest result, or None.
      used: when somebody last asked for it.
    """

    id: str
    visitor: str
    file: Path
    size: tuple[int, int]
    about: dict[str, Any]
    mask: int = 0
    damage: int = 0
    revision: int = 0
    restored: Restored | None = None
    used: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """Of its file."""
        return self.file.name

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.file.parent.parent

    @property
    def mask_file(self) -> Path:
        """Where its mask lies, or would."""
        return self.folder / "mask.png"

    @property
    def damage_file(self) -> Path:
        """Where the damage found lies, or would."""
        return self.folder / "damage.png"

    def read_mask(self) -> Bool[np.ndarray, "H W"]:
        """What is marked, True = missing."""
        return read_mask(self.mask_file) if self.mask else np.zeros(self.size, bool)


class PhotoStore:
    """All photos of the server.

    Args:
      parent: the folder in which its private one is made; None: the system's for
        temporary files.
    """

    def __init__(self, parent: Path | None = None):
        parent = Path(parent or tempfile.gettempdir())
        remove_left_over(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._lock_file = _locked(self.folder / LOCK)
        self._photos: OrderedDict[str, StoredPhoto] = OrderedDict()
        self._held: OrderedDict[Path, ImageFile] = OrderedDict()
        self._lock = threading.RLock()
        # Decoding takes much memory: one photo after the other.
        self._decoding = threading.Lock()

    def add(self, data: Path, name: str, visitor: str) -> StoredPhoto:
        """Adds a photo.

        Args:
          data: its file, which is moved.
          name: that the visitor gave it.
          visitor: whose it is.

        Raises:
          InputError: if it is no photo that can be read, or too large.
        """
        name = safe_name(name)
        with self._lock:
            if len(self._photos) >= MAX_PHOTOS:
                raise InputError(f"{name}: {MAX_PHOTOS} photos are open; remove some")
        if shutil.disk_usage(self.folder).free < _ROOM:
            raise InputError(f"{name}: the disk is nearly full; make room on it")
        key = secrets.token_urlsafe(12)
        file = self.folder / key / "photo" / name
        file.parent.mkdir(parents=True)
        try:
            shutil.move(data, file)
            check_pixels(file, name)
            with self._decoding:
                image = read_named(file, name)
            about = {
                "bits": image.bits,
                "grey": image.grey,
                "format": image.format,
                "remarks": list(image.metadata.remarks),
            }
            photo = StoredPhoto(key, visitor, file, image.size, about)
            with self._lock:
                self._photos[key] = photo
                self._hold(file, image)
            return photo
        except BaseException:
            shutil.rmtree(file.parent.parent, ignore_errors=True)
            raise

    def find(self, key: str) -> StoredPhoto:
        """The photo of that name.

        Raises:
          KeyError: if there is none.
        """
        with self._lock:
            photo = self._photos[key]
            photo.used = time.monotonic()
            return photo

    def of_visitor(self, visitor: str) -> list[StoredPhoto]:
        """A visitor's photos, oldest first."""
        with self._lock:
            return [p for p in self._photos.values() if p.visitor == visitor]

    def remove(self, photo: StoredPhoto) -> None:
        """Removes a photo and its files."""
        with self._lock:
            self._photos.pop(photo.id, None)
            for file in [f for f in self._held if photo.folder in f.parents]:
                del self._held[file]
        shutil.rmtree(photo.folder, ignore_errors=True)

    def image(self, file: Path) -> ImageFile:
        """What is in a photo's or a result's file."""
        with self._lock:
            if file in self._held:
                self._held.move_to_end(file)
                return self._held[file]
        with self._decoding:
            image = read_image(file)
        with self._lock:
            self._hold(file, image)
        return image

    def set_mask(self, photo: StoredPhoto, data: bytes | None) -> None:
        """Sets what is marked in a photo.

        Args:
          photo: it.
          data: an image file, white = missing; None: nothing is.

        Raises:
          InputError: if it is no mask of the photo's size.
        """
        if data is not None:
            mask = decode_mask(data, "mask")
            _check_size(mask, photo)
            write_photo(photo.mask_file, mask.astype(np.uint8) * 255)
        with self._lock:
            photo.revision += 1
            photo.mask = photo.revision if data is not None else 0

    def remove_idle(
        self,
        seconds: float = IDLE,
        busy: Callable[[StoredPhoto], bool] = lambda photo: False,
    ) -> None:
        """Removes photos that nobody has asked for, but for those that are `busy`."""
        before = time.monotonic() - seconds
        for photo in list(self._photos.values()):
            if photo.used < before and not busy(photo):
                self.remove(photo)

    def close(self) -> None:
        """Removes everything."""
        self._lock_file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _hold(self, file: Path, image: ImageFile) -> None:
        self._held[file] = image
        while len(self._held) > 1 and _pixels(self._held) > _HELD:
            self._held.popitem(last=False)


def picture(
    image: ImageFile, window: tuple[float, float, float, float], size: tuple[int, int]
) -> Image.Image:
    """A part of a photo in 8 bits, as it is shown.

    Args:
      image: the photo.
      window: (top, left, bottom, right), pixels of it; fractions are allowed.
      size: of the picture, (h, w); larger than the window: its pixels are squares.
    """
    height, width = image.size
    top, left, bottom, right = window
    y, x = max(0, int(top)), max(0, int(left))
    cut = np.s_[
        y : min(height, int(-(-bottom // 1))), x : min(width, int(-(-right // 1)))
    ]
    pixels = shown(image, cut)
    box = (left - x, top - y, right - x, bottom - y)
    enlarged = size[0] > bottom - top or size[1] > right - left
    way = Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX
    whole = box == (0, 0, pixels.shape[1], pixels.shape[0])
    drawn = Image.fromarray(pixels)
    if whole and size == pixels.shape[:2]:
        return drawn
    return drawn.resize((size[1], size[0]), way, box)


def shown(image: ImageFile, cut: Any = np.s_[:, :]) -> UInt8[np.ndarray, "H W 3"]:
    """A photo's pixels in 8 bits; what is transparent shows white."""
    pixels = with_bits(np.ascontiguousarray(image.pixels[cut]), 8)
    if not image.transparent:
        return pixels
    assert image.alpha is not None
    alpha = with_bits(image.alpha[cut], 8)[..., None].astype(np.uint16)
    return ((pixels * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def safe_name(name: str) -> str:
    """A file's name without folders or what file systems refuse, with a suffix."""
    name = PurePosixPath(printable(name).replace("\\", "/")).name
    name = "".join("_" if c in '<>:"|?*' or ord(c) < 32 else c for c in name)
    stem, suffix = os.path.splitext(name.strip(". "))
    if suffix.lower() not in SUFFIXES | FORMATS.keys():
        stem, suffix = stem + suffix, ""
    return (stem[:_LONGEST_NAME] or "photo") + (suffix or ".png")


def check_pixels(file: Path, name: str) -> None:
    """Checks how large a photo is by its file's head, before it is decoded.

    Raises:
      InputError: if it has too many pixels.
    """
    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise InputError(f"{name}: more than {MAX_PIXELS:,} pixels") from None
    except Exception:
        return  # Decoding says what is wrong with it.
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width} x {height} are more than {MAX_PIXELS:,} pixels; make it "
            "smaller, or take the command dear restore"
        )


def read_named(file: Path, name: str) -> ImageFile:
    """Reads a photo; an InputError has its name in place of its path."""
    try:
        return read_image(file)
    except InputError as error:
        raise InputError(str(error).replace(str(file), name)) from None


def remove_left_over(parent: Path) -> None:
    """Removes the folders of servers that were killed."""
    for folder in parent.glob(PREFIX + "*"):
        with suppress(OSError):
            # One that another server makes at this moment has no lock yet.
            new = time.time() - folder.stat().st_mtime < _NEW
            if new and not (folder / LOCK).exists():
                continue
            _locked(folder / LOCK).close()
            shutil.rmtree(folder, ignore_errors=True)


def _locked(path: Path) -> Any:
    """A file that no other process can have like this.

    Raises:
      OSError: if another has.
    """
    if os.name == "nt":  # There an open file cannot be removed.
        with suppress(FileNotFoundError):
            path.unlink()
        return open(path, "w")
    import fcntl

    file = open(path, "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _check_size(mask: Bool[np.ndarray, "h w"], photo: StoredPhoto) -> None:
    if mask.shape != photo.size:
        (height, width), (own, wide) = mask.shape, photo.size
        raise InputError(
            f"the mask is {width} x {height} pixels and the photo {wide} x {own}; give "
            "a mask of the photo's size"
        )


def _pixels(held: OrderedDict[Path, ImageFile]) -> int:
    return sum(image.pixels.shape[0] * image.pixels.shape[1] for image in held.values())
