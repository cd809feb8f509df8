"""Whole training states on disk (Orbax), in WORKDIR/checkpoints/STEP/."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from dear_jax.errors import InputError
from dear_jax.training.state import TrainState


class Checkpoints:
    """Saves and restores states, keeping the last few; a context manager."""

    def __init__(self, workdir: Path, keep: int = 2):
        import orbax.checkpoint as ocp

        self._folder = _folder(workdir)
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error) -> None:
        self._manager.close()  # Waits for the save that is under way.

    @property
    def latest(self) -> int | None:
        """Step of the newest whole checkpoint, None if there is none."""
        return self._manager.latest_step()

    def save(self, state: TrainState) -> None:
        """Starts saving; training may go on meanwhile. Saved steps are left alone."""
        import orbax.checkpoint as ocp

        step = int(state.step)
        if step != self.latest:
            self._manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, template: TrainState) -> TrainState:
        """Restores the newest state onto the devices and shardings of `template`.

        Raises:
          InputError: if it is damaged.
        """
        import orbax.checkpoint as ocp

        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, template)
        try:
            return self._manager.restore(
                self.latest, args=ocp.args.StandardRestore(abstract)
            )
        except (ValueError, OSError, KeyError) as error:
            raise _damaged(self._folder / str(self.latest), error) from None


def read_ema(workdir: Path, shapes: Any) -> tuple[Any, int] | None:
    """Reads the moving average of the newest checkpoint, on any machine.

    Args:
      workdir: folder of the run.
      shapes: of the model's variables, see `init_shapes`.

    Returns:
      Variables as NumPy arrays and their step, or None if there is no checkpoint.

    Raises:
      InputError: if the checkpoint is damaged.
    """
    import orbax.checkpoint as ocp

    steps = ocp.utils.checkpoint_steps(_folder(workdir))
    if not steps:
        return None
    newest = _folder(workdir) / str(max(steps))
    wanted = {"ema": shapes}
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
    arguments = ocp.args.PyTreeRestore(
        item=wanted, restore_args=as_numpy, partial_restore=True
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        try:
            return reader.restore(newest / "default", args=arguments)["ema"], max(steps)
        except (ValueError, OSError, KeyError) as error:
            raise _damaged(newest, error) from None


def _folder(workdir: Path) -> Path:
    # Orbax insists on an absolute path, but says so only when it saves.
    return (workdir / "checkpoints").absolute()


def _damaged(folder: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:120]
    return InputError(
        f"{folder}: damaged ({reason}); delete this folder to go on from the "
        "checkpoint before it"
    )
