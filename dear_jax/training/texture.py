"""What a query model learns after fidelity: texture, on whole pictures at one scale.

L1 alone hedges: where the photo says little, its best answer is a blur. Here LPIPS by
VGG16 and a discriminator that sees the whole picture look at the result too. Training
begins from the fidelity weights (`config.train.start_from`); the two sets of weights
are then interpolated, see `dear_jax.inference.texture`.

LPIPS by AlexNet only measures: what a model has been trained for measures nothing.
"""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax

from dear_jax.models.discriminators import PatchGAN
from dear_jax.models.lpips import LPIPS, read_lpips
from dear_jax.training import losses
from dear_jax.training.adversarial import (
    AdversarialObjective,
    Batch,
    Judged,
    judge_by,
    judged_with_r1,
)


@dataclasses.dataclass(frozen=True)
class TextureObjective(AdversarialObjective):
    """L1 + LPIPS + adversarial loss of pictures in [0, 1]; the fields are weights.

    Choice: perceptual 1 and adversarial 5e-3 are ESRGAN's. ESRGAN's L1 of 1e-2 and
    LaMa's of a third of the perceptual term are for other perceptual distances, of
    deep features; LPIPS hardly sees a shift of colour, so that L1 has to hold it: 1,
    with which it is a tenth of the loss. The discriminator, its R1 and the feature
    matching, off as in ESRGAN, are LaMa's.

    Attributes:
      l1: weight of mean |output - target|.
      perceptual: of LPIPS by VGG16.
      adversarial: of the non-saturating loss against the discriminator.
      feature_matching: of the discriminator's activations.
      r1: of the discriminator's gradient penalty.
      width, layers: of the discriminator.
    """

    l1: float = 1.0
    perceptual: float = 1.0
    adversarial: float = 5e-3
    feature_matching: float = 0.0
    r1: float = 0.001
    width: int = 64
    layers: int = 4

    role: ClassVar[str] = "query"
    # As ESRGAN: the discriminator learns from what it has just judged.
    generates_twice: ClassVar[bool] = False

    @property
    def discriminator(self) -> PatchGAN:
        """The module behind `params` and `state`."""
        return PatchGAN(self.width, self.layers)

    def judged_side(self, side: int, scale: float) -> int:
        """See `AdversarialObjective.judged_side`."""
        return round(side * scale)

    def read_perceptual(self, path: str) -> Any:
        """The parameters of LPIPS; see `AdversarialObjective.read_perceptual`."""
        asked = "config.objective.vgg16"
        return read_lpips("vgg16", path, asked) if self.needs_vgg16 else {}

    def generate(
        self, model: nn.Module, variables: dict, batch: Batch
    ) -> tuple[jax.Array, dict[str, Any]]:
        """The whole pictures, [B, T, T, 3] in [0, 1], not clipped."""
        level = batch["level"] if getattr(model, "level_input", False) else None
        size = batch["target"].shape[1:3]
        colours = model.apply(
            variables, batch["image"], batch["mask"], size, level, method="picture"
        )
        return (colours + 1) / 2, {}

    def generator_loss(self, params, state, vgg, output, batch: Batch) -> Judged:
        """L1, LPIPS, adversarial and feature-matching loss of `output` [B, T, T, 3].

        Returns:
          (loss, (state, parts)).
        """
        judge, target = self.discriminator, batch["target"]
        real_maps = None
        if self.feature_matching:
            _, real_maps, state = judge_by(judge, params, state, target)
        logits, maps, state = judge_by(judge, params, state, output)
        distance = LPIPS("vgg16")
        terms = {
            "l1": lambda: losses.l1(output, target),
            "perceptual": lambda: distance.apply(
                {"params": vgg}, output, target
            ).mean(),
            "adversarial": lambda: losses.binary_cross_entropy(logits, 1),
            "feature_matching": lambda: losses.feature_matching(maps, real_maps),
        }
        loss, parts = self.weighted(terms)
        return loss, (state, parts)

    def discriminator_loss(self, params, state, output, batch: Batch) -> Judged:
        """BCE of the target as real and of the whole `output` as fake, and R1.

        Returns:
          (loss, (state, parts)).
        """

        def fake(logits):
            return losses.binary_cross_entropy(logits, 0)

        photos = batch["target"], output
        return judged_with_r1(self.discriminator, params, state, photos, fake, self.r1)
