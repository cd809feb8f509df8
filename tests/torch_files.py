"""Writes checkpoints in PyTorch's formats without PyTorch, opcode by opcode.

What Python's pickler would write, and what it would not: `Code` is put in as it is.
"""

import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np

_STORAGES = {
    "float16": "Half",
    "bfloat16": "BFloat16",
    "float32": "Float",
    "float64": "Double",
    "int8": "Char",
    "int16": "Short",
    "int32": "Int",
    "int64": "Long",
    "uint8": "Byte",
    "bool": "Bool",
}


class Code(bytes):
    """Opcodes that leave one object on the stack."""


def code(value: Any) -> Code:
    """Opcodes of a value: a number, text, dict, tuple or `Code`."""
    if isinstance(value, Code):
        return value
    if isinstance(value, dict):
        items = (code(key) + code(item) + b"s" for key, item in value.items())
        return Code(b"}" + b"".join(items))
    if isinstance(value, tuple):
        return Code(b"(" + b"".join(map(code, value)) + b"t")
    return Code(pickle.dumps(value, 2)[2:-1])


def name(path: str) -> Code:
    """Opcodes of a global, "module.name"."""
    module, _, attribute = path.rpartition(".")
    return Code(f"c{module}\n{attribute}\n".encode())


def call(path: str, *arguments: Any) -> Code:
    """Opcodes of a call of a global."""
    return Code(name(path) + code(arguments) + b"R")


def storage(key: str, array: np.ndarray) -> Code:
    """Opcodes that refer to a storage."""
    kind = name(f"torch.{_STORAGES[array.dtype.name]}Storage")
    return Code(code(("storage", kind, key, "cpu", array.size)) + b"Q")


def tensor(
    key: str, array: np.ndarray, offset: int, shape: tuple, strides: tuple
) -> Code:
    """Opcodes of a view of a storage."""
    hooks = call("collections.OrderedDict")
    return call(
        "torch._utils._rebuild_tensor_v2",
        storage(key, array),
        offset,
        shape,
        strides,
        False,
        hooks,
    )


def whole(key: str, array: np.ndarray) -> Code:
    """Opcodes of a contiguous tensor."""
    strides = tuple(step // array.itemsize for step in array.strides)
    return tensor(key, array, 0, array.shape, strides)


def pickled(value: Any) -> bytes:
    """A whole pickle."""
    return b"\x80\x02" + code(value) + b"."


def zip_file(
    content: Any,
    storages: dict[str, np.ndarray] | None = None,
    more: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """PyTorch's format since 1.6."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(content))
        for key, array in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
        for key, data in {"version": b"3\n", **(more or {})}.items():
            archive.writestr(f"archive/{key}", data)
    return file.getvalue()


def legacy_file(
    content: Any, storages: dict[str, np.ndarray] | None = None, **parts: Any
) -> bytes:
    """PyTorch's format before 1.6; `parts` replaces one of its pickles."""
    storages = storages or {}
    pickles = {
        "magic": 0x1950A86A20F9469CFC6C,
        "protocol": 1001,
        "system": {"little_endian": True},
        "content": content,
        "keys": tuple(storages),
        **parts,
    }
    numbers = (
        struct.pack("<q", array.size) + array.tobytes() for array in storages.values()
    )
    return b"".join([*map(pickled, pickles.values()), *numbers])


def state_file(state: dict[str, np.ndarray], wrap=lambda state: state) -> bytes:
    """A zip file of a state_dict, inside what `wrap` makes of it."""
    tensors = {key: whole(key, array) for key, array in state.items()}
    return zip_file(wrap(tensors), state)
