"""What MISF and LaMa are trained for: a generator's and a discriminator's loss.

One step function serves these objectives, and that of `dear_jax.training.texture`:

    output, stats = objective.generate(model, variables, batch)   raw, no composite
    loss, (state, parts) = objective.generator_loss(
        params, state, vgg, output, batch)                -> generator's gradient
    output = stop_gradient(output), or, with the generator just updated, its output
        again where `objective.generates_twice`
    loss, (state, parts) = objective.discriminator_loss(
        params, state, output, batch)                     -> gradient by params

`params` and `state` are the discriminator's, as `init` makes them: nested dicts, the
state with one collection ("spectral" or "batch_stats"), renewed by every pass.
`vgg` holds what `read_perceptual` reads, for these two VGG16's parameters. Of a
batch, "image" [B, H, W, 3] in [0, 1], the whole photo, and "mask" [B, H, W, 1], 1 =
missing, are used. All is pure; `parts` are the unweighted terms.

Choice: MISF compares photos by a VGG19, LaMa by a ResNet-50 made for ADE20K; here both
do by the VGG16 of LPIPS.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.errors import InputError
from dear_jax.models.discriminators import PatchGAN, SpectralPatchGAN
from dear_jax.models.lpips import (
    SMALLEST,
    Features,
    imagenet_normalised,
    read_vgg16,
)
from dear_jax.training import losses

Batch = Mapping[str, jax.Array]
Judged = tuple[jax.Array, tuple[dict[str, Any], dict[str, jax.Array]]]


class AdversarialObjective:
    """What such objectives have in common; their fields named like parts are weights.

    They have `discriminator`, the module behind `params` and `state`.
    """

    role: ClassVar[str] = "inpainter"
    has_discriminator: ClassVar[bool] = True

    def generate(
        self, model: nn.Module, variables: dict, batch: Batch
    ) -> tuple[jax.Array, dict[str, Any]]:
        """What the discriminator judges, [B, H, W, 3], of a training pass.

        Returns:
          The output, and the model's other variables after it.
        """
        stats = [collection for collection in variables if collection != "params"]
        return model.apply(
            variables, batch["image"], batch["mask"], train=True, mutable=stats
        )

    def judged_side(self, side: int, scale: float) -> int:
        """Side of what is judged, in pixels, for a low-resolution `side`."""
        return side

    @property
    def needs_vgg16(self) -> bool:
        """Whether a term with a weight looks at VGG16's features."""
        return any(getattr(self, name, 0) for name in ("perceptual", "style"))

    def read_perceptual(self, path: str) -> Any:
        """The parameters of the perceptual network; {} if no term needs it.

        Raises:
          InputError: if there is no such file; the message says how to make it.
        """
        return read_vgg16(path) if self.needs_vgg16 else {}

    def init(self, key: jax.Array, size: tuple[int, int]) -> tuple[dict, dict]:
        """Returns (params, state) of the discriminator for H x W photos.

        Raises:
          InputError: if the photos are too small.
        """
        least = max(SMALLEST["vgg16"], self.discriminator.least_side)
        if min(size) < least:
            raise InputError(
                f"config.data.side: photos of {size[0]} x {size[1]} pixels are too "
                f"small for the discriminator; take at least {least}"
            )
        state = self.discriminator.init(key, jnp.zeros((1, *size, 3)))
        return state.pop("params"), state

    def weighted(self, terms: dict[str, Callable[[], jax.Array]]):
        """(sum, terms) of what has a weight; what has none is not computed."""
        parts = {name: term() for name, term in terms.items() if getattr(self, name)}
        return sum(getattr(self, name) * part for name, part in parts.items()), parts


@dataclasses.dataclass(frozen=True)
class MISFObjective(AdversarialObjective):
    """MISF's losses; the fields are their weights.

    Attributes:
      l1, adversarial, perceptual, style: weights of the generator's terms.
      leak: also teach the discriminator the generator's adversarial term, as the
        authors' code does by never clearing its gradient. Choice: off, it works
        against the discriminator.
      width: of the discriminator.
    """

    l1: float = 1.0
    adversarial: float = 0.1
    perceptual: float = 0.1
    style: float = 250.0
    leak: bool = False
    width: int = 64

    generates_twice: ClassVar[bool] = False

    # Choice: of VGG19's 3_4 and 4_4, VGG16 has the counterparts 3_3 and 4_3.
    perceptual_layers: ClassVar = (
        "relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1",
    )  # fmt: skip
    style_layers: ClassVar = ("relu2_2", "relu3_3", "relu4_3", "relu5_2")

    @property
    def discriminator(self) -> SpectralPatchGAN:
        """The module behind `params` and `state`."""
        return SpectralPatchGAN(self.width)

    def generator_loss(self, params, state, vgg, output, batch: Batch) -> Judged:
        """L1, adversarial, perceptual and style loss of `output` [B, H, W, 3].

        Returns:
          (loss, (state, parts)).
        """
        target, mask = batch["image"], batch["mask"]
        logits, _, state = judge_by(self.discriminator, params, state, output)

        def features(image, layers):
            # Choice: as the authors, without ImageNet's mean and deviation.
            return list(
                Features("vgg16").apply({"params": vgg}, image, layers).values()
            )

        terms = {
            "l1": lambda: losses.l1_per_hole(output, target, mask),
            "adversarial": lambda: losses.binary_cross_entropy(logits, 1),
            "perceptual": lambda: losses.absolute_distance(
                *(features(i, self.perceptual_layers) for i in (output, target))
            ),
            "style": lambda: losses.style(
                *(features(i * mask, self.style_layers) for i in (output, target))
            ),
        }
        loss, parts = self.weighted(terms)
        return loss, (state, parts)

    def discriminator_loss(self, params, state, output, batch: Batch) -> Judged:
        """Half the BCE of the photo as real and of `output`, detached, as fake.

        Returns:
          (loss, (state, parts)).
        """
        judge, output = self.discriminator, jax.lax.stop_gradient(output)
        real, _, state = judge_by(judge, params, state, batch["image"])
        fake, _, state = judge_by(judge, params, state, output)
        parts = {
            "real": losses.binary_cross_entropy(real, 1),
            "fake": losses.binary_cross_entropy(fake, 0),
        }
        loss = (parts["real"] + parts["fake"]) / 2
        if self.leak:
            loss += self.adversarial * losses.binary_cross_entropy(fake, 1)
        return loss, (state, parts)


