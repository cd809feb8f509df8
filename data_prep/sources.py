"""Listing and reading the images of a folder or a .zip archive.

A source has `files()`, its images as `File`s; `read(where)`, the bytes of one; and
`place(where)`, words for a person to find it by. It is picklable: every process
opens the archive for itself.
"""

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from dear_jax import photo
from dear_jax.errors import InputError


@dataclass(frozen=True, slots=True)
class File:
    """An image: its path in the source, its size in bytes, and how to ask for it."""

    name: str
    size: int
    where: Any


def open_source(path: Path) -> "FolderSource | ZipSource":
    """Opens a folder or a .zip archive of images.

    Raises:
      InputError: if there is neither at `path`.
    """
    if path.is_dir():
        return FolderSource(path)
    if path.is_file() and zipfile.is_zipfile(path):
        return ZipSource(path)
    what = "neither a folder nor a .zip archive" if path.exists() else "no such source"
    raise InputError(
        f"{path}: {what} (looked from {Path.cwd()}); give a folder of images"
    )


class FolderSource:
    """The images in a folder and its subfolders, linked ones included."""

    def __init__(self, folder: Path):
        self._folder = folder

    def files(self) -> list[File]:
        """Returns the images; hidden files are passed over.

        Raises:
          InputError: if a folder or a file may not be looked at.
        """
        return [
            File(name, self._size(name), name)
            for name in photo.names_below(self._folder, photo.SUFFIXES)
        ]

    def read(self, where: str) -> bytes:
        """Returns the bytes of a file.

        Raises:
          InputError: if it cannot be read.
        """
        return photo.read_bytes(self._folder / where)

    def place(self, where: str) -> str:
        """Returns the path of a file."""
        return str(self._folder / where)

    def _size(self, name: str) -> int:
        try:
            return os.stat(self._folder / name).st_size
        except FileNotFoundError:  # A link to nowhere, reported when it is read.
            return 0
        except OSError as error:
            raise InputError(
                f"{error.filename}: cannot be looked at ({error.strerror}); mend it"
            ) from None


class ZipSource:
    """The images in a .zip archive."""

    def __init__(self, path: Path):
        self._path = path
        self._archive = None

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_archive": None}

    def files(self) -> list[File]:
        """Returns the images; hidden files are passed over.

        Raises:
          InputError: if the archive is damaged.
        """
        return [
            File(entry.filename, entry.file_size, entry.filename)
            for entry in self._open().infolist()
            if not entry.is_dir() and _is_shown(entry.filename)
        ]

    def read(self, where: str) -> bytes:
        """Returns the bytes of a file.

        Raises:
          InputError: if it cannot be read.
        """
        archive = self._open()
        try:
            return archive.read(where)
        except (
            KeyError,
            NotImplementedError,  # A method of compression that Python lacks.
            OSError,
            RuntimeError,  # A password is wanted.
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise InputError(
                f"{self.place(where)}: cannot be read ({error}); download it again"
            ) from None

    def place(self, where: str) -> str:
        """Returns the archive and the name of a file in it."""
        return f"{self._path}: {where}"

    def _open(self) -> zipfile.ZipFile:
        if self._archive is None:
            try:
                self._archive = zipfile.ZipFile(self._path)
            except (OSError, zipfile.BadZipFile) as error:
                raise InputError(
                    f"{self._path}: cannot be read as an archive ({error}); "
                    "download it again"
                ) from None
        return self._archive


def _is_shown(name: str) -> bool:
    """Whether a path is an image without a hidden part, as macOS adds them."""
    parts = PurePosixPath(name).parts
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return PurePosixPath(name).suffix.lower() in photo.SUFFIXES and not hidden
