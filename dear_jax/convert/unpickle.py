"""Unpickles plain data and arrays without running what a pickle names.

Python's unpickler imports and calls what a file names, so a checkpoint could do
whatever its maker likes. The one here knows a short list of names, each of which
makes plain data or an array; any other name, and any opcode that plain data does not
need, ends the reading.
"""

import io
import math
import pickle
import reprlib
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, NoReturn, TypeAlias, cast

import ml_dtypes
import numpy as np

from dear_jax.errors import InputError

File: TypeAlias = io.BufferedReader | io.BytesIO

_STORAGES = {
    f"torch.{name}Storage": np.dtype(kind)
    for name, kind in (
        *(("Half", "f2"), ("BFloat16", ml_dtypes.bfloat16), ("Float", "f4")),
        *(("Double", "f8"), ("Char", "i1"), ("Short", "i2"), ("Int", "i4")),
        *(("Long", "i8"), ("Byte", "u1"), ("Bool", "b1"), ("storage.Untyped", "u1")),
    )
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


def short(value: Any) -> str:
    """A value for a message; a nested one could be written out forever."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits.
        return f"a long {type(value).__name__}"


class Storage(NamedTuple):
    """The numbers that tensors are views of, in this machine's byte order."""

    dtype: np.dtype
    count: int
    data: bytes | bytearray


class _DType:
    """A NumPy dtype: its code, such as "f4", then its byte order."""

    def __init__(self, code: Any, *_: Any):
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


def _refuse(complaint: str) -> NoReturn:
    raise InputError(
        f"{complaint}; nothing of it was run. Checkpoints hold tensors and plain data "
        "only: ask its authors for the plain state_dict"
    )


def _refuse_opcode(unpickler: "Unpickler") -> None:
    _refuse("uses an opcode that plain data does not need")


# Python's unpickler in Python. That in C could not be kept from opcodes, from sharing
# tuples so that their hash takes forever, and from a memo of any size.
class Unpickler(pickle._Unpickler):
    """Unpickles plain data and arrays.

    Args:
      file: where the pickle begins; it is read to the pickle's end and no further.
      size: bytes of the whole file. What is made of it may take twice as many.
      read_storage: (key, dtype, bytes) -> the numbers of a storage; without it there
        may be none.
    """

    # Of Python's unpickler, which type checkers are not told.
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        **dict.fromkeys(range(256), _refuse_opcode),
        **{code: pickle._Unpickler.dispatch[code] for code in _OPCODES},
        # Without bytearrays: they would be made before it is known that they are full.
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
    }

    def __init__(self, file: File, size: int, read_storage: Callable | None = None):
        super().__init__(file, encoding="latin-1")
        self.left, self.read_storage = 2 * size, read_storage
        self.storages: dict[str, Storage] = {}
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

    def persistent_load(self, identity: Any) -> Storage:
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
            self.storages[key] = Storage(dtype, count, data)
        storage = self.storages[key]
        if (storage.dtype, storage.count) != (dtype, count):
            raise ValueError(f"storage {key[:99]!r} of two kinds")
        return storage

    def spend(self, size: int) -> None:
        """Counts bytes that are made: a small file must not fill the memory."""
        self.left -= size
        if self.left < 0:
            raise ValueError("more numbers than bytes")

    def encoded(self, text: Any, encoding: Any) -> bytes:
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
            target.__setstate__(cast(Any, made.__reduce__()[2]))
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
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    (start,), shape, strides = _size((offset,)), _size(shape), _size(strides)
    if math.prod(shape) > storage.count:
        raise ValueError(f"a tensor {shape} of {storage.count} stored numbers")
    step = storage.dtype.itemsize
    strides = tuple(step * stride for stride in strides)
    # With a buffer NumPy itself refuses what does not lie within.
    return np.ndarray(shape, storage.dtype, storage.data, step * start, strides)
