"""One tree of arrays in a folder (Orbax), read only if it is what was written.

    FOLDER/state/       the arrays
    FOLDER/checksums/   the step; dtype, shape and checksum of each array

Both take their place together, when all is written. Only this process takes part:
the arrays are NumPy's, whole, whatever devices and processes they came from.
"""

import errno
import json
import os
import textwrap
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dear_jax.checkpointing.checksums import checksum
from dear_jax.checkpointing.quiet import quiet
from dear_jax.errors import InputError

# Reasons of the system why sound files cannot be read.
_NOT_DAMAGE = (errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.ENOMEM)


class Damaged(Exception):
    """What a folder holds is not what was written."""


def write_stored(folder: Path, tree: Any, step: int) -> None:
    """Writes a tree of NumPy arrays; if that fails, there is no such folder.

    Raises:
      OSError, ValueError, RuntimeError: of Orbax and the libraries below it, see
        `reason_of`.
    """
    import orbax.checkpoint as ocp

    leaves = {
        name: {**_form(leaf), "checksum": checksum(leaf)}
        for name, leaf in _named(tree).items()
    }
    notes = {"step": step, "leaves": leaves}
    items = ocp.args.Composite(
        state=ocp.args.StandardSave(tree),
        checksums=ocp.args.JsonSave({**notes, "checksum": _checksum_of(notes)}),
    )
    alone = {"multiprocessing_options": _alone()}
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(**alone)
    )
    with quiet(), ocp.Checkpointer(handler, **alone) as writer:
        writer.save(folder, args=items)


def read_stored(folder: Path, tree: Any, part: str | None = None) -> Any:
    """Reads arrays of the dtypes and shapes of a tree, as NumPy arrays.

    Args:
      folder: its name is the step.
      tree: of arrays or their ShapeDtypeStructs.
      part: `tree` is this attribute of what was written, not the whole.

    Raises:
      Damaged: saying why, for what was not written so.
      InputError: if a tree of another form was written, or the system refuses.
    """
    tree = {part: tree} if part else tree
    with quiet():
        try:
            leaves = _read_notes(folder)
            if part:
                leaves = {k: v for k, v in leaves.items() if k.startswith(f"{part}/")}
            _check_form(folder, leaves, tree)
            found = _read_arrays(folder, tree)
        except (Damaged, InputError):
            raise
        except Exception as error:  # Of damaged files, anything may come.
            if _mentions(error, _NOT_DAMAGE):
                raise InputError(
                    f"{folder}: cannot be read ({reason_of(error)}); mend that, then "
                    "the same command continues"
                ) from None
            raise Damaged(reason_of(error)) from None
    for name, leaf in _named(found).items():
        if checksum(leaf) != leaves[name]["checksum"]:
            raise Damaged(f"the checksum of {name} differs")
    return found[part] if part else found


def reason_of(error: BaseException) -> str:
    """Says in the system's words, if there are any, what went wrong."""
    words = getattr(error, "strerror", None)
    known = [os.strerror(number) for number in errno.errorcode]
    said = [text for text in known if text in str(error)]
    return words or max(said, key=len, default=textwrap.shorten(str(error), 120))


def _mentions(error: BaseException, numbers: tuple[int, ...]) -> bool:
    """Whether the system said one of these; libraries pass it on in words only."""
    return getattr(error, "errno", None) in numbers or any(
        os.strerror(number) in str(error) for number in numbers
    )


def _read_arrays(folder: Path, tree: Any) -> Any:
    import orbax.checkpoint as ocp

    alone = {"multiprocessing_options": _alone()}
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    forms = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
    wanted = ocp.args.PyTreeRestore(
        item=forms, restore_args=as_numpy, partial_restore=True
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**alone), **alone) as reader:
        return reader.restore(folder / "state", args=wanted)


def _read_notes(folder: Path) -> dict[str, dict]:
    """Dtype, shape and checksum by name of each array that was written."""
    path = folder / "checksums" / "metadata"
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
        sound = notes.pop("checksum") == _checksum_of(notes)
    except (ValueError, KeyError, TypeError, AttributeError):
        sound = False
    if not sound:
        raise Damaged("its checksums/metadata has changed")
    if str(notes["step"]) != folder.name:
        raise Damaged(f"it holds step {notes['step']}")
    return notes["leaves"]


def _check_form(folder: Path, leaves: dict[str, dict], tree: Any) -> None:
    """InputError unless the arrays written are those of the tree."""
    wanted = {name: _form(leaf) for name, leaf in _named(tree).items()}
    for name in sorted(wanted.keys() | leaves.keys()):
        theirs, ours = leaves.get(name), wanted.get(name)
        if not (theirs and ours and all(theirs[key] == ours[key] for key in ours)):
            raise InputError(
                f"{folder} is of another model or objective: {name} is {_words(theirs)}"
                f" there and {_words(ours)} here; set the configuration back or choose "
                "another --workdir"
            )


def _words(form: dict | None) -> str:
    return f"{form['dtype']} {form['shape']}" if form else "absent"


def _form(leaf: Any) -> dict[str, Any]:
    return {"dtype": str(np.dtype(leaf.dtype)), "shape": list(leaf.shape)}


def _named(tree: Any) -> dict[str, Any]:
    """The leaves by their place in the tree, such as "params/head/kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    name = jax.tree_util.keystr
    return {name(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _checksum_of(notes: dict) -> int:
    return zlib.crc32(json.dumps(notes, sort_keys=True).encode())


def _alone() -> Any:
    """Tells Orbax not to wait for other processes."""
    import orbax.checkpoint as ocp

    me = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
