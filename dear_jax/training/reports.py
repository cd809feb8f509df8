"""What the steps of a run tell, read a little behind them.

A device works on while the host reads what earlier steps told, so reading costs no
time as long as the newest steps are left alone.
"""

import collections
import math

import jax
import numpy as np

from dear_jax.errors import InputError

# Steps in a row without a finite loss after which a run is given up.
MOST_SKIPPED = 20


class Reports:
    """Collects the metrics of steps.

    Attributes:
      stop: whether a step read so far was told to be one of the last.
    """

    def __init__(self):
        self.stop = False
        self._unread = collections.deque()
        self._read: list[dict[str, float]] = []
        self._skipped_in_a_row = 0

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes what a step told; reads nothing yet."""
        self._unread.append((step, metrics))

    def settle(self, ahead: int = 0) -> "Reports":
        """Reads all metrics but those of the last `ahead` steps, waiting for them.

        Raises:
          InputError: after too many steps in a row without a finite loss.
        """
        while len(self._unread) > ahead:
            step, metrics = self._unread.popleft()
            values = {key: float(v) for key, v in jax.device_get(metrics).items()}
            self.stop |= bool(values.pop("stop"))
            self._read.append(values)
            self._watch(step, values)
        return self

    def means(self) -> dict[str, float]:
        """Means over the steps read since the last call; "skipped" is a number.

        Steps that were skipped count nowhere else; if all were, the means are NaN.
        """
        read, self._read = self._read, []
        skipped = sum(values["skipped"] for values in read)
        kept = [values for values in read if not values["skipped"]]
        means = {
            key: float(np.mean([values[key] for values in kept])) if kept else math.nan
            for key in read[0]
        }
        return {**means, "skipped": skipped}

    def _watch(self, step: int, values: dict[str, float]) -> None:
        self._skipped_in_a_row += 1
        if not values["skipped"]:
            self._skipped_in_a_row = 0
        if self._skipped_in_a_row >= MOST_SKIPPED:
            raise InputError(
                f"no finite loss and gradient in {MOST_SKIPPED} steps in a row, up to "
                f"step {step}; training stopped, the last checkpoint is sound. Lower "
                "config.optimizer.learning_rate or set config.optimizer.clip_norm, in "
                "a new --workdir or with --accept_changes"
            )