@dataclasses.dataclass(frozen=True)
class LaMaObjective(AdversarialObjective):
    """LaMa's losses; the fields are their weights.

    Attributes:
      l1: weight of known pixels; missing ones have none.
      adversarial, feature_matching, perceptual: weights of the generator's other
        terms.
      r1: weight of the discriminator's gradient penalty.
      width, layers: of the discriminator.
    """

    l1: float = 10.0
    adversarial: float = 10.0
    feature_matching: float = 100.0
    perceptual: float = 30.0
    r1: float = 0.001
    width: int = 64
    layers: int = 4

    generates_twice: ClassVar[bool] = True

    # Choice: the last layers of VGG16's blocks for the four stages of the ResNet-50.
    perceptual_layers: ClassVar = (
        "relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3",
    )  # fmt: skip

    @property
    def discriminator(self) -> PatchGAN:
        """The module behind `params` and `state`."""
        return PatchGAN(self.width, self.layers)

    def generator_loss(self, params, state, vgg, output, batch: Batch) -> Judged:
        """L1 of known pixels, adversarial, feature-matching and perceptual loss.

        Returns:
          (loss, (state, parts)).
        """
        judge, target = self.discriminator, batch["image"]
        _, real_maps, state = judge_by(judge, params, state, target)
        logits, maps, state = judge_by(judge, params, state, output)

        def features(image):
            image = imagenet_normalised(image)
            maps = Features("vgg16").apply(
                {"params": vgg}, image, self.perceptual_layers
            )
            return list(maps.values())

        terms = {
            "l1": lambda: losses.weighted_l1(output, target, batch["mask"], 1.0, 0.0),
            "adversarial": lambda: losses.binary_cross_entropy(logits, 1),
            "feature_matching": lambda: losses.feature_matching(maps, real_maps),
            "perceptual": lambda: losses.squared_distance(
                features(output), features(target)
            ),
        }
        loss, parts = self.weighted(terms)
        return loss, (state, parts)

    def discriminator_loss(self, params, state, output, batch: Batch) -> Judged:
        """BCE of the photo as real, of the missing patches of `output` as fake, and R1.

        Returns:
          (loss, (state, parts)).
        """

        def fake(logits):
            return losses.masked_fake(logits, batch["mask"])

        photos = batch["image"], output
        return judged_with_r1(self.discriminator, params, state, photos, fake, self.r1)


def judged_with_r1(
    discriminator: nn.Module,
    params,
    state,
    photos: tuple[jax.Array, jax.Array],
    fake_loss: Callable[[jax.Array], jax.Array],
    r1: float,
) -> Judged:
    """BCE of real photos as real, a loss of fake ones, and R1 (LaMa).

    Args:
      discriminator, params, state: what judges.
      photos: real and fake ones, each [B, H, W, 3]; the fake ones are detached.
      fake_loss: of the fake photos' logits.
      r1: weight of the gradient penalty on real photos.
    """

    def judge_real(real):
        logits, _, after = judge_by(discriminator, params, state, real)
        return logits, after

    real, fake = photos
    penalty, (real, after) = losses.r1(judge_real, real)
    fake, _, after = judge_by(discriminator, params, after, jax.lax.stop_gradient(fake))
    parts = {
        "real": losses.binary_cross_entropy(real, 1),
        "fake": fake_loss(fake),
        "r1": penalty,
    }
    return parts["real"] + parts["fake"] + r1 * penalty, (after, parts)


def judge_by(discriminator: nn.Module, params, state, image):
    """A training pass of a discriminator: (logits, activations, new state)."""
    (logits, maps), state = discriminator.apply(
        {"params": params, **state}, image, train=True, mutable=list(state)
    )
    return logits, maps, state
