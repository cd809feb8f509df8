"""Restored photos to look at, kept as files while a system is measured."""

from pathlib import Path

import numpy as np

from dear_jax import photo
from dear_jax.errors import InputError
from dear_jax.evaluation.protocol import Case, Cases
from dear_jax.systems.restorer import Restorer

ROWS = 8


def shown_cases(cases: Cases, rows: int = ROWS) -> list[Case]:
    """The cases worth a picture: the first photos, one bin each, bins in turn."""
    bins = len(cases.bins)
    count = min(rows, len(cases.names))
    return [cases.of_photo(i)[i % bins] for i in range(count)]


class Gallery:
    """A system's results for `shown_cases`.

    Args:
      folder: of its pictures; made when the first one is kept.
      shown: the cases to show.
    """

    def __init__(self, folder: Path, shown: list[Case]):
        self._folder = folder
        self._shown = {(case.photo, case.bin): i for i, case in enumerate(shown)}
        self._cases = shown

    def keep(self, case: Case, output: np.ndarray) -> None:
        """Writes a result, uint8 [h, w, 3], if its case is to be shown."""
        place = self._shown.get((case.photo, case.bin))
        if place is not None:
            photo.write_photo(self._file(place), output)

    def pictures(self, system: Restorer) -> list[np.ndarray]:
        """All results, uint8 [h, w, 3]; what was not kept is restored."""
        return [self._picture(i, system) for i in range(len(self._cases))]

    def _picture(self, place: int, system: Restorer) -> np.ndarray:
        case = self._cases[place]
        try:
            kept = photo.read_photo(self._file(place))
        except InputError:
            kept = None
        if kept is not None and kept.shape == case.truth.shape:
            return kept
        output = system(case.image, case.mask, size=case.truth.shape[:2])
        photo.write_photo(self._file(place), output)
        return output

    def _file(self, place: int) -> Path:
        return self._folder / f"{place:02d}-{self._cases[place].bin}.png"
