"""Reads pickles as data, with a machine of our own that cannot run anything.

Python's unpickler imports and calls what the file names, so a checkpoint can do
whatever its maker likes. Here `pickletools` only cuts the file into opcodes; this
machine carries out those that build plain data. Nothing is ever imported: a global is
looked up in a table of names, "calling" it builds a record, and a name that is not in
the table ends the reading.
"""

import pickletools
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from dear_jax.errors import InputError


@dataclass(frozen=True)
class Name:
    """A global that a pickle refers to; `make` turns its arguments into data."""

    name: str
    make: Callable[..., Any]


class Record:
    """What making a `Name` gives, where plain data cannot say it."""

    def set_state(self, state: Any) -> None:
        """Takes what the pickle says further about the object."""


class Inert(Record):
    """Stands for an object that carries nothing we need; swallows everything."""

    def __init__(self, *_: Any):
        pass


# In the files' terms, "module.name" -> the Name, or None if it is not allowed.
Find = Callable[[str], Name | None]

# What Python has written since protocol 2; all else is refused.
_LITERALS = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES BINBYTES8 BYTEARRAY8 BINUNICODE SHORT_BINUNICODE "
    "BINUNICODE8".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})
_KEYS = (str, bytes, int, float, bool, type(None), Name)


def unpickle(
    file: BinaryIO, where: str, find: Find, storage: Callable[[Any], Any] | None = None
) -> Any:
    """Reads one pickle from where the file stands to its end, and no further.

    Args:
      file: open for reading.
      where: the file's name, for messages.
      find: see `Find`.
      storage: persistent id -> what it stands for; without it there may be none.

    Returns:
      Dicts, lists, tuples, sets, numbers, texts, bytes, Names and Records.

    Raises:
      InputError: for a global that `find` does not know, an opcode that only runs
        code, or a damaged pickle.
    """
    try:
        return _Machine(where, find, storage).run(file)
    except InputError:
        raise
    # A hostile or damaged pickle can misuse any opcode in any way.
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
        MemoryError,
    ) as error:
        raise InputError(
            f"{where}: damaged or cut short ({brief(error)}); fetch it again"
        ) from None


def brief(error: Exception) -> str:
    """An error's message on one line of at most 200 characters, or its kind."""
    # What is no text may be of the file and take forever to write out.
    plain = all(isinstance(part, str) for part in error.args)
    message = " ".join(str(error)[:200].split()) if plain else ""
    return message or type(error).__name__


def short(value: Any) -> str:
    """A value for a message; a nested one could be written out forever."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not write out integers of thousands of digits.
        return f"a long {type(value).__name__}"


class _Machine:
    def __init__(self, where: str, find: Find, storage: Callable | None):
        self.where, self.find, self.storage = where, find, storage
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, file: BinaryIO) -> Any:
        for opcode, argument, _ in pickletools.genops(file):
            name = opcode.name
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                self.stack.append(_EMPTY[name]())
            elif name in _TUPLES:
                self.stack.append(tuple(self.pop(_TUPLES[name])))
            elif name in _HANDLERS:
                _HANDLERS[name](self, argument)
            elif name not in _IGNORED:
                what = name if argument is None else f"{name} {short(argument)}"
                self.refuse(f"uses the opcode {what}, which plain data does not need")
        (result,) = self.stack
        return result

    def refuse(self, complaint: str) -> None:
        raise InputError(
            f"{self.where}: {complaint}; nothing of it was run. Checkpoints hold "
            "tensors and plain data only: ask its authors for the plain state_dict"
        )

    def pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise ValueError("stack underflow")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def pop_marked(self) -> list[Any]:
        return self.pop(len(self.stack) - self.marks.pop())

    def mark(self, _):
        self.marks.append(len(self.stack))

    def remember(self, index):
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def recall(self, index):
        self.stack.append(self.memo[index])

    def make_tuple(self, _):
        self.stack.append(tuple(self.pop_marked()))

    def append(self, _):
        self.add_items(self.pop(1), list.extend, list)

    def extend(self, _):
        self.add_items(self.pop_marked(), list.extend, list)

    def unite(self, _):
        items = [checked_key(item) for item in self.pop_marked()]
        self.add_items(items, set.update, set)

    def add_items(self, items: list, add: Callable, kind: type):
        target = self.stack[-1]
        if not isinstance(target, Inert):
            if not isinstance(target, kind):
                raise TypeError(f"{type(target).__name__} where a {kind.__name__} is")
            add(target, items)

    def set_item(self, _):
        self.add_pairs(self.pop(2))

    def set_items(self, _):
        self.add_pairs(self.pop_marked())

    def add_pairs(self, items: list):
        keys = [checked_key(key) for key in items[::2]]
        self.add_items(zip(keys, items[1::2], strict=True), dict.update, dict)

    def name(self, argument):
        module, _, name = argument.partition(" ")
        self.push_name(f"{module}.{name}")

    def name_from_stack(self, _):
        module, name = self.pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a global whose name is no text")
        self.push_name(f"{module}.{name}")

    def push_name(self, name: str):
        found = self.find(name)
        if found is None:
            shown = ascii(name)[1:-1][:99]
            self.refuse(f"refers to {shown}, which is neither tensor nor plain data")
        self.stack.append(found)

    def make(self, _):
        target, arguments = self.pop(2)
        if not isinstance(target, Name) or not isinstance(arguments, tuple):
            self.refuse(f"asks to run code (calls a {type(target).__name__})")
        self.stack.append(target.make(*arguments))

    def set_state(self, _):
        target, state = self.pop(2)
        if isinstance(target, Record):
            target.set_state(state)
        elif not isinstance(target, dict | list):
            self.refuse(
                f"asks to run code (sets the state of a {type(target).__name__})"
            )
        self.stack.append(target)

    def persistent(self, _):
        (identity,) = self.pop(1)
        if self.storage is None:
            self.refuse(f"refers to an object outside the file ({short(identity)})")
        self.stack.append(self.storage(identity))


def checked_key(key: Any) -> Any:
    """Returns a dict's key; nested tuples could take forever to hash."""
    if not isinstance(key, _KEYS):
        raise TypeError(f"a {type(key).__name__} as a key")
    return key


_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    "TUPLE": _Machine.make_tuple,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "ADDITEMS": _Machine.unite,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.make,
    "NEWOBJ": _Machine.make,
    "BUILD": _Machine.set_state,
    "BINPERSID": _Machine.persistent,
}
