"""Per-pixel dynamic filtering: every pixel has a filter of its own.

The operator '(*)' of Eq. 3 and the weighted window of Eq. 8. The detail
filters and the image reconstruction both use it. The K^2 taps are in row-major
order and are correlated, not flipped: tap (i, j) meets pixel (y + i - K // 2,
x + j - K // 2).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Float32

from dear_jax.models.dear.window import window
from dear_jax.typing import Array


def shifted_windows(
    x: Float[Array, "B H W C"], kernel_size: int, padding: str, dilation: int = 1
) -> list[Float[Array, "B H W C"]]:
    """Lists x as seen through each of the K^2 taps of a window.

    Args:
      x: a map.
      kernel_size: K, odd.
      padding: what lies beyond the border, "zero" or "edge".
      dilation: pixels from one tap to the next.
    """
    height, width = x.shape[1:3]
    radius = kernel_size // 2 * dilation
    mode = {"zero": "constant", "edge": "edge"}[padding]
    padded = jnp.pad(x, ((0, 0), (radius, radius), (radius, radius), (0, 0)), mode)
    return [
        window(padded, (dy, dx), (height, width))
        for dy in range(0, kernel_size * dilation, dilation)
        for dx in range(0, kernel_size * dilation, dilation)
    ]


def filter_pixels(
    x: Float[Array, "B H W C"],
    kernels: Float[Array, "B H W K2 G"],
    padding: str = "zero",
    dilation: int = 1,
) -> Float32[Array, "B H W C"]:
    """Filters every pixel of x with its own kernels.

    A sum over shifted copies of x: the K^2-fold unfolded tensor is never held,
    which is faster and smaller than `filter_pixels_by_unfold`, the definition
    it is tested against (see benchmarks/filtering.py).

    Computed in float32, whatever the dtypes.

    Args:
      x: a map.
      kernels: of K2 = K^2 taps; G divides C, and each run of C / G channels shares
        one kernel (G = C: every channel has its own, G = 1: one for all).
      padding: "zero" or "edge".
      dilation: pixels from one tap to the next.
    """
    batch, height, width, channels = x.shape
    taps, groups = kernels.shape[-2:]
    grouped = (batch, height, width, groups, channels // groups)
    x, kernels = x.astype(jnp.float32), kernels.astype(jnp.float32)
    windows = shifted_windows(x, round(taps**0.5), padding, dilation)
    total = jnp.zeros(grouped, jnp.float32)
    for tap, shifted in enumerate(windows):
        total += kernels[..., tap, :, None] * shifted.reshape(grouped)
    return total.reshape(x.shape)


def filter_pixels_by_unfold(
    x: Float[Array, "B H W C"],
    kernels: Float[Array, "B H W K2 G"],
    padding: str = "zero",
) -> Float[Array, "B H W C"]:
    """Defines `filter_pixels`: unfold, then one product per pixel, vmapped."""
    channels = x.shape[-1]
    taps, groups = kernels.shape[-2:]
    unfolded = jnp.stack(shifted_windows(x, round(taps**0.5), padding), axis=-2)

    def filter_one(
        taps: Float[Array, "K2 C"], kernel: Float[Array, "K2 G"]
    ) -> Float[Array, " C"]:
        per_channel = jnp.repeat(kernel, channels // groups, axis=-1)
        return jnp.sum(taps * per_channel, axis=0)

    over_pixels = jax.vmap(jax.vmap(jax.vmap(filter_one)))
    return over_pixels(unfolded, kernels)
