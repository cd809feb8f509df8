"""Looking at a run while it trains: scores on held-out photos and a picture sheet."""

from collections.abc import Callable
from pathlib import Path

import ml_collections
import numpy as np

from dear_jax.evaluation import protocol, sheet
from dear_jax.evaluation.evaluate import evaluate
from dear_jax.evaluation.gallery import shown_cases
from dear_jax.evaluation.protocol import Case
from dear_jax.evaluation.scores import mean
from dear_jax.inference.loading import from_weights
from dear_jax.weights import Weights

ROWS = 6


class _Over(Exception):
    """Ends an evaluation early."""


class Validation:
    """Scores EMA weights as the protocol does, on a few photos.

    Args:
      config: the run's; `config.evaluate` has photos, masks, scale, limit, reduce.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        settings = config.evaluate
        self._cases = protocol.cases(
            settings.photos,
            settings.masks,
            settings.scale,
            settings.limit,
            settings.reduce,
            ("config.evaluate.photos", "config.evaluate.masks"),
        )
        facts = {"config": config.to_dict()}
        weights = Weights({}, config.model.to_dict(), facts)
        self._restorer = from_weights(weights, "ema")

    def __call__(
        self, variables, is_over: Callable[[], bool] = lambda: False
    ) -> tuple[dict[str, float], np.ndarray] | None:
        """Returns mean psnr, ssim and l1, and the sheet, uint8 [h, w, 3].

        None if `is_over`, which is asked after each photo, was true.
        """
        self._restorer.variables = variables
        shown = {(c.photo, c.bin): c for c in shown_cases(self._cases, ROWS)}
        restored = {}

        def keep(case: Case, output: np.ndarray) -> None:
            if is_over():
                raise _Over
            if (case.photo, case.bin) in shown:
                restored[case.photo, case.bin] = output

        try:
            scores = evaluate(
                self._restorer, self._cases, perceptual=False, on_restored=keep
            )
        except _Over:
            return None
        means = {metric: mean(scores, metric) for metric in ("psnr", "ssim", "l1")}
        return means, self._draw([(case, restored[k]) for k, case in shown.items()])

    def _draw(self, shown: list[tuple[Case, np.ndarray]]) -> np.ndarray:
        """Masked input | reconstruction | truth | importance map, a row a photo."""
        pictures, captions = [], []
        for case, output in shown:
            row = [sheet.show_mask(case.image, case.mask), output, case.truth]
            importance = self._restorer.importance(case.image, case.mask)
            if importance is not None:
                row.append(sheet.heat(importance))
            pictures.append(row)
            captions.append(f"{Path(case.photo).stem}\n{case.bin} %")
        scale = f"{self._cases.scale:g}"
        titles = [f"input, x{scale}", "reconstruction", "truth", "importance"]
        titles = titles[: len(pictures[0])]
        return sheet.contact_sheet(pictures, titles, captions)
