"""Restored photos to look at, kept as files while a system is measured."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dear_jax.errors import InputError
from dear_jax.evaluation.protocol import Case, Cases
from dear_jax.evaluation.scores import Score
from dear_jax.images.io import read_photo, write_photo
from dear_jax.inference.restorer import Restorer

ROWS = 8


def shown_cases(cases: Cases, rows: int = ROWS) -> list[Case]:
    """The cases worth a picture: the first photos, one case each, bins in turn."""
    bins = cases.per_photo
    count = min(rows, len(cases.names))
    return [cases.of_photo(i)[i % bins] for i in range(count)]


def worst_and_median(
    cases: Cases, scores: Sequence[Score], count: int
) -> dict[str, list[Case]]:
    """The cases that a system did worst, the worst first, and those around its median.

    Args:
      cases: all of them.
      scores: one system's, of each case; ordered by PSNR.
      count: how many of each, at most.
    """
    photos = list(cases.names)
    ordered = sorted(scores, key=lambda score: score.psnr)
    middle = max(0, (len(ordered) - count) // 2)
    parts = {"worst": ordered[:count], "median": ordered[middle : middle + count]}
    return {
        name: [
            case
            for score in part
            for case in cases.of_photo(photos.index(score.photo))
            if case.bin == score.bin
        ]
        for name, part in parts.items()
    }


class Gallery:
    """A system's results for `shown_cases`.

    Args:
      folder: of its pictures; made when the first one is kept.
      shown: the cases to show.
      told: whether the system is given the level of each case.
    """

    def __init__(self, folder: Path, shown: Sequence[Case], told: bool = False):
        self._told = told
        self._cases = list(shown)
        self._files = {case.place: folder / _name(case) for case in shown}

    def keep(self, case: Case, output: np.ndarray) -> None:
        """Writes a result, uint8 [h, w, 3], if its case is to be shown."""
        file = self._files.get(case.place)
        if file is not None:
            write_photo(file, output)

    def pictures(self, system: Restorer) -> list[np.ndarray]:
        """All results, uint8 [h, w, 3]; what was not kept is restored."""
        return [self._picture(case, system) for case in self._cases]

    def _picture(self, case: Case, system: Restorer) -> np.ndarray:
        file = self._files[case.place]
        try:
            kept = read_photo(file)
        except InputError:
            kept = None
        if kept is not None and kept.shape == case.truth.shape:
            return kept
        more = {"denoise": case.level} if self._told else {}
        output = system(case.image, case.mask, size=case.truth.shape[:2], **more)
        write_photo(file, output)
        return output


def _name(case: Case) -> str:
    return f"{case.photo_digest[:12]}-{case.mask_digest[:12]}.png"
