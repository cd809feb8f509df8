"""Finding, reading and writing files of photos and masks.

Photos are uint8 [H, W, 3] RGB; masks are boolean [H, W], True where the photo is
missing. What is in the files becomes that in `dear_jax.images.decoding`.
"""

import os
from collections.abc import Iterator, Set
from pathlib import Path

import numpy as np
from PIL import Image

from dear_jax.errors import InputError
from dear_jax.files import TOO_MANY_OPEN, replacing, too_many_open
from dear_jax.images.decoding import decode_mask, decode_photo

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm"}
)


def list_photos(folder: str | Path) -> list[Path]:
    """Returns the image files in `folder` and its subfolders, sorted by path.

    Hidden files and folders (`.name`) are passed over, linked ones are not.

    Raises:
      InputError: if the folder does not exist or holds no image.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder; give a folder of images")
    photos = [folder / name for name in names_below(folder, SUFFIXES)]
    if not photos:
        known = " ".join(sorted(SUFFIXES))
        raise InputError(f"{folder}: holds no image; expected files ending in {known}")
    return photos


def names_below(folder: Path, suffixes: Set[str], recursive: bool = True) -> list[str]:
    """Returns paths below a folder, with forward slashes, of files that end so.

    They are sorted by their parts, alike on every machine. Hidden files and folders
    are passed over, linked ones are not. Without `recursive` so are folders.

    Raises:
      InputError: if a folder may not be listed.
    """
    try:
        found = _walk(folder, "", suffixes, frozenset(), recursive)
        return sorted(found, key=lambda name: name.split("/"))
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be listed ({error.strerror}); make it readable"
        ) from None


def read_photo(path: str | Path) -> np.ndarray:
    """Reads a photo as uint8 [H, W, 3] RGB; see `decode_photo`.

    Raises:
      InputError: if the file is missing, empty or not an image that can be read.
    """
    return decode_photo(read_bytes(path), path)


def read_mask(path: str | Path) -> np.ndarray:
    """Reads a mask as bool [H, W], True = missing; see `decode_mask`.

    Raises:
      InputError: if the file is missing, empty or not a mask that can be read.
    """
    return decode_mask(read_bytes(path), path)


def read_bytes(path: str | Path) -> bytes:
    """Returns what is in a file.

    Raises:
      InputError: if it is missing, a folder or may not be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check its name") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder; give one image file") from None
    except OSError as error:
        if too_many_open(error):
            raise InputError(f"{path}: {TOO_MANY_OPEN}") from None
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); make it readable"
        ) from None


def write_photo(path: str | Path, photo: np.ndarray) -> None:
    """Writes a uint8 photo [H, W, 3] or [H, W]; an existing file is replaced whole."""
    with replacing(path) as partial:
        Image.fromarray(photo).save(partial)


def _walk(
    folder: str | Path,
    prefix: str,
    suffixes: Set[str],
    above: frozenset,
    recursive: bool = True,
) -> Iterator[str]:
    status = os.stat(folder)
    here = status.st_dev, status.st_ino
    if here in above:  # A link back to a folder above.
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if not recursive:
                    continue
                yield from _walk(entry.path, f"{name}/", suffixes, above | {here})
            elif os.path.splitext(name)[1].lower() in suffixes:
                yield name
