"""Asking a run to stop, as clusters (SIGTERM) and people (SIGINT, Ctrl-C) do."""

import os
import signal

from dear_jax.distributed.processes import is_first

_HEARD = b"\nstopping within two steps; Ctrl-C again ends at once\n"


class StopSignals:
    """Notes SIGTERM and SIGINT instead of dying; a second SIGINT does interrupt.

    A context manager, for the main thread.

    Attributes:
      requested: whether a signal came.
    """

    def __init__(self):
        self.requested = False

    def __enter__(self) -> "StopSignals":
        self._before = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested and is_first():
            # Not by print, which may be at work when the signal comes.
            os.write(2, _HEARD)
        self.requested = True
