"""PyTorch tensors and NumPy arrays inside pickles: the names allowed, and the arrays.

Reading a pickle gives records of what each tensor is (`Tensor`, `Array`), in any
order and before its numbers are at hand; `resolved` then makes arrays of them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from dear_jax.convert.unpickle import Inert, Name, Record, checked_key

_STORAGES = {
    "Half": np.float16,
    "BFloat16": ml_dtypes.bfloat16,
    "Float": np.float32,
    "Double": np.float64,
    "Char": np.int8,
    "Short": np.int16,
    "Int": np.int32,
    "Long": np.int64,
    "Byte": np.uint8,
    "Bool": np.bool_,
}

# NumPy's names; others can stand for structures of any size.
_CODES = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split()

# Objects beside the tensors in checkpoints, e.g. Lightning's: nothing we need.
_INERT_PACKAGES = (
    "pytorch_lightning.",
    "lightning.",
    "lightning_fabric.",
    "omegaconf.",
    "typing.",
    "pathlib.",
)
_INERT = {
    "argparse.Namespace",
    "collections.Counter",
    "collections.defaultdict",
    *(
        f"{module}.{kind}"
        for module in ("builtins", "__builtin__")
        for kind in ("bool", "dict", "float", "int", "list", "set", "str", "tuple")
    ),
}


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file, under `key`."""

    dtype: np.dtype
    key: str
    count: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class Tensor(Record):
    """A view of a storage: what PyTorch's tensors are. Counts are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, data: bytes, byte_order: str) -> np.ndarray:
        """The view of `data`, all of the storage.

        Raises:
          ValueError: if it does not lie within the storage.
        """
        numbers = (self.offset, *self.shape, *self.strides)
        if not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError(f"a tensor with the sizes and strides {numbers}")
        if len(self.shape) != len(self.strides) or len(data) != self.storage.size:
            raise ValueError(f"storage {self.storage.key} of {len(data)} bytes")
        if math.prod(self.shape) > self.storage.count:
            raise ValueError(f"a tensor {self.shape} of {self.storage.count} numbers")
        dtype = self.storage.dtype
        # With a buffer NumPy itself refuses what does not lie within.
        stored = dtype if byte_order == "little" else dtype.newbyteorder(">")
        steps = tuple(stride * dtype.itemsize for stride in self.strides)
        start = self.offset * dtype.itemsize
        array = np.ndarray(self.shape, stored, data, start, steps)
        return array.astype(dtype, copy=False)


class DType(Record):
    """A NumPy dtype: its code, such as "f4", then its byte order."""

    def __init__(self, code: str, *_: Any):
        if code not in _CODES:
            raise ValueError(f"an array of dtype {code}")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Takes (version, byte order, ...)."""
        order = str(state[1])
        if order in "<>" and self.dtype.itemsize > 1:
            self.dtype = self.dtype.newbyteorder(order)


class Array(Record):
    """A NumPy array: shape, dtype and bytes, told in one piece or by `set_state`."""

    def __init__(self, *_: Any):
        self.made: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        """Takes (version, shape, dtype, whether columns come first, bytes)."""
        _, shape, dtype, columns_first, data = state
        data = data.encode("latin-1") if isinstance(data, str) else data
        flat = np.frombuffer(data, dtype.dtype)
        if any(side < 0 for side in shape):
            raise ValueError(f"an array of shape {shape}")
        self.made = flat.reshape(shape, order="F" if columns_first else "C")

    def array(self) -> np.ndarray:
        """The array in this machine's byte order.

        Raises:
          ValueError: if its numbers never came.
        """
        if self.made is None:
            raise ValueError("an array without numbers")
        return self.made.astype(self.made.dtype.newbyteorder("="), copy=False)


def find(name: str) -> Name | None:
    """The names that checkpoints may refer to; see `unpickle.Find`."""
    # NumPy 2 moved its internals.
    alias = name.replace("numpy._core.", "numpy.core.")
    if alias in _MADE:
        return Name(name, _MADE[alias])
    if name in _INERT or name.startswith(_INERT_PACKAGES):
        return Name(name, Inert)
    return None


def storage_of(identity: Any) -> Storage:
    """Reads a persistent id, ("storage", its type, key, device, count, view)."""
    kind, type_name, key, _, count, *view = identity
    dtype = _DTYPES.get(getattr(type_name, "name", None))
    if kind != "storage" or dtype is None or type(count) is not int or count < 0:
        raise ValueError(f"a storage {identity}")
    if view not in ([], [None]):
        raise ValueError("a storage that is part of another")
    return Storage(dtype, str(key), count)


def resolved(
    content: Any, read: Callable[[Storage], bytes], byte_order: str = "little"
) -> Any:
    """Replaces every record of a tensor or array by the array.

    Args:
      content: what `unpickle` gave.
      read: storage -> its bytes, asked once a storage.
      byte_order: of the storages, "little" or "big".

    Returns:
      The same dicts, lists and tuples, with arrays. They are views: read only, not
      always contiguous.

    Raises:
      ValueError: for a tensor that does not lie within its storage.
    """
    done: dict[int, Any] = {}
    bytes_of: dict[Storage, bytes] = {}

    def walk(value: Any) -> Any:
        # Once each: a pickle can share what it holds, and hold itself.
        if id(value) not in done:
            done[id(value)] = made(value)
        return done[id(value)]

    def made(value: Any) -> Any:
        if isinstance(value, Tensor):
            storage = value.storage
            if storage not in bytes_of:
                bytes_of[storage] = read(storage)
            return value.array(bytes_of[storage], byte_order)
        if isinstance(value, Array):
            return value.array()
        if isinstance(value, dict):
            done[id(value)] = copy = {}
            copy.update((key, walk(item)) for key, item in value.items())
            return copy
        if isinstance(value, list):
            done[id(value)] = copy = []
            copy.extend(map(walk, value))
            return copy
        return tuple(map(walk, value)) if isinstance(value, tuple) else value

    try:
        return walk(content)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _tensor(storage, offset, shape, strides, *_) -> Tensor:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor, *_) -> Any:
    return tensor


def _array(data, dtype, shape, order="C") -> Array:
    if not isinstance(data, bytes | bytearray):
        raise TypeError(f"a {type(data).__name__} as the numbers of an array")
    array = Array()
    array.set_state((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype, data) -> Array:
    return _array(data, dtype, ())


def _mapping(pairs=()) -> dict:
    return {checked_key(key): value for key, value in pairs}


def _encoded(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"text in {encoding}")
    return text.encode("latin-1")


def _device(*parts: Any) -> str:
    return ":".join(map(str, parts))


_DTYPES = {
    "torch.storage.UntypedStorage": np.dtype(np.uint8),
    **{f"torch.{kind}Storage": np.dtype(dtype) for kind, dtype in _STORAGES.items()},
}
_MADE: dict[str, Callable[..., Any]] = {
    # As types these are only told apart by name.
    **dict.fromkeys(_DTYPES, Inert),
    "numpy.ndarray": Inert,
    "collections.OrderedDict": _mapping,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
    "torch.device": _device,
    "numpy.dtype": DType,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array,
    "_codecs.encode": _encoded,
}
