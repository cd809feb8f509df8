"""Objectives with a discriminator: MISF's, LaMa's, and texture for query models.

A step (`dear_jax.training.step`) calls

    output, stats = objective.generate(model, variables, batch)   raw, no composite
    loss, (state, parts) = objective.generator_loss(
        params, state, vgg, output, batch)             -> gradient of the generator
    output, stats = objective.generate(...)            where it `generates_twice`
    loss, (state, parts) = objective.discriminator_loss(
        params, state, output, batch)                  -> gradient of the discriminator

`params` and `state` are the discriminator's, as `init` makes them: nested dicts, the
state with one collection ("spectral" or "batch_stats"), renewed by every pass. `vgg`
holds what `read_perceptual` reads. Of a batch the real photos [B, H, W, 3] in [0, 1]
and "mask" [B, H, W, 1], 1 = missing, are used. All is pure; `parts` are the unweighted
terms.

Choice: MISF compares photos by a VGG19, LaMa by a ResNet-50 made for ADE20K; here both
do by the VGG16 of LPIPS.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.errors import InputError
from dear_jax.models.discriminators import PatchGAN, SpectralPatchGAN
from dear_jax.models.lpips import (
    LPIPS,
    SMALLEST,
    Features,
    imagenet_normalised,
)
from dear_jax.training import losses
from dear_jax.training.losses import Maps, Scalar
from dear_jax.typing import Array
from dear_jax.weights import read_lpips, read_vgg16

Batch = Mapping[str, Array]
Photos = Float[Array, "B H W 3"]
Terms = dict[str, Callable[[], Scalar]]
# Loss, (the discriminator's state after it, the loss's unweighted terms).
Loss = tuple[Scalar, tuple[Mapping[str, Any], dict[str, Scalar]]]


class AdversarialObjective:
    """What such objectives share; fields with the name of a term are its weight.

    Subclasses have the fields `adversarial`, `width`, and where the defaults below
    serve them `feature_matching`, `r1` and `layers`.

    Attributes:
      real: key of a batch's real photos.
      generates_twice: whether the discriminator learns from the output of the
        generator just updated, not from the one that it has judged.
    """

    role: ClassVar[str] = "inpainter"
    has_discriminator: ClassVar[bool] = True
    generates_twice: ClassVar[bool] = False
    real: ClassVar[str] = "image"
    r1: float
    width: int
    layers: int

    @property
    def discriminator(self) -> nn.Module:
        """The module behind `params` and `state`."""
        return PatchGAN(self.width, self.layers)

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
        state: Any = self.discriminator.init(key, jnp.zeros((1, *size, 3)))
        return state.pop("params"), state

    def output_side(self, side: int, scale: float) -> int:
        """Side of the output, in pixels, for a low-resolution `side`."""
        return side

    def generate(
        self, model: nn.Module, variables: dict, batch: Batch
    ) -> tuple[Photos, Mapping[str, Any]]:
        """Runs a training pass of the generator.

        Returns:
          The output, and the model's other variables after the pass.
        """
        stats = [collection for collection in variables if collection != "params"]
        return model.apply(
            variables, batch["image"], batch["mask"], train=True, mutable=stats
        )

    def terms(self, vgg: Any, output: Photos, batch: Batch) -> Terms:
        """The generator's terms besides those of the discriminator, by name."""
        raise NotImplementedError

    def generator_loss(
        self, params: Any, state: Any, vgg: Any, output: Photos, batch: Batch
    ) -> Loss:
        """The weighted sum of the terms of `output`.

        Terms without a weight are not computed.
        """
        real_maps: Maps = ()
        if getattr(self, "feature_matching", 0):
            _, real_maps, state = self._discriminate(params, state, batch[self.real])
        logits, maps, state = self._discriminate(params, state, output)
        terms = {
            **self.terms(vgg, output, batch),
            "adversarial": lambda: losses.binary_cross_entropy(logits, 1),
            "feature_matching": lambda: losses.feature_matching(maps, real_maps),
        }
        weights = {name: getattr(self, name, 0) for name in terms}
        parts = {name: term() for name, term in terms.items() if weights[name]}
        loss: Any = sum(weights[name] * part for name, part in parts.items())
        return loss, (state, parts)

    def discriminator_loss(
        self, params: Any, state: Any, output: Photos, batch: Batch
    ) -> Loss:
        """BCE of real photos as real and of `output`, detached, as fake, and R1."""

        def logits_of(photos):
            logits, _, after = self._discriminate(params, state, photos)
            return logits, after

        penalty, (real, after) = losses.r1(logits_of, batch[self.real])
        output = jax.lax.stop_gradient(output)
        fake, _, after = self._discriminate(params, after, output)
        parts = {
            "real": losses.binary_cross_entropy(real, 1),
            "fake": self.fake_loss(fake, batch),
            "r1": penalty,
        }
        return parts["real"] + parts["fake"] + self.r1 * penalty, (after, parts)

    def fake_loss(self, logits: Float[Array, "B h w 1"], batch: Batch) -> Scalar:
        """The discriminator's loss for its logits of an output."""
        return losses.binary_cross_entropy(logits, 0)

    def _discriminate(
        self, params: Any, state: Any, photos: Photos
    ) -> tuple[Float[jax.Array, "B h w 1"], Maps, Mapping[str, Any]]:
        """A training pass of the discriminator: logits, activations, new state."""
        (logits, maps), after = self.discriminator.apply(
            {"params": params, **state}, photos, train=True, mutable=list(state)
        )
        return logits, maps, after


