"""How far work has come: bars on a terminal, else a line now and then.

    with Progress(len(things), unit="photo") as progress:
        for thing in things:
            with progress.on(thing.name) as inside:
                work(thing, progress=inside)  # Calls inside(done, total).
            progress.tell(f"{thing.name}: done")

One bar counts the things, with the time that is left; a second one appears inside a
thing that takes long. Everything goes to stderr.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_LONG = 2.0  # Seconds in one thing, from which on its own bar is worth the place.
_EVERY = 30.0  # Seconds between lines where there is no terminal.


class Progress:
    """Tells of work on several things; a context manager.

    Args:
      total: how many things.
      unit: what one is called.
      stream: where to tell it, default stderr as it is then.
    """

    def __init__(self, total: int, unit: str = "photo", stream: TextIO | None = None):
        self._total, self._unit, self._done = total, unit, 0
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self.on_terminal = self._stream.isatty()

    def __enter__(self) -> "Progress":
        if self.on_terminal and self._total > 1:
            counts = f"{{n_fmt}}/{{total_fmt}} {self._unit}s, "
            self._bar = self.new_bar(self._total, counts, position=0)
        return self

    def __exit__(self, *error) -> None:
        if self._bar is not None:
            self._bar.close()

    def tell(self, line: str) -> None:
        """Prints a line, above the bars if there are any."""
        if self.on_terminal:
            from tqdm import tqdm

            tqdm.write(line, file=self._stream)
        else:
            print(line, file=self._stream, flush=True)

    @contextmanager
    def on(self, name: str) -> Iterator[Callable[[float, float], None]]:
        """Counts one more thing when left, also if it failed.

        Gives a function to be called with (done, total) as the thing proceeds.
        """
        inside = _Inside(self, name, below=self._bar is not None)
        try:
            yield inside
        finally:
            inside.close()
            self._done += 1
            if self._bar is not None:
                self._bar.update()

    def numbered(self, line: str) -> str:
        """A line that begins with how many things are done, if they are several."""
        return f"[{self._done}/{self._total}] {line}" if self._total > 1 else line

    def new_bar(self, total: float, counts: str, **arguments) -> Any:
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


class _Inside:
    """The progress of one thing; call it with (done, total)."""

    def __init__(self, outer: Progress, name: str, below: bool):
        self._outer, self._name = outer, name
        self._began = self._told = time.monotonic()
        self._bar: Any = None
        if outer.on_terminal:
            place = {"position": int(below), "delay": _LONG}
            self._bar = outer.new_bar(100, "", desc=f"{name}: ", **place)

    def __call__(self, done: float, total: float) -> None:
        share = done / total if total else 1.0
        if self._bar is None:
            self._say(share)
        else:
            self._bar.update(100 * share - self._bar.n)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _say(self, share: float) -> None:
        now = time.monotonic()
        if now - self._told < _EVERY or not 0 < share < 1:
            return
        self._told = now
        left = (now - self._began) * (1 - share) / share
        self._outer.tell(f"{self._name}: {share:.0%}, {duration(left)} left")


def duration(seconds: float) -> str:
    """A time for people: "3.2 s", "45 s", "2 min", "1 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
