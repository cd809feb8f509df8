"""A detector of damage: from a photo to how likely each pixel is damaged.

A U-net of group convolutions over the eight flips and transposes of the plane: what
turns the photo turns the result, by construction, so that a scratch need not be learned
in each direction. Levels of 1/2, 1/4, ... of the photo's size see what is faint in a
pixel and plain along its line. A map has `fields` channels for each of the eight;
images are NHWC, of any size.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.errors import InputError
from dear_jax.models.dear.window import window
from dear_jax.models.detector.inputs import AROUND, HATS, seen
from dear_jax.models.detector.levels import Level, doubled, halved, levels_of, reduced
from dear_jax.models.detector.turning import TURNS, TurnConv
from dear_jax.models.layers import compute_dtype
from dear_jax.typing import Array, Size

_EPSILON = 1e-4
# Logit of the damage where nothing is known: a few pixels in a hundred.
_FEW = -3.0


class Detector(nn.Module):
    """A U-net that is equivariant to flips and transposes.

    Attributes:
      widths: fields at the photo's own size, at 1/2, 1/4, ... of it.
      depths: convolutions of each level but the first, on the way down.
    """

    ROLE = "detector"

    widths: tuple[int, ...] = (2, 3, 6, 12)
    depths: tuple[int, ...] = (1, 2, 4)

    def check(self) -> None:
        """Raises InputError for widths and depths that do not go together."""
        if len(self.widths) != len(self.depths) + 1:
            raise InputError(
                f"model field depths = {self.depths}; give one for each of the "
                f"{len(self.widths) - 1} levels below the photo's size"
            )

    @property
    def step(self) -> int:
        """Pixels of the photo to one of the smallest level."""
        return 2 ** (len(self.widths) - 1)

    @property
    def halo(self) -> int:
        """Pixels around one that it depends on, at most; a multiple of `step`."""
        reach = 2
        for level, depth in enumerate(self.depths, 1):
            pixel = 2**level
            # Halving reads half a pixel more, doubling and what follows one each.
            reach += pixel // 2 + pixel * (depth + 2)
        # What is narrow, relative to the neighbourhood's mean of it.
        seen = [max(HATS) - 1 + a + 3 for a in AROUND[: len(self.depths)]]
        reach += max(2**level * pixels for level, pixels in enumerate(seen))
        return -(-reach // self.step) * self.step

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], size: Size | None = None
    ) -> Float[Array, "B H W 1"]:
        """Logits of the damage of each pixel: of all levels together.

        Args:
          image: in [0, 1].
          size: (H, W) of the photo in arrays that are larger at the bottom and right,
            whatever numbers are there; None: the array's.
        """
        height, width = image.shape[1:3]
        pads = ((0, -height % self.step), (0, -width % self.step))
        image = jnp.pad(image, ((0, 0), *pads, (0, 0)))
        size = (height, width) if size is None else size
        levels = levels_of(image, size, len(self.widths))
        maps = self._down(image, levels)
        x = maps.pop()
        logits = self._logits(x, len(maps))
        for level in reversed(range(len(maps))):
            x = self._up(x, maps[level], level, levels[level])
            logits = doubled(logits, levels[level].size) + self._logits(x, level)
            logits = logits * levels[level].inside
        few = self.param("bias", nn.initializers.constant(_FEW), (1, 1, 1, 1))
        return window(logits, (0, 0), (height, width)) + few

    @nn.nowrap
    def _down(
        self, image: Float[Array, "B H W 3"], levels: list[Level]
    ) -> list[Float[Array, "..."]]:
        """The maps of the levels, the photo's own size first."""
        maps, dtype = [], compute_dtype(self)
        for level, fields in enumerate(self.widths):
            here, inside = levels[level], levels[level].inside.astype(dtype)
            x = []
            if level:
                image = reduced(image, levels[level - 1], here)
                x.append(halved(maps[-1], levels[level - 1].size))
                x[-1] = TurnConv(fields, name=f"down_{level}_0")(x[-1])
            if level < min(len(levels) - 1, len(AROUND)):
                given = seen(image, here, levels[level + 1], AROUND[level])
                lift = TurnConv(fields, lifts=True, name=f"seen_{level}")
                x.append(lift(given.astype(dtype)))
            y = _active(functools.reduce(jnp.add, x)) * inside
            for i in range(1, self.depths[level - 1] if level else 0):
                y = Block(fields, name=f"down_{level}_{i}")(y) * inside
            maps.append(y)
        return maps

    @nn.nowrap
    def _up(
        self,
        x: Float[Array, "B h w C"],
        skip: Float[Array, "B H W D"],
        level: int,
        here: Level,
    ) -> Float[Array, "B H W D"]:
        """What the level below found, on what this one saw."""
        fields, inside = self.widths[level], here.inside.astype(x.dtype)
        x = TurnConv(fields, 1, gain=1.0, name=f"narrow_{level}")(x)
        x = skip + doubled(x, here.size) * inside
        if level:
            return Block(fields, name=f"up_{level}")(x) * inside
        return _active(TurnConv(fields, 1, name="up_0")(_active(x)))

    @nn.nowrap
    def _logits(
        self, x: Float[Array, "B h w C"], level: int
    ) -> Float[Array, "B h w 1"]:
        """Of what is the same in all eight, so that a turned photo has turned ones."""
        x = x.reshape(*x.shape[:3], -1, TURNS).mean(-1).astype(jnp.float32)
        initial = nn.initializers.normal(0.2)
        return nn.Dense(1, False, name=f"head_{level}", kernel_init=initial)(x)


class Block(nn.Module):
    """x + a convolution of x at unit size, its channels' root mean square.

    Attributes:
      fields: of input and output.
    """

    fields: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Applies the block."""
        gain = self.param("gain", nn.initializers.ones_init(), (self.fields,))
        square = jnp.mean(jnp.square(x.astype(jnp.float32)), -1, keepdims=True)
        unit = x * jax.lax.rsqrt(square + _EPSILON).astype(x.dtype)
        unit = unit * jnp.repeat(gain, TURNS).reshape(1, 1, 1, -1)
        return x + _active(TurnConv(self.fields, name="conv")(unit))


def _active(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Leaky ReLU: of the few channels at the photo's size none may fall silent."""
    return nn.leaky_relu(x, 0.1)
