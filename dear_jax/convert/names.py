"""The names that checkpoints may refer to, and the data that each makes.

Everything else is refused; see `unpickle`. To allow a name, add what it should make
here: data, never the object itself.
"""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from dear_jax.convert.tensors import Array, DType, Storage, Tensor, Text
from dear_jax.convert.unpickle import Inert, Name, checked_key, short

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
        raise ValueError(f"a storage {short(identity)}")
    if view not in ([], [None]):
        raise ValueError("a storage that is part of another")
    if not isinstance(key, str):
        raise ValueError(f"a storage under {short(key)}")
    return Storage(dtype, key, count)


def _tensor(storage, offset, shape, strides, *_) -> Tensor:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    return Tensor(storage, offset, _size(shape), _size(strides))


def _size(sides=()) -> tuple:
    if not isinstance(sides, tuple):
        raise TypeError(f"a {type(sides).__name__} as a size")
    return sides


def _parameter(tensor, *_) -> Any:
    return tensor


def _array(data, dtype, shape, order="C") -> Array:
    if not isinstance(data, bytes | bytearray | Text):
        raise TypeError(f"a {type(data).__name__} as the numbers of an array")
    array = Array()
    array.set_state((1, shape, dtype, order == "F", data))
    return array


def _scalar(dtype, data) -> Array:
    return _array(data, dtype, ())


def _mapping(pairs=()) -> dict:
    return {checked_key(key): value for key, value in pairs}


def _encoded(text: str, encoding: str) -> Text:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"text in {short(encoding)}")
    return Text(text)


def _device(kind: str, index: int | None = None) -> str:
    if not isinstance(kind, str) or len(kind) > 99:
        raise TypeError(f"a device {short(kind)}")
    if index is None:
        return kind
    if not isinstance(index, int) or not 0 <= index < 2**15:
        raise TypeError(f"a device with the index {short(index)}")
    return f"{kind}:{index}"


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
    "torch.Size": _size,
    "torch.device": _device,
    "numpy.dtype": DType,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array,
    "_codecs.encode": _encoded,
}
