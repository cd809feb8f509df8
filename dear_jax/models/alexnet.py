"""AlexNet's features, the weights torchvision's trained on ImageNet."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from dear_jax.models.layers import conv

# (channels, side of the kernel, stride, zeros added along each side).
_CONVOLUTIONS = ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1)) + 2 * ((256, 3, 1, 1),)
# A 3 x 3 maximum of every second pixel lies behind these.
_POOLED = (1, 2)

LAYERS = tuple(f"relu{i}" for i in range(1, len(_CONVOLUTIONS) + 1))
# Shortest side that reaches the last layer.
SMALLEST = 31


class AlexNet(nn.Module):
    """The convolutions of AlexNet, named conv1 ... conv5.

    Attributes:
      precision: of products on accelerators, see `jax.lax.Precision`.
    """

    precision: jax.lax.Precision | None = None

    @nn.compact
    def __call__(
        self, image: jax.Array, layers: Sequence[str] = LAYERS
    ) -> dict[str, jax.Array]:
        """Computes activations.

        Args:
          image: [B, H, W, 3] RGB, sides at least `SMALLEST`; see
            `imagenet_normalised`.
          layers: names out of `LAYERS`; nothing behind the last is computed.

        Returns:
          Activation [B, h, w, C] of every named layer, in the order of `layers`; h is
          (H - 3) // 4 for relu1, then (h - 1) // 2 twice.
        """
        x, maps = image, {}
        for i, (features, size, stride, zeros) in enumerate(_CONVOLUTIONS, 1):
            x = conv(
                x,
                features,
                size,
                name=f"conv{i}",
                strides=(stride, stride),
                padding=((zeros, zeros), (zeros, zeros)),
                precision=self.precision,
            )
            maps[f"relu{i}"] = x = nn.relu(x)
            if maps.keys() >= set(layers):
                return {name: maps[name] for name in layers}
            if i in _POOLED:
                x = nn.max_pool(x, (3, 3), (2, 2))
        raise ValueError(f"layers {tuple(layers)}: choose among {LAYERS}")
