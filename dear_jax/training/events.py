"""WORKDIR/tensorboard/: what a run told, for TensorBoard.

Written by the thread that calls. The usual writer of tensorboardX has one of its own,
which dies where a disk is full; training would then wait for it forever.
"""

import os
import socket
import time
from pathlib import Path

import numpy as np

# Seconds after which events are handed to the system, not later than the next one.
EVERY = 10.0


class Events:
    """The events of a run that begins or goes on after a step.

    Args:
      folder: made if need be, in one that there is.
      start: TensorBoard shall forget events of later steps: they are trained again.

    Raises:
      OSError: if nothing can be written there.
    """

    def __init__(self, folder: Path, start: int):
        from tensorboardX.proto.event_pb2 import SessionLog

        self._folder = folder.absolute()
        # TensorBoard reads the files of a folder in the order of their names.
        place = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self._name = f"events.out.tfevents.{place}"
        self._records = None
        self._files = 0
        self._holds_events = False
        status = SessionLog(status=SessionLog.START)
        self._write(step=start + 1, session_log=status)
        self.flush()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Adds numbers by name.

        Raises:
          OSError: if they cannot be written; they are lost, the next ones may not be.
        """
        from tensorboardX import summary

        for name, value in values.items():
            self._write(step=step, summary=summary.scalar(name, value))
        if time.monotonic() >= self._due:
            self.flush()

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Adds a picture, uint8 [h, w, 3]; raises as `scalars`."""
        from tensorboardX import summary

        found = summary.image(name, picture, dataformats="HWC")
        self._write(step=step, summary=found)
        self.flush()

    def flush(self) -> None:
        """Hands all events to the system; raises as `scalars`."""
        self._due = time.monotonic() + EVERY
        try:
            if self._records:
                self._records.flush()
                self._holds_events = True
        except OSError:
            self._give_up()
            raise

    def close(self) -> None:
        """Flushes and closes the file; raises as `scalars`."""
        records, self._records = self._records, None
        if records:
            records.close()

    def _write(self, **fields) -> None:
        from tensorboardX.proto.event_pb2 import Event

        try:
            if self._records is None:
                self._open()
            event = Event(wall_time=time.time(), **fields)
            self._records.write(event.SerializeToString())
        except OSError:
            self._give_up()
            raise

    def _open(self) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.record_writer import RecordWriter

        self._folder.mkdir(exist_ok=True)  # Not a workdir that is gone.
        name = f"{self._name}.{self._files:04d}"
        self._records = RecordWriter(str(self._folder / name))
        head = Event(wall_time=time.time(), file_version="brain.Event:2")
        self._records.write(head.SerializeToString())

    def _give_up(self) -> None:
        """Leaves a file that may end in half an event; the next one is another.

        It takes the place of one that never held anything whole.
        """
        self._files += self._holds_events
        self._holds_events = False
        try:
            self.close()
        except OSError:
            pass  # It says again what its caller says already.
