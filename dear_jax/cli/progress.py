"""Shows how far work on several photos is: bars on a terminal, else a line at times.

    with ProgressDisplay(len(jobs)) as display:
        for job in jobs:
            with display.on(job.name) as progress:
                work(job, progress)  # Calls progress(done, total).
            display.print(f"{job.name}: done")

One bar counts the photos, with the time that is left; a second one appears inside a
photo that takes long. Everything goes to stderr.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dear_jax.inference.progress import Progress

_LONG = 2.0  # Seconds in one photo, from which on its own bar is worth the place.
_EVERY = 30.0  # Seconds between lines where there is no terminal.


class ProgressDisplay:
    """The progress of work on several photos; a context manager.

    Args:
      total: number of photos.
      stream: where it is shown, default stderr as it is then.
    """

    def __init__(self, total: int, stream: Any = None):
        self._total, self._done = total, 0
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self.on_terminal = self._stream.isatty()

    def __enter__(self) -> "ProgressDisplay":
        if self.on_terminal and self._total > 1:
            counts = "{n_fmt}/{total_fmt} photos, "
            self._bar = self._new_bar(self._total, counts, position=0)
        return self

    def __exit__(self, *error) -> None:
        if self._bar is not None:
            self._bar.close()

    def print(self, line: str) -> None:
        """Prints a line, above the bars if there are any."""
        if self.on_terminal:
            from tqdm import tqdm

            tqdm.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    def numbered(self, line: str) -> str:
        """A line that begins with the number of photos done, if there are several."""
        return f"[{self._done}/{self._total}] {line}" if self._total > 1 else line

    @contextmanager
    def on(self, name: str) -> Iterator[Progress]:
        """Counts one more photo when left, also if it failed.

        Gives a function to be called with (done, total) as the photo proceeds.
        """
        bar = None
        if self.on_terminal:
            place = {"position": int(self._bar is not None), "delay": _LONG}
            bar = self._new_bar(100, "", desc=f"{name}: ", **place)
        began = printed = time.monotonic()

        def progress(done: float, total: float) -> None:
            nonlocal printed
            share = done / total if total else 1.0
            if bar is not None:
                bar.update(100 * share - bar.n)
                return
            now = time.monotonic()
            if now - printed >= _EVERY and 0 < share < 1:
                printed = now
                left = duration((now - began) * (1 - share) / share)
                self.print(f"{name}: {share:.0%}, {left} left")

        try:
            yield progress
        finally:
            if bar is not None:
                bar.close()
            self._done += 1
            if self._bar is not None:
                self._bar.update()

    def _new_bar(self, total: float, counts: str, **arguments) -> Any:
        """A bar with a share, `counts` and the time; nothing of it stays."""
        from tqdm import tqdm

        return tqdm(
            total=total,
            file=self._stream,
            bar_format=f"{{desc}}{{percentage:3.0f}}%|{{bar}}| {counts}"
            "{elapsed} < {remaining}",
            dynamic_ncols=True,
            leave=False,
            smoothing=0,
            **arguments,
        )


def duration(seconds: float) -> str:
    """A rounded time: "3.2 s", "45 s", "2 min", "1 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
