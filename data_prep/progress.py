"""The progress bar of all that takes long: images done, their rate, time left."""

import sys
from typing import Any


def progress(total: int, what: str, done: int = 0) -> Any:
    """Returns a tqdm bar over `total` images, of which `done` were there before.

    `bar.update(n)` counts n more. In a log file it adds a line twice a minute.
    """
    from tqdm import tqdm

    pause = 0.3 if sys.stderr.isatty() else 30
    return tqdm(
        total=total,
        initial=done,
        desc=what,
        unit=" images",
        mininterval=pause,
        dynamic_ncols=True,
    )
