"""The checkpoints of a run, so that no fault costs more than the steps since the last.

    WORKDIR/checkpoints/STEP/    whole states, the last few; see `stored`
    WORKDIR/damaged/STEP/        those that were found damaged

A state is copied to the host at once and written by a thread meanwhile. All processes
call alike; the first one alone reads and writes and passes on what it read.
"""

import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dear_jax.checkpointing.stored import Damaged, read_stored, reason_of, write_stored
from dear_jax.distributed.processes import is_first, on_first, several
from dear_jax.errors import InputError
from dear_jax.files import make_folder
from dear_jax.training.state import TrainState

DAMAGED = "damaged"
_OLD = ".old"  # Of checkpoints on their way out.
_LEFT = re.compile(rf"\d+({_OLD}|\.orbax-checkpoint-tmp.*)")


class Checkpoints:
    """Saves and restores states, keeping the last few; a context manager.

    Args:
      workdir: folder of the run.
      keep: number of checkpoints kept.
      say: is told of damaged ones, a line each, in the first process.

    Raises:
      InputError: if there can be no such folder.
    """

    def __init__(self, workdir: Path, keep: int = 2, say: Callable[[str], Any] = print):
        self._workdir, self._keep, self._say = workdir, keep, say
        # Orbax insists on an absolute path.
        self._folder = _folder(workdir)
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._saving: tuple[int, Future] | None = None
        on_first(lambda: make_folder(self._folder))
        on_first(self._clean)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            self.close()
            return
        # What ended the run is told by itself; waiting for other processes, which
        # may not know of it, could last for ever.
        try:
            self._finish()
        except InputError as failure:
            self._say(str(failure))
        self._thread.shutdown()

    def close(self) -> None:
        """Waits for the save that is under way; raises as `save`."""
        on_first(self._finish)
        self._thread.shutdown()

    def save(self, state: TrainState) -> None:
        """Starts saving a state, which may be donated as soon as this returns.

        Saved steps are left alone. Old checkpoints go when the new one is whole.

        Raises:
          InputError: if this or the save before it failed, with the system's reason.
            The checkpoints before are intact and nothing of the failed one is left.
        """
        step = int(state.step)
        on_first(lambda: self._save(step, state))

    def restore(self, template: TrainState) -> TrainState | None:
        """Restores the newest sound state, None if nothing has been saved.

        Damaged checkpoints are moved to WORKDIR/damaged.

        Args:
          template: state of the same form; its shardings are those of the result,
            whatever devices and processes it was saved on.

        Raises:
          InputError: if checkpoints were damaged and none is sound, or if the newest
            is of another model.
        """
        found = on_first(lambda: self._newest_sound(template))
        if several():
            found = _from_first(found, template)
        return None if found is None else jax.tree.map(_place, found, template)

    def _save(self, step: int, state: TrainState) -> None:
        self._finish()
        if step in saved_steps(self._workdir):
            return
        # Replicated, so that any copy is whole. The memory of a CPU's array is shared
        # with NumPy's, and the next step writes to it.
        local = jax.tree.map(lambda leaf: leaf.addressable_data(0), state)
        host = jax.tree.map(np.array, jax.device_get(local))
        self._saving = step, self._thread.submit(self._write, step, host)

    def _write(self, step: int, host: TrainState) -> None:
        """The thread's part."""
        self._folder.stat()  # Orbax would make it again, without the run around it.
        write_stored(self._folder / str(step), host, step)
        for old in saved_steps(self._workdir)[: -self._keep]:
            # A kill must not leave half of it under its name.
            path = self._folder / str(old)
            shutil.rmtree(path.rename(f"{path}{_OLD}"), ignore_errors=True)

    def _finish(self) -> None:
        """Waits for the save under way."""
        if self._saving is None:
            return
        step, saving = self._saving
        saving.exception()  # Waits; an interrupt meanwhile leaves it under way.
        self._saving = None
        try:
            saving.result()
        except (OSError, ValueError, RuntimeError) as error:
            self._clean()
            sound = saved_steps(self._workdir)
            rest = f"the last one is of step {sound[-1]}" if sound else "there is none"
            raise InputError(
                f"{self._folder / str(step)}: this checkpoint cannot be saved "
                f"({reason_of(error)}); {rest}. Mend that, e.g. free space; then the "
                "same command goes on from there"
            ) from None

    def _clean(self) -> None:
        """Removes what killed and failed saves left."""
        for path in _listed(self._folder):
            if _LEFT.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)

    def _newest_sound(self, template: TrainState) -> TrainState | None:
        for step in reversed(saved_steps(self._workdir)):
            try:
                return read_stored(self._folder / str(step), template)
            except Damaged as damage:
                self._set_aside(step, damage)
        aside = _listed(self._workdir / DAMAGED)
        if aside:
            weights = [path.name for path in self._workdir.glob("*.safetensors")]
            raise InputError(
                f"{self._workdir}: no sound checkpoint is left"
                f"{''.join(f', but {name} is there' for name in weights)}; put a copy "
                f"of one into checkpoints/, or remove {self._workdir / DAMAGED} with "
                f"{', '.join(sorted(p.name for p in aside))} to begin again at step 0"
            )
        return None

    def _set_aside(self, step: int, damage: Damaged) -> None:
        """Moves a damaged checkpoint and says so."""
        path, folder = self._folder / str(step), make_folder(self._workdir / DAMAGED)
        place, number = folder / str(step), 1
        while place.exists():  # It may happen to the same step again.
            number += 1
            place = folder / f"{step}-{number}"
        try:
            path.rename(place)
        except OSError as error:
            raise InputError(
                f"{path}: damaged ({damage}), and cannot be moved to {place} "
                f"({error.strerror})"
            ) from None
        self._say(f"{path}: damaged ({damage}); moved to {place}")


def saved_steps(workdir: Path) -> list[int]:
    """Steps of a run's checkpoints, in order."""
    names = (path.name for path in _listed(_folder(workdir)))
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
    while steps := saved_steps(workdir):
        folder = _folder(workdir) / str(steps[-1])
        try:
            return read_stored(folder, shapes, "ema"), steps[-1]
        except Damaged as damage:
            if folder.exists():  # Else the run, going on, has removed it meanwhile.
                raise InputError(
                    f"{folder}: damaged ({damage}); let the training go on, which "
                    "then begins at the checkpoint before it"
                ) from None
    return None


def _folder(workdir: Path) -> Path:
    return (workdir / "checkpoints").absolute()


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _place(array: np.ndarray, like: jax.Array) -> jax.Array:
    return jax.make_array_from_callback(
        array.shape, like.sharding, lambda index: np.array(array[index])
    )


def _from_first(found: TrainState | None, template: TrainState) -> TrainState | None:
    """What the first process found, in all processes."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    if not broadcast_one_to_all(np.array(found is not None)):
        return None
    leaves, tree = jax.tree.flatten(found if is_first() else template)
    # As bytes: a sum of floats, which broadcasting is, would lose the sign of zeros.
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in leaves]
    mine = np.zeros(sum(sizes), np.uint8)
    ends = np.cumsum(sizes)
    if is_first():
        mine = np.concatenate([np.frombuffer(a.tobytes(), np.uint8) for a in leaves])
    parts = np.split(broadcast_one_to_all(mine), ends[:-1])
    shaped = [
        part.view(leaf.dtype).reshape(leaf.shape)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
    return tree.unflatten(shaped)
