"""Telling how far work has come."""

from collections.abc import Callable

# Called as progress(done, total) from time to time, the last time with done == total.
Progress = Callable[[float, float], None]
# Called with what has been done since the last call.
Advance = Callable[[float], None]


class Counted:
    """Adds up work that is done, and tells it."""

    def __init__(self, progress: Progress | None, total: float):
        self._progress, self._total, self._done = progress, total, 0.0

    def advance(self, amount: float) -> None:
        """So much more is done."""
        self._done = min(self._done + amount, self._total)
        if self._progress:
            self._progress(self._done, self._total)

    def finish(self) -> None:
        """All is done."""
        self.advance(self._total)


def in_parts(progress: Progress, border: float) -> tuple[Progress, Progress]:
    """The progress of two parts of work, the first up to the share `border` of it."""

    def part(begin: float, end: float) -> Progress:
        return lambda done, total: progress(begin + (end - begin) * done / total, 1.0)

    return part(0.0, border), part(border, 1.0)
