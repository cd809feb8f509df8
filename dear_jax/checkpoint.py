"""The checkpoints of a run, so that no fault costs more than the steps since the last.

    WORKDIR/checkpoints/STEP/state/    the state, written while training goes on (Orbax)
    WORKDIR/checkpoints/STEP/notes/    dtype, shape and checksum of each of its arrays
    WORKDIR/damaged/STEP/              those that were found damaged

The state is a `TrainState`: step, parameters, statistics, optimizer, moving average,
discriminator. The order of the data is not in it, it follows from seed and step. All
processes call alike. Orbax itself restores arrays with flipped bits in silence, hence
the checksums.
"""

import errno
import json
import os
import sys
import textwrap
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from dear_jax.errors import InputError
from dear_jax.files import make_folder
from dear_jax.multihost import AgreedError, gathered, on_first

# Of the system, about files that may be sound; libraries say them in words only.
_OF_SYSTEM = (
    *(errno.EMFILE, errno.ENFILE, errno.EACCES, errno.EPERM, errno.ENOMEM),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE),
)
_print_unraisable = sys.unraisablehook


class Checkpoints:
    """Saves and restores states, keeping the last few; a context manager.

    Args:
      workdir: folder of the run.
      keep: number of checkpoints kept.
      say: called with a line for each damaged one, in the first process.

    Raises:
      InputError: if there can be no such folder.
    """

    def __init__(self, workdir: Path, keep: int = 2, say: Callable[[str], Any] = print):
        self._workdir, self._say = workdir, say
        self._folder = (workdir / "checkpoints").absolute()  # Orbax insists on it.
        on_first(lambda: make_folder(self._folder))
        sys.unraisablehook = _print_others
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)
        self._saving: int | None = None
        self._failed = False

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            self.close()
        elif jax.process_count() == 1 or isinstance(error, AgreedError):
            try:
                self.close()
            except InputError as failure:  # What ended the run is raised, not this.
                self._say(str(failure))

    def close(self) -> None:
        """Waits for the save that is under way; raises as `save`."""
        with self._saves():
            self._manager.close()

    def save(self, state: Any) -> None:
        """Starts saving a state, which may be donated as soon as this returns.

        Saved steps are left alone. Old checkpoints go when the new one is whole.

        Args:
          state: tree of arrays, replicated, with a scalar `step`.

        Raises:
          InputError: if this or the save before it failed, with the system's reason.
            The checkpoints before are intact.
        """
        with self._saves():
            self._manager.wait_until_finished()
            self._saving = int(state.step)
            if self._saving in saved_steps(self._workdir):
                return
            self._folder.stat()  # Orbax would make it again, without the run around it.
            args = ocp.args.Composite(
                state=ocp.args.PyTreeSave(state),
                notes=ocp.args.JsonSave(_sealed(_notes(state))),
            )
            self._manager.save(self._saving, args=args, force=True)

    def restore(self, template: Any) -> Any | None:
        """Restores the newest sound state, None if nothing has been saved.

        Damaged ones that are newer are moved to WORKDIR/damaged.

        Args:
          template: state of the same form; its shardings are those of the result,
            whatever devices and processes it was saved on.

        Raises:
          InputError: if all checkpoints are damaged, if one is of another model, or if
            the system refuses to read it.
        """
        steps, damages = saved_steps(self._workdir), {}
        for step in reversed(steps):
            state, damage = None, ""
            try:
                state = _read(self._manager, step, template)
                if int(state.step) != step:
                    damage = f"it holds step {state.step}"
            except _Damaged as error:
                damage = str(error)
            # It may be only one of the processes that cannot read it.
            damage = next(filter(None, gathered(damage)), "")
            if not damage:
                on_first(lambda: self._set_aside(damages))
                self._manager.reload()
                return state
            damages[step] = damage
        if not steps:
            return None
        raise InputError(
            f"{self._folder}: no checkpoint is sound ({steps[-1]}: {damages[steps[-1]]}"
            "); put a copy of one there, or remove the folder to begin again at step 0"
        )

    def _set_aside(self, damages: dict[int, str]) -> None:
        """Moves damaged checkpoints, which would be in the way of new ones."""
        for step, damage in damages.items():
            path, place = (
                self._folder / str(step),
                self._workdir / "damaged" / str(step),
            )
            while place.exists():  # It may happen to the same step again.
                place = place.with_name(f"{place.name}-again")
            make_folder(place.parent)
            try:
                path.rename(place)
            except OSError as error:
                raise InputError(
                    f"{path}: damaged ({damage}), and cannot be moved to {place} "
                    f"({error.strerror})"
                ) from None
            self._say(f"{path}: damaged ({damage}); moved to {place}")

    @contextmanager
    def _saves(self) -> Iterator[None]:
        """Raises InputError, once, for what keeps Orbax from saving."""
        try:
            yield
        except Exception as error:
            if not _is_of_files(error):
                raise
            if self._failed:
                return
            self._failed = True
            sound = [s for s in saved_steps(self._workdir) if s != self._saving]
            rest = f"the last one is of step {sound[-1]}" if sound else "there is none"
            raise InputError(
                f"{self._folder / str(self._saving)}: this checkpoint cannot be saved "
                f"({_reason(error)}); {rest}. Mend that, e.g. free space; then the "
                "same command goes on from there"
            ) from None


