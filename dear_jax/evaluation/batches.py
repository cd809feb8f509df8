"""Cases in batches of one shape, read ahead while the model works.

Which cases share a batch does not depend on where an evaluation was stopped: photos
are taken in fixed groups, in order, and a group is done wholly or not at all. So one
that goes on gives the same digits as one that was never stopped.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dear_jax.evaluation.protocol import Case, Cases

READ_AHEAD = 2


class Batch:
    """Cases whose inputs are of one size and whose truths are of one size.

    Attributes:
      cases: the cases.
      images: their inputs, uint8 [B, H, W, 3]. The first len(cases) of B are theirs,
        the rest repeats the last one, so that every batch of a size has the same
        shape and nothing is compiled again for the last.
      masks: bool [B, H, W].
      truths: uint8 [B, h, w, 3].
    """

    def __init__(self, cases: Sequence[Case], size: int):
        self.cases = list(cases)
        padded = self.cases + self.cases[-1:] * (size - len(cases))
        self.images = np.stack([case.image for case in padded])
        self.masks = np.stack([case.mask for case in padded])
        self.truths = np.stack([case.truth for case in padded])


def groups(
    cases: Cases, photos: int, batch: int, done: Callable[[Sequence[int]], bool]
) -> Iterator[list[Batch]]:
    """Reads the cases group by group, a little ahead of what is being used.

    Args:
      cases: all cases.
      photos: how many photos make a group.
      batch: cases in a batch.
      done: whether the photos of these indices need not be read.

    Yields:
      The batches of each group that is not done.
    """
    count = len(cases.names)
    every = (range(i, min(i + photos, count)) for i in range(0, count, photos))
    wanted = [indices for indices in every if not done(indices)]
    with ThreadPoolExecutor(max_workers=READ_AHEAD) as pool:
        under_way = deque()
        try:
            for indices in wanted:
                under_way.append(pool.submit(_read, cases, indices, batch))
                if len(under_way) > READ_AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(cases: Cases, indices: Sequence[int], batch: int) -> list[Batch]:
    by_shape: dict[tuple, list[Case]] = {}
    for index in indices:
        for case in cases.of_photo(index):
            by_shape.setdefault((case.image.shape, case.truth.shape), []).append(case)
    return [
        Batch(alike[start : start + batch], batch)
        for alike in by_shape.values()
        for start in range(0, len(alike), batch)
    ]
