"""PyTorch tensors and NumPy arrays inside pickles, and making arrays of them.

Reading a pickle gives records of what each tensor is (`Tensor`, `Array`), in any
order and before its numbers are at hand; `resolved` then makes arrays of them.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dear_jax.convert.unpickle import Record, short

# NumPy's names; others can stand for structures of any size.
_CODES = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split()


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
            raise ValueError(f"a tensor with the sizes and strides {short(numbers)}")
        if len(self.shape) != len(self.strides) or len(data) != self.storage.size:
            raise ValueError(f"storage {self.storage.key} of {len(data)} bytes")
        if math.prod(self.shape) > self.storage.count:
            raise ValueError(
                f"a tensor {self.shape} of {self.storage.count} stored numbers"
            )
        dtype = self.storage.dtype
        steps = tuple(stride * dtype.itemsize for stride in self.strides)
        start = self.offset * dtype.itemsize
        # With a buffer NumPy itself refuses what does not lie within.
        array = np.ndarray(self.shape, dtype, data, start, steps)
        return array if byte_order == sys.byteorder else array.byteswap()


class DType(Record):
    """A NumPy dtype: its code, such as "f4", then its byte order."""

    def __init__(self, code: str, *_: Any):
        if code not in _CODES:
            raise ValueError(f"an array of dtype {short(code)}")
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
            raise ValueError(f"an array of shape {short(shape)}")
        self.made = flat.reshape(shape, order="F" if columns_first else "C")

    def array(self) -> np.ndarray:
        """The array in this machine's byte order.

        Raises:
          ValueError: if its numbers never came.
        """
        if self.made is None:
            raise ValueError("an array without numbers")
        return self.made.astype(self.made.dtype.newbyteorder("="), copy=False)


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
