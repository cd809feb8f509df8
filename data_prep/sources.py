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

from dear_jax.errors import InputError, Unreadable
from dear_jax.images.io import SUFFIXES, names_below, read_bytes


@dataclass(frozen=True, slots=True)
class File:
    """An image: its path in the source, its size in bytes, and how to ask for it.

    `version` changes when the file does, even if its size stays.
    """

    name: str
    size: int
    where: Any
    version: int = 0


def open_source(path: Path) -> "FolderSource | ZipSource":
    """Opens a folder or a .zip archive of images.

    Raises:
      InputError: if there is neither at `path`.
    """
    if os.path.isdir(path):
        return FolderSource(path)
    if ".tar" in path.suffixes[-2:] or path.suffix in (".tgz", ".tbz2", ".txz"):
        raise InputError(f"{path}: unpack it first, then give its folder")
    try:
        if path.is_file() and zipfile.is_zipfile(path):
            return ZipSource(path)
        there = path.exists()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be looked at ({error.strerror}); make it readable"
        ) from None
    what = "neither a folder nor a .zip archive" if there else "no such source"
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
            File(name, *self._facts(name))
            for name in names_below(self._folder, SUFFIXES)
        ]

    def read(self, where: str) -> bytes:
        """Returns the bytes of a file.

        Raises:
          InputError: if it cannot be read.
        """
        return read_bytes(self._folder / where)

    def place(self, where: str) -> str:
        """Returns the path of a file."""
        return str(self._folder / where)

    def _facts(self, name: str) -> tuple[int, str, int]:
        try:
            status = os.stat(self._folder / name)
            return status.st_size, name, status.st_mtime_ns
        except FileNotFoundError:
            raise InputError(
                f"{self._folder / name}: a link to nowhere, or gone; remove it or put "
                "back what it stands for"
            ) from None
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
            File(entry.filename, entry.file_size, entry.filename, entry.CRC)
            for entry in self._open().infolist()
            if not entry.is_dir() and _is_shown(entry.filename)
        ]

    def read(self, where: str) -> bytes:
        """Returns the bytes of a file.

        Raises:
          Unreadable: if it is damaged.
          InputError: if the archive cannot be read.
        """
        archive = self._open()
        try:
            return archive.read(where)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise Unreadable(
                f"{self.place(where)}: damaged ({error}); download it again"
            ) from None
        except (
            KeyError,
            NotImplementedError,  # A method of compression that Python lacks.
            OSError,
            RuntimeError,  # A password is wanted.
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
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not hidden
