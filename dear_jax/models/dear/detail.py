"""Detail filters: the high frequencies of an embedding, found per pixel (Eq. 3, 4).

A low-pass kernel is predicted for every pixel, softmax-normalised over its
taps; what it takes away from the identity is a high-pass kernel.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.models.dear.filtering import filter_pixels, shifted_windows
from dear_jax.models.layers import Conv
from dear_jax.typing import Array


def high_pass_kernels(
    low_pass: Float[Array, "... K2 G"], kind: str
) -> Float[Array, "... K2 G"]:
    """Turns low-pass kernels of K2 = K^2 taps into high-pass ones (Eq. 4).

    Choice: "impulse" (identity minus low-pass) answers a constant embedding
    with zero. "ones" is the paper's literal all-one tensor, whose response to a
    constant is K^2 - 1 times that constant.
    """
    taps = low_pass.shape[-2]
    if kind == "impulse":
        whole = (jnp.arange(taps) == taps // 2).astype(low_pass.dtype)[:, None]
    else:
        whole = jnp.ones((taps, 1), low_pass.dtype)
    return jnp.broadcast_to(whole, low_pass.shape) - low_pass


class DetailFilters(nn.Module):
    """Z + K_hp (*) Z, with K_hp predicted from G (Eq. 3, 4).

    Choice: the softmax runs over the K^2 taps of each channel, and Z is padded
    with its edge. With `valid` given, taps outside the photo are left out of
    the softmax instead, so nothing depends on where the array ends.

    Attributes:
      kernel_size: K_z.
      groups: how many kernels the channels share; 0 gives each its own.
      high_pass: "impulse" or "ones".
    """

    kernel_size: int = 3
    groups: int = 0
    high_pass: str = "impulse"

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "B h w C"],
        guide: Float[Array, "B h w Cg"],
        valid: Float[Array, "B h w 1"] | None = None,
    ) -> Float[Array, "B h w C"]:
        """Sharpens z by the guide; valid is 1 inside the photo."""
        taps = self.kernel_size**2
        groups = self.groups or z.shape[-1]
        logits = Conv(taps * groups, (1, 1), name="head")(guide)
        logits = logits.reshape(*z.shape[:3], taps, groups).astype(jnp.float32)
        if valid is not None:
            inside = jnp.stack(shifted_windows(valid, self.kernel_size, "zero"), -2)
            logits = jnp.where(inside > 0, logits, -1e9)
        low_pass = jax.nn.softmax(logits, axis=-2)
        kernels = high_pass_kernels(low_pass, self.high_pass)
        # Where validity rules, nothing outside the photo may count, edges neither.
        padding = "edge" if valid is None else "zero"
        return z + filter_pixels(z, kernels, padding).astype(z.dtype)
