"""When one process of several must end, all end, and the first says why.

JAX would let the others wait for it in the next collective, and end them after the
heartbeat timeout with a C++ stack trace that does not name the cause. An alarm is
heard within a second or two.
"""

import json
import socket
import threading
import time
from collections.abc import Callable

import jax

from dear_jax.distributed import processes

_ALARM, _HEARD = "dear_jax/alarm", "dear_jax/alarm/heard"
_POLL = 0.5  # Seconds.
_GRACE = 3.0  # Seconds for the others to hear it; then this process may end.


class Alarm:
    """Listens in a thread of its own until closed; a context manager.

    Args:
      on_alarm: called in that thread with (message, code) when another process has
        raised an alarm, the message None where the first process tells it. It must
        end this process, whatever its main thread is waiting for.
    """

    def __init__(self, on_alarm: Callable[[str | None, int], None]):
        self._on_alarm = on_alarm
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Alarm":
        if processes.several():
            self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        """Stops listening."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def ring(self, message: str, code: int, of_another: bool = False) -> bool:
        """Tells the others to end with `code`, and returns when they know.

        Args:
          message: what is wrong.
          code: the exit code of all.
          of_another: another process has met it and rings when it has saved what it
            can; processes but the first wait for that.

        Returns:
          Whether this process must tell the message itself: it is the first, or the
          first is silent.
        """
        if not processes.several():
            return True
        if of_another and not processes.is_first():
            self._thread.join()  # It ends this process.
        self.close()
        _note(_ALARM, {"message": message, "code": code, **_here()})
        if processes.is_first():
            _note(_HEARD, _here())
            time.sleep(_GRACE)
            return True
        until = time.monotonic() + 2 * _GRACE
        while _read(_HEARD) is None:
            if time.monotonic() > until:
                return True
            time.sleep(_POLL)
        return False

    def _listen(self) -> None:
        while not self._closed.wait(_POLL):
            alarm = _read(_ALARM)
            if alarm is None or alarm["index"] == jax.process_index():
                continue
            message = None
            if processes.is_first():
                message = "process {index} on {host}: {message}".format(**alarm)
                _note(_HEARD, _here())
                time.sleep(_GRACE)  # The service ends with this process.
            self._on_alarm(message, alarm["code"])
            return


def _here() -> dict:
    return {"index": jax.process_index(), "host": socket.gethostname()}


def _note(key: str, content: dict) -> None:
    """Sets a key unless it is set or the service is gone."""
    try:
        processes.client().key_value_set(key, json.dumps(content))
    except Exception:  # JAX has changed its class before.
        pass


def _read(key: str) -> dict | None:
    try:
        return json.loads(processes.client().key_value_try_get(key))
    except Exception:
        return None
