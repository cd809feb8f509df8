"""Convolutions over the eight flips and transposes of the plane.

Group convolutions (Cohen and Welling 2016): a map has as many channels for each of the
eight, and every kernel stands in all of them, so that what turns the input turns the
output.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dear_jax.models.layers import add_bias
from dear_jax.typing import Array

_EIGHT = [
    (a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)
]
TURNS = len(_EIGHT)


class TurnConv(nn.Module):
    """A convolution with every kernel in all its flips and transposes; zero padding.

    Attributes:
      fields: of the output.
      side: of the kernel, odd.
      lifts: whether the input is a picture, the same in all eight.
      gain: of the initial kernel: variance of the output to that of the input.
    """

    fields: int
    side: int = 3
    lifts: bool = False
    gain: float = 2.0

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W D"]:
        """Applies the layer."""
        turns = 1 if self.lifts else TURNS
        taps, inputs = self.side**2 * turns, x.shape[-1] // turns
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(
                self.gain, "fan_in", "normal", in_axis=(0, 1)
            ),
            (taps, inputs, self.fields),
        )
        bias = self.param("bias", nn.initializers.zeros_init(), (self.fields,))
        # [side^2, turns, 8, inputs, fields] -> [side, side, inputs turns, fields 8].
        kernels = kernel[turned_taps(self.side, turns)].transpose(0, 3, 1, 4, 2)
        shape = (self.side, self.side, inputs * turns, self.fields * TURNS)
        y = jax.lax.conv_general_dilated(
            jnp.asarray(x),
            kernels.reshape(shape),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return add_bias(y, jnp.repeat(bias, TURNS))


@functools.lru_cache
def turned_taps(side: int, turns: int) -> Int[np.ndarray, "taps {turns} 8"]:
    """Which tap of a kernel stands where in each of its turned copies.

    Args:
      side: of the kernel.
      turns: 1 for inputs that are pictures; 8 for those that are turned themselves:
        there a tap is a place in the kernel, and the turn from the output's to the
        input's.
    """
    places = np.arange(side * side).reshape(side, side)
    nine = np.arange(9).reshape(3, 3)  # Tells all eight apart.
    number = {turned(nine, turn).tobytes(): k for k, turn in enumerate(_EIGHT)}
    taps = np.zeros((side * side, turns, TURNS), np.int32)
    for g, turn in enumerate(_EIGHT):
        moved = turned(places, turn).reshape(-1)
        for h, other in enumerate(_EIGHT[:turns]):
            k = number[turned(turned(nine, other), turn).tobytes()] if turns > 1 else 0
            taps[:, k, g] = moved * turns + h
    return taps


def turned(square: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    """A square transposed, upside down, and left to right, as the three say."""
    transposed, upside_down, left_right = turn
    square = square.T if transposed else square
    square = square[::-1] if upside_down else square
    return square[:, ::-1] if left_right else square
