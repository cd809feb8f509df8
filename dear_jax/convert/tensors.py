"""PyTorch tensors and NumPy arrays inside pickles, and making arrays of them.

Reading a pickle gives records of what each tensor is (`Tensor`, `Array`), in any
order and before its numbers are at hand; `resolved` then makes arrays of them. A small
file can refer to the same numbers over and over, so they are made only once.
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
# NumPy's limits.
_MOST_SIDES = 64
_LARGEST = 2**63


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


@dataclass(frozen=True, eq=False, repr=False)
class Tensor(Record):
    """A view of a storage: what PyTorch's tensors are. Counts are in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, data: bytes) -> np.ndarray:
        """The view of `data`, all of the storage in this machine's byte order.

        Raises:
          ValueError: if it does not lie within the storage.
        """
        numbers = (self.offset, *self.shape, *self.strides)
        if len(numbers) > 1 + 2 * _MOST_SIDES or not all(
            type(n) is int and 0 <= n < _LARGEST for n in numbers
        ):
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
        return np.ndarray(self.shape, dtype, data, start, steps)


class DType(Record):
    """A NumPy dtype: its code, such as "f4", then its byte order."""

    def __init__(self, code: str, *_: Any):
        if not isinstance(code, str) or code not in _CODES:
            raise ValueError(f"an array of dtype {short(code)}")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Takes (version, byte order, ...)."""
        order = state[1]
        if not isinstance(order, str) or order not in ("<", ">", "|", "="):
            raise ValueError(f"the byte order {short(order)}")
        if order in "<>" and self.dtype.itemsize > 1:
            self.dtype = self.dtype.newbyteorder(order)


@dataclass(frozen=True, eq=False, repr=False)
class Text(Record):
    """Bytes written as a text of Latin-1."""

    text: str


class Array(Record):
    """A NumPy array: shape, dtype and bytes, told in one piece or by `set_state`."""

    def __init__(self, *_: Any):
        self.state: tuple | None = None

    def set_state(self, state: Any) -> None:
        """Takes (version, shape, dtype, whether columns come first, bytes)."""
        _, shape, dtype, columns_first, data = state
        if len(shape) > _MOST_SIDES or any(side < 0 for side in shape):
            raise ValueError(f"an array of shape {short(shape)}")
        order = "F" if columns_first else "C"
        self.state = shape, dtype.dtype, order, data

    def array(self, numbers: Callable[[Any, np.dtype], np.ndarray]) -> np.ndarray:
        """The array, of what `numbers` makes of its data and dtype.

        Raises:
          ValueError: if its numbers never came or do not fit its shape.
        """
        if self.state is None:
            raise ValueError("an array without numbers")
        shape, dtype, order, data = self.state
        return numbers(data, dtype).reshape(shape, order=order)


class _Numbers:
    """The numbers that tensors and arrays view, each made once."""

    def __init__(self, read: Callable[[Storage], bytes], byte_order: str):
        self.read, self.swapped = read, byte_order != sys.byteorder
        self.storages: dict[Storage, bytes] = {}
        self.texts: dict[int, bytes] = {}
        self.flat: dict[tuple[int, np.dtype], np.ndarray] = {}

    def of_storage(self, storage: Storage) -> bytes:
        """All of a storage in this machine's byte order."""
        if storage not in self.storages:
            data = self.read(storage)
            if self.swapped and len(data) == storage.size:
                array = np.ndarray((storage.count,), storage.dtype, data)
                data = array.byteswap().tobytes()
            self.storages[storage] = data
        return self.storages[storage]

    def of_text(self, text: str) -> bytes:
        """The bytes that a text of Latin-1 stands for."""
        if id(text) not in self.texts:
            self.texts[id(text)] = text.encode("latin-1")
        return self.texts[id(text)]

    def of_array(self, data: bytes | str | Text, dtype: np.dtype) -> np.ndarray:
        """Flat, read only, in this machine's byte order."""
        data = data.text if isinstance(data, Text) else data
        # The file's content, which holds the data, outlives this.
        key = id(data), dtype
        if key not in self.flat:
            data = self.of_text(data) if isinstance(data, str) else data
            flat = np.frombuffer(data, dtype)
            flat = flat.astype(dtype.newbyteorder("="), copy=False)
            flat.flags.writeable = False
            self.flat[key] = flat
        return self.flat[key]


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
    numbers = _Numbers(read, byte_order)

    def walk(value: Any) -> Any:
        # Once each: a pickle can share what it holds, and hold itself.
        if id(value) not in done:
            done[id(value)] = made(value)
        return done[id(value)]

    def made(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.array(numbers.of_storage(value.storage))
        if isinstance(value, Array):
            return value.array(numbers.of_array)
        if isinstance(value, Text):
            return numbers.of_text(value.text)
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