def saved_steps(workdir: Path) -> list[int]:
    """Steps of a run's checkpoints, in order."""
    folder = workdir / "checkpoints"
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def read_ema(workdir: Path, shapes: Any) -> tuple[Any, int] | None:
    """Reads the moving average of the newest checkpoint, on any machine.

    Args:
      workdir: folder of the run.
      shapes: of the model's variables, see `init_shapes`.

    Returns:
      Variables as NumPy arrays and their step, or None if there is no checkpoint.

    Raises:
      InputError: if the checkpoint is damaged or of another model.
    """
    folder = (workdir / "checkpoints").absolute()
    options = ocp.CheckpointManagerOptions(read_only=True)
    while steps := saved_steps(workdir):
        try:
            with ocp.CheckpointManager(folder, options=options) as manager:
                found = _read(manager, steps[-1], {"ema": shapes}, "ema")
            return found["ema"], steps[-1]
        except _Damaged as damage:
            if steps[-1] in saved_steps(workdir):  # Else the run has removed it.
                raise InputError(
                    f"{folder / str(steps[-1])}: damaged ({damage}); let the training "
                    "go on, which then begins at the checkpoint before it"
                ) from None
    return None


class _Damaged(Exception):
    """What a folder holds is not what was written."""


def _read(manager: ocp.CheckpointManager, step: int, tree: Any, part: str = "") -> Any:
    """Reads a state, or one part of it as NumPy arrays.

    Raises:
      _Damaged: saying why, for what was not written so.
      InputError: if a tree of another form was written, or the system refuses.
    """
    folder = Path(manager.directory / str(step))
    arrays = ocp.checkpoint_utils.construct_restore_args(tree)
    if part:
        arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
    try:
        args = ocp.args.Composite(notes=ocp.args.JsonRestore())
        notes = manager.restore(step, args=args)["notes"]
        if notes != _sealed(notes["leaves"]):
            raise ValueError("its notes have changed")
        written = {k: v for k, v in notes["leaves"].items() if k.startswith(part)}
        _check_form(folder, written, tree)
        args = ocp.args.PyTreeRestore(tree, arrays, partial_restore=True)
        found = manager.restore(step, args=ocp.args.Composite(state=args))["state"]
    except Exception as error:
        # The last two: of Orbax's own notes with a bit flipped.
        known = _is_of_files(error) or isinstance(error, AttributeError | TypeError)
        if isinstance(error, InputError) or not known:
            raise
        if not _is_of_system(error):
            raise _Damaged(_reason(error)) from None
        raise InputError(
            f"{folder}: cannot be read ({_reason(error)}); mend that, then the same "
            "command continues"
        ) from None
    for name, note in _notes(found).items():
        if note != written[name]:
            raise _Damaged(f"the checksum of {name} differs")
    return found


def _check_form(folder: Path, written: dict[str, list], tree: Any) -> None:
    """Raises InputError unless the arrays written are those of the tree."""
    ours = {name: _form(leaf) for name, leaf in _named(tree).items()}
    for name in sorted(ours.keys() | written.keys()):
        there, here = written.get(name, ["absent"])[:2], ours.get(name, ["absent"])
        if there != here:
            raise InputError(
                f"{folder} is of another model or objective: {name} is "
                f"{' '.join(map(str, there))} there and {' '.join(map(str, here))} "
                "here; set the configuration back or choose another --workdir"
            )


def _notes(tree: Any) -> dict[str, list]:
    """Dtype, shape and checksum of arrays that each process holds whole, by name."""
    found = {}
    for name, leaf in _named(tree).items():
        local = leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf
        found[name] = [*_form(leaf), zlib.crc32(np.asarray(local).tobytes())]
    return found


def _form(leaf: Any) -> list:
    return [str(np.dtype(leaf.dtype)), list(leaf.shape)]


def _named(tree: Any) -> dict[str, Any]:
    """The leaves by their place in the tree, such as "params/head/kernel"."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    name = jax.tree_util.keystr
    return {name(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _sealed(notes: dict[str, list]) -> dict[str, Any]:
    return {"leaves": notes, "checksum": zlib.crc32(json.dumps(notes).encode())}


def _is_of_files(error: BaseException | None) -> bool:
    """Whether Orbax and TensorStore raise such errors for files."""
    known = isinstance(error, OSError | ValueError | KeyError)
    return known or type(error) is Exception  # As Orbax does for arrays.


def _is_of_system(error: BaseException | None) -> bool:
    """Whether the system refused, or memory ended, in an error or its causes."""
    if error is None or isinstance(error, MemoryError | ImportError):
        return error is not None
    words = [os.strerror(number) for number in _OF_SYSTEM]
    refused = getattr(error, "errno", None) in _OF_SYSTEM
    refused |= any(text in str(error) for text in words)
    return refused or _is_of_system(error.__cause__)


def _reason(error: BaseException) -> str:
    """The system's words if there are any, else the library's, shortened."""
    said = f"{error} {error.__cause__ or ''}"
    words = [os.strerror(number) for number in errno.errorcode]
    found = max((text for text in words if text in said), key=len, default="")
    return found or textwrap.shorten(str(error.__cause__ or error), 120)


def _print_others(unraisable) -> None:
    """Leaves out the hundreds of reads and writes that Orbax gives up on an error."""
    said = f"{unraisable.object!r} {unraisable.exc_value}"
    if "Event loop is closed" not in said and "_read_array_index" not in said:
        _print_unraisable(unraisable)
