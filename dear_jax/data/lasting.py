"""Batches that go on when a reading process dies, killed for want of memory, say."""

from collections.abc import Callable, Iterator
from typing import Any

from absl import logging

from dear_jax.errors import InputError

_MOST_FAILURES = 3
# What grain's iterator says of such a death, a RuntimeError like many others.
_DIED = "terminated unexpectedly"


class Lasting(Iterator):
    """An iterator over numbered batches that is made anew where it broke.

    What batches hold depends on their numbers only, so nothing is lost or repeated.

    Args:
      batches_from: makes the iterator that begins with a batch of that number.
      start: number of the first batch.
    """

    def __init__(self, batches_from: Callable[[int], Iterator[Any]], start: int):
        self._batches_from, self._number = batches_from, start
        self._batches = batches_from(start)

    def __next__(self) -> Any:
        """Returns the next batch.

        Raises:
          InputError: if reading processes die again and again at the same batch.
        """
        for failures in range(1, _MOST_FAILURES + 1):
            try:
                batch = next(self._batches)
            except (RuntimeError, EOFError, ConnectionError) as error:
                if isinstance(error, RuntimeError) and _DIED not in str(error):
                    raise
                if failures == _MOST_FAILURES:
                    break
                logging.warning(
                    "a process that reads photos died at batch %d (%s); reading goes "
                    "on with new ones",
                    self._number,
                    str(error).partition(". ")[0],
                )
                self.close()
                self._batches = self._batches_from(self._number)
            else:
                self._number += 1
                return batch
        raise InputError(
            f"config.data.workers: processes that read photos died {_MOST_FAILURES} "
            f"times at batch {self._number}, perhaps for want of memory; lower "
            "config.data.workers or config.data.threads"
        )

    def close(self) -> None:
        """Ends the processes; the next batch, if one is asked for, fails."""
        close = getattr(self._batches, "close", None)
        if close:
            close()
