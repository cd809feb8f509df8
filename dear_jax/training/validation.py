"""Looking at a run while it trains: scores on held-out photos and a picture sheet."""

from pathlib import Path

import ml_collections
import numpy as np

from dear_jax import sheet
from dear_jax.evaluation import protocol
from dear_jax.evaluation.evaluate import evaluate
from dear_jax.systems.catalogue import from_weights
from dear_jax.weights import Weights


class Validation:
    """Scores EMA weights as the protocol does, on a few photos.

    Args:
      config: the run's; `config.evaluate` has photos, masks, scale, limit, reduce.
    """

    def __init__(self, config: ml_collections.ConfigDict):
        settings = config.evaluate
        self._cases = list(
            protocol.cases(
                settings.photos,
                settings.masks,
                settings.scale,
                settings.limit,
                settings.reduce,
            )
        )
        facts = {"config": config.to_dict()}
        weights = Weights({}, config.model.to_dict(), facts)
        self._restorer = from_weights(weights, "ema")

    def __call__(self, variables) -> tuple[dict[str, float], np.ndarray]:
        """Returns mean psnr, ssim and l1, and the sheet, uint8 [h, w, 3]."""
        self._restorer.variables = variables
        restored = []
        scores = evaluate(
            {"ema": self._restorer},
            self._cases,
            on_progress=lambda score, case, output: restored.append(output),
        )
        means = {
            metric: float(np.mean([getattr(score, metric) for score in scores]))
            for metric in ("psnr", "ssim", "l1")
        }
        return means, self._draw(restored)

    def _draw(self, restored: list[np.ndarray], rows: int = 6) -> np.ndarray:
        """Masked input | reconstruction | truth | importance map.

        One row a photo, with the bins of hole ratios in turn.
        """
        bins = len({case.bin for case in self._cases})
        turns = [i for i, c in enumerate(self._cases) if i % bins == c.index % bins]
        pictures, captions = [], []
        for i in turns[:rows]:
            case, output = self._cases[i], restored[i]
            row = [sheet.show_mask(case.image, case.mask), output, case.truth]
            importance = self._restorer.importance(case.image, case.mask)
            if importance is not None:
                row.append(sheet.heat(importance))
            pictures.append(row)
            captions.append(f"{Path(case.photo).stem}\n{case.bin} %")
        titles = [f"input, x{case.scale:g}", "reconstruction", "truth", "importance"]
        titles = titles[: len(pictures[0])]
        return sheet.contact_sheet(pictures, titles, captions)