@dataclasses.dataclass(frozen=True)
class MISFObjective(AdversarialObjective):
    """MISF's losses.

    Attributes:
      l1, adversarial, perceptual, style: weights of the generator's terms.
      leak: also give the discriminator the generator's adversarial term, as the
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

    # Choice: of VGG19's 3_4 and 4_4, VGG16 has the counterparts 3_3 and 4_3.
    perceptual_layers: ClassVar = (
        "relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1",
    )  # fmt: skip
    style_layers: ClassVar = ("relu2_2", "relu3_3", "relu4_3", "relu5_2")

    @property
    def discriminator(self) -> SpectralPatchGAN:
        """See `AdversarialObjective.discriminator`."""
        return SpectralPatchGAN(self.width)

    def terms(self, vgg: Any, output: Photos, batch: Batch) -> Terms:
        """L1, perceptual and style loss."""
        target, mask = batch["image"], batch["mask"]

        def features(image, layers):
            # Choice: as the authors, without ImageNet's mean and deviation.
            return _vgg16_features(vgg, image, layers)

        return {
            "l1": lambda: losses.l1_per_hole(output, target, mask),
            "perceptual": lambda: losses.absolute_distance(
                *(features(i, self.perceptual_layers) for i in (output, target))
            ),
            "style": lambda: losses.style(
                *(features(i * mask, self.style_layers) for i in (output, target))
            ),
        }

    def discriminator_loss(
        self, params: Any, state: Any, output: Photos, batch: Batch
    ) -> Loss:
        """Half the BCE of the photo as real and of `output`, detached, as fake."""
        output = jax.lax.stop_gradient(output)
        real, _, state = self._discriminate(params, state, batch["image"])
        fake, _, state = self._discriminate(params, state, output)
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
    """LaMa's losses.

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

    def terms(self, vgg: Any, output: Photos, batch: Batch) -> Terms:
        """L1 of known pixels and perceptual loss."""
        target = batch["image"]

        def features(image):
            image = imagenet_normalised(image)
            return _vgg16_features(vgg, image, self.perceptual_layers)

        return {
            "l1": lambda: losses.weighted_l1(output, target, batch["mask"], 1.0, 0.0),
            "perceptual": lambda: losses.squared_distance(
                features(output), features(target)
            ),
        }

    def fake_loss(self, logits: Float[Array, "B h w 1"], batch: Batch) -> Scalar:
        """BCE of missing patches as fake and of known ones as real."""
        return losses.masked_fake(logits, batch["mask"])


@dataclasses.dataclass(frozen=True)
class TextureObjective(AdversarialObjective):
    """Texture for a query model after fidelity, on whole pictures at one scale.

    L1 alone hedges: where the photo says little, its best result is a blur. Here
    LPIPS by VGG16 and a discriminator see the whole picture too, target and output in
    [0, 1]. Training begins from the fidelity weights
    (`config.train.start_from`); the two sets of weights are then interpolated, see
    `dear_jax.inference.texture`. LPIPS by AlexNet only measures: what a model has been
    trained for measures nothing.

    Choice: perceptual 1 and adversarial 5e-3 are ESRGAN's. ESRGAN's L1 of 1e-2 and
    LaMa's of a third of the perceptual term are for other perceptual distances, of
    deep features; LPIPS hardly sees a shift of colour, so that L1 has to hold it: 1,
    with which it is a tenth of the loss. The discriminator, its R1 and the feature
    matching, off as in ESRGAN, are LaMa's; as in ESRGAN it learns from the output
    that it has judged.

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
    real: ClassVar[str] = "target"

    def output_side(self, side: int, scale: float) -> int:
        """See `AdversarialObjective.output_side`."""
        return round(side * scale)

    def read_perceptual(self, path: str) -> Any:
        """The parameters of LPIPS; see `AdversarialObjective.read_perceptual`."""
        field = "config.objective.vgg16"
        return read_lpips("vgg16", path, field) if self.needs_vgg16 else {}

    def generate(
        self, model: nn.Module, variables: dict, batch: Batch
    ) -> tuple[Photos, Mapping[str, Any]]:
        """The whole pictures, not clipped; see `AdversarialObjective.generate`."""
        level = batch["level"] if getattr(model, "level_input", False) else None
        size = batch["target"].shape[1:3]
        colours: Any = model.apply(
            variables, batch["image"], batch["mask"], size, level, method="picture"
        )
        return (colours + 1) / 2, {}

    def terms(self, vgg: Any, output: Photos, batch: Batch) -> Terms:
        """L1 and LPIPS."""
        target = batch["target"]

        def perceptual() -> Scalar:
            distances: Any = LPIPS("vgg16").apply({"params": vgg}, output, target)
            return distances.mean()

        return {"l1": lambda: losses.l1(output, target), "perceptual": perceptual}


def _vgg16_features(vgg: Any, image: Photos, layers: Sequence[str]) -> Maps:
    """VGG16's activations at some layers."""
    found: Any = Features("vgg16").apply({"params": vgg}, image, layers)
    return list(found.values())
