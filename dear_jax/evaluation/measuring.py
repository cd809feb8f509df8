"""Measures one system after the other into one folder of results.

    scores/    what each restoration scored, a journal per system and set of cases
    pictures/  results to look at

What is there already is not measured again, by this or another command.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from dear_jax.evaluation.evaluate import Seconds, evaluate
from dear_jax.evaluation.gallery import Gallery
from dear_jax.evaluation.journal import Journal
from dear_jax.evaluation.protocol import Case, Cases
from dear_jax.evaluation.scores import Score
from dear_jax.inference.restorer import Restorer


class Bar(Protocol):
    """What is used of a progress bar."""

    total: int

    def update(self, count: int) -> object: ...
    def set_description(self, text: str) -> object: ...


class Measured(NamedTuple):
    """What a system did: a score per case, and its pictures of the cases shown."""

    scores: list[Score]
    pictures: list[np.ndarray]


class Measuring:
    """Measures systems on cases.

    Args:
      out: folder of results.
      bar: progress in results.

    Attributes:
      seconds: where the time went, over all systems.
    """

    def __init__(self, out: Path, bar: Bar):
        self._out, self._bar = out, bar
        self.seconds = Seconds()

    def skip(self, count: int) -> None:
        """Takes results from the progress bar that will not be."""
        self._bar.total -= count
        self._bar.update(0)

    def measure(
        self,
        system: Restorer,
        cases: Cases,
        shown: Sequence[Case],
        label: str,
        told: bool = False,
    ) -> Measured:
        """Scores a system, and keeps its pictures of the cases to be shown.

        Args:
          system: what restores.
          cases: what to restore.
          shown: see `gallery.shown_cases`.
          label: what the scores call the system.
          told: whether it is given the level of each case.

        Raises:
          InputError: for a photo that cannot be read or a folder that is full.
        """
        journal = self._journal(system, cases, told)
        gallery = Gallery(self._out / "pictures" / journal.name, shown, told)
        self._bar.set_description(f"{label} x{cases.scale:g}")
        scores = evaluate(
            system,
            cases,
            journal,
            on_progress=self._bar.update,
            on_restored=gallery.keep,
            seconds=self.seconds,
            told=told,
        )
        scores = [replace(score, system=label) for score in scores]
        return Measured(scores, gallery.pictures(system))

    def show(
        self,
        system: Restorer,
        cases: Cases,
        shown: Sequence[Case],
        told: bool = False,
    ) -> list[np.ndarray]:
        """A system's results, uint8 [h, w, 3], for some of the cases it was scored on.

        What is not among its pictures yet is restored.
        """
        folder = self._out / "pictures" / self._journal(system, cases, told).name
        return Gallery(folder, shown, told).pictures(system)

    def _journal(self, system: Restorer, cases: Cases, told: bool) -> Journal:
        """Where the system's scores of these cases are kept."""
        facts = cases.facts() | {
            "system": system.fingerprint(),
            "metrics": cases.protocol.metrics,
            "denoise": "told" if told else 0,
        }
        title = f"{system.name}-x{cases.scale:g}" + "-told" * told
        return Journal(self._out / "scores", title, facts)
