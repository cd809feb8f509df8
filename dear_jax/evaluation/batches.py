"""Cases in batches of one shape, read ahead while the model works.

Photos are taken in fixed groups, in order, and a group is done wholly or not at all;
which cases share a batch, and the batch's shape, do not depend on where an evaluation
was stopped. So one that goes on gives the same digits as one that was never stopped.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

from dear_jax.evaluation.protocol import Case, Cases
from dear_jax.inference.devices import device_count

READ_AHEAD = 2
# Results of a device in a batch, and pixels of their truths: a CPU gains nothing from
# more of them, and nothing has room for many large ones.
RESULTS_AT_ONCE, RESULTS_AT_ONCE_ELSEWHERE = {"cpu": 8}, 64
PIXELS_AT_ONCE, PIXELS_AT_ONCE_ELSEWHERE = {"cpu": 2**20}, 2**22


class Batch:
    """Cases whose inputs are of one size and whose truths are of one size.

    Attributes:
      cases: the cases.
      images: their inputs, uint8 [B, H, W, 3]. The first len(cases) of B are theirs,
        the rest repeats the last one.
      masks: bool [B, H, W].
      truths: uint8 [B, h, w, 3].
      levels: floats [B], how degraded each input is.
    """

    def __init__(self, cases: Sequence[Case], size: int):
        self.cases = list(cases)
        padded = self.cases + self.cases[-1:] * (size - len(cases))
        self.images = np.stack([case.image for case in padded])
        self.masks = np.stack([case.mask for case in padded])
        self.truths = np.stack([case.truth for case in padded])
        self.levels = [case.level for case in padded]


class Batches:
    """The cases of an evaluation in groups of photos and batches of cases.

    Args:
      cases: what is to be restored.

    Attributes:
      photos: how many photos make a group.
    """

    def __init__(self, cases: Cases):
        self._cases, self._devices = cases, device_count()
        kind = jax.default_backend()
        self._most = RESULTS_AT_ONCE.get(kind, RESULTS_AT_ONCE_ELSEWHERE)
        self._most *= self._devices
        self._pixels = PIXELS_AT_ONCE.get(kind, PIXELS_AT_ONCE_ELSEWHERE)
        self._pixels *= self._devices
        self.photos = min(max(1, self._most // cases.per_photo), len(cases.names))
        self._usual = cases.of_photo(0)[0].truth.shape

    def size(self, truth: tuple[int, ...], count: int) -> int:
        """Cases of a batch, given the truths' shape (h, w, 3) and how many there are.

        Those of the first photo's shape always come in batches of one size, so that
        nothing is compiled for the last; rare shapes in the next power of two.
        """
        full = min(self._most, self.photos * self._cases.per_photo)
        room = self._pixels // (truth[0] * truth[1])
        most = max(1, min(full, room))
        if truth != self._usual:
            most = min(most, 2 ** (count - 1).bit_length())
        return most + -most % self._devices

    def groups(
        self, is_done: Callable[[Sequence[int]], bool]
    ) -> Iterator[Iterator[Batch]]:
        """Reads the cases group by group, a little ahead of what is being used.

        Args:
          is_done: whether the photos of these indices need not be read; asked once
            for each group, in order.

        Yields:
          The batches of each group that is not done.
        """
        count = len(self._cases.names)
        with ThreadPoolExecutor(max_workers=READ_AHEAD) as pool:
            under_way: deque[Future] = deque()
            try:
                for start in range(0, count, self.photos):
                    indices = range(start, min(start + self.photos, count))
                    if is_done(indices):
                        continue
                    under_way.append(pool.submit(self._read, indices))
                    if len(under_way) > READ_AHEAD:
                        yield self._batches(under_way.popleft().result())
                while under_way:
                    yield self._batches(under_way.popleft().result())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, indices: Sequence[int]) -> list[list[Case]]:
        """The cases of some photos, those of one shape together."""
        alike: dict[tuple, list[Case]] = {}
        for index in indices:
            for case in self._cases.of_photo(index):
                alike.setdefault((case.image.shape, case.truth.shape), []).append(case)
        return list(alike.values())

    def _batches(self, read: list[list[Case]]) -> Iterator[Batch]:
        """Stacked one by one, as they are needed: stacked, truths are copied."""
        for alike in read:
            size = self.size(alike[0].truth.shape, len(alike))
            for start in range(0, len(alike), size):
                yield Batch(alike[start : start + size], size)
