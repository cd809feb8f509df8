"""Layers that see the whole photo at once: convolutions of its spectrum.

As in LaMa (Suvorov et al., WACV 2022), without the local Fourier unit that its
released models leave out. Height and width are free, odd ones too.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.models.layers import batch_norm, conv


class FourierUnit(nn.Module):
    """A 1x1 convolution, batch norm and ReLU of the spectrum of x.

    [B, H, W, C] -> [B, H, W, features].
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        spectrum = jnp.fft.rfftn(x.astype(jnp.float32), axes=(1, 2), norm="ortho")
        y = split_complex(spectrum).astype(x.dtype)
        y = conv(y, 2 * self.features, 1, biased=False, name="conv")
        y = nn.relu(batch_norm(y, train, name="norm"))
        y = join_complex(y.astype(jnp.float32))
        return inverse(y, x.shape[2]).astype(x.dtype)


class SpectralTransform(nn.Module):
    """1x1 convolution to half the features, a Fourier unit around it, and back.

    [B, H, W, C] -> [B, H, W, features]; features is even.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        half = self.features // 2
        y = conv(x, half, 1, biased=False, name="narrow")
        y = nn.relu(batch_norm(y, train, name="norm"))
        y = y + FourierUnit(half, name="fourier")(y, train)
        return conv(y, self.features, 1, biased=False, name="widen")


def inverse(spectrum: jax.Array, width: int) -> jax.Array:
    """Inverts rfftn over H and W: [B, H, W // 2 + 1, C] complex -> [B, H, W, C].

    One axis after the other, since a layer's output need not be the spectrum of
    anything real: what is then made of the imaginary parts of the first column, and of
    the last at even widths, depends on the order. Here, as in PyTorch on CPUs, they
    are ignored once the columns are inverted.
    """
    rows = jnp.fft.ifft(spectrum, axis=1, norm="ortho")
    return jnp.fft.irfft(rows, n=width, axis=2, norm="ortho")


def split_complex(x: jax.Array) -> jax.Array:
    """Real and imaginary parts in turn: [..., C] complex -> [..., 2 C]."""
    parts = jnp.stack([x.real, x.imag], axis=-1)
    return parts.reshape(*x.shape[:-1], -1)


def join_complex(x: jax.Array) -> jax.Array:
    """Inverts `split_complex`: [..., 2 C] -> [..., C] complex."""
    return jax.lax.complex(x[..., 0::2], x[..., 1::2])
