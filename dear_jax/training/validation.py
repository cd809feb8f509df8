"""Scores of a run while it trains, on held-out photos, and a picture sheet.

Of what restores, results are scored; of a detector, the damage that it finds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dear_jax.evaluation import protocol, sheets
from dear_jax.evaluation.damage import draw_found
from dear_jax.evaluation.damage_scores import count, summarise
from dear_jax.evaluation.evaluate import evaluate
from dear_jax.evaluation.protocol import Sample
from dear_jax.evaluation.protocol_damage import open_pairs
from dear_jax.evaluation.score_cache import shown_samples
from dear_jax.evaluation.scores import mean
from dear_jax.evaluation.sheets import Picture
from dear_jax.inference.damage import DamageDetector
from dear_jax.inference.fixed_scale import RestorerOfChoices
from dear_jax.inference.loading import from_weights
from dear_jax.inference.query import QueryRestorer
from dear_jax.models.registry import role_of
from dear_jax.typing import Config
from dear_jax.weights import Weights

ROWS = 6


class _Over(Exception):
    """Ends an evaluation early."""


class Validation:
    """Scores EMA weights as the protocol does, on a few photos.

    Args:
      config: the run's; `config.evaluate` has photos, masks, scale, limit, reduce.
    """

    # What the best weights have most of.
    measure = "psnr"

    def __init__(self, config: Config):
        settings = config.evaluate
        self._samples = protocol.samples(
            settings.photos,
            settings.masks,
            settings.scale,
            settings.limit,
            settings.reduce,
            ("config.evaluate.photos", "config.evaluate.masks"),
        )
        facts = {"config": config.to_dict()}
        weights = Weights({}, config.model.to_dict(), facts)
        restorer = from_weights(weights, "ema")
        assert isinstance(restorer, QueryRestorer | RestorerOfChoices)
        self._restorer = restorer

    def __call__(
        self, variables: Any, is_over: Callable[[], bool] = lambda: False
    ) -> tuple[dict[str, float], Picture] | None:
        """Returns mean psnr, ssim and l1, and the sheet.

        None if `is_over`, which is called after each photo, returned True.
        """
        self._restorer.variables = variables
        shown = {(c.photo, c.bin): c for c in shown_samples(self._samples, ROWS)}
        restored = {}

        def keep(sample: Sample, output: Picture) -> None:
            if is_over():
                raise _Over
            if (sample.photo, sample.bin) in shown:
                restored[sample.photo, sample.bin] = output

        try:
            scores = evaluate(
                self._restorer, self._samples, perceptual=False, on_restored=keep
            )
        except _Over:
            return None
        means = {metric: mean(scores, metric) for metric in ("psnr", "ssim", "l1")}
        return means, self._draw([(sample, restored[k]) for k, sample in shown.items()])

    def _draw(self, shown: list[tuple[Sample, Picture]]) -> Picture:
        """Masked input | reconstruction | truth | importance map, a row a photo."""
        pictures, captions = [], []
        for sample, output in shown:
            row = [sheets.show_mask(sample.image, sample.mask), output, sample.truth]
            importance = self._restorer.importance(sample.image, sample.mask)
            if importance is not None:
                row.append(sheets.heat(importance))
            pictures.append(row)
            captions.append(f"{Path(sample.photo).stem}\n{sample.bin} %")
        scale = f"{self._samples.scale:g}"
        titles = [f"input, x{scale}", "reconstruction", "truth", "importance"]
        titles = titles[: len(pictures[0])]
        return sheets.contact_sheet(pictures, titles, captions)


class DamageValidation:
    """Scores EMA weights of a detector as protocol damage does.

    Args:
      config: the run's; `config.evaluate` has photos, masks and limit.
    """

    measure = "f1"

    def __init__(self, config: Config):
        settings = config.evaluate
        self._pairs = open_pairs(settings.photos, settings.masks, settings.limit)
        self._detector = DamageDetector(Weights({}, config.model.to_dict(), {}))

    def __call__(
        self, variables: Any, is_over: Callable[[], bool] = lambda: False
    ) -> tuple[dict[str, float], Picture] | None:
        """Returns f1, precision, recall and length, see `damage.Summary`, and a sheet.

        None if `is_over`, which is called after each photo, returned True.
        """
        self._detector.variables = variables
        counts, shown = [], []
        for pair in self._pairs:
            found = self._detector.find(pair.image)
            counts.append(count(pair, found))
            if len(shown) < ROWS:
                shown.append((pair, {"found": found}))
            if is_over():
                return None
        summary = summarise(counts)._asdict()
        chosen = ("f1", "precision", "recall", "length")
        return {name: summary[name] for name in chosen}, draw_found(shown)


def validation_of(config: Config) -> Validation | DamageValidation:
    """What scores a run of this configuration."""
    detects = role_of(config.model) == "detector"
    return DamageValidation(config) if detects else Validation(config)
