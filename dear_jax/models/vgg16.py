"""VGG16's features, the weights torchvision's trained on ImageNet."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from dear_jax.models.layers import conv

# (convolutions, channels) of the five blocks; a 2 x 2 maximum lies between two.
_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))

LAYERS = tuple(
    f"relu{block}_{i}"
    for block, (count, _) in enumerate(_BLOCKS, 1)
    for i in range(1, count + 1)
)
# Shortest side that reaches the last layer.
SMALLEST = 16


class VGG16(nn.Module):
    """The convolutions of VGG16, named conv1_1 ... conv5_3.

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
          Activation [B, H / 2^(b - 1), W / 2^(b - 1), C], rounded down, of every
          named layer relu`b`_`i`, in the order of `layers`.
        """
        x, maps = image, {}
        for block, (count, features) in enumerate(_BLOCKS, 1):
            if block > 1:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for i in range(1, count + 1):
                name = f"conv{block}_{i}"
                x = nn.relu(conv(x, features, name=name, precision=self.precision))
                maps[f"relu{block}_{i}"] = x
                if maps.keys() >= set(layers):
                    return {name: maps[name] for name in layers}
        raise ValueError(f"layers {tuple(layers)}: choose among {LAYERS}")
