"""Layers shared by the networks: linear layers, normalisation, resampling, precision.

Linear layers are Flax's with a bias whose gradient is summed in float32: in bfloat16
some accelerators also sum in bfloat16, which a hundred thousand terms do not bear. The
paper's model builds on MISF (CVPR 2022), and so do the details it leaves out: reflect
padding in the 7x7 stem and the residual blocks, zero padding in the strided
convolutions, dilation 2 then 1 in a residual block. The other systems' networks have
PyTorch's initialisation. A model computes in the dtype of its parameters. Images are
NHWC.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Float32

from dear_jax.typing import Array


def add_bias(
    y: Float[Array, "... C"], bias: Float[Array, " C"]
) -> Float[Array, "... C"]:
    """y + bias, in the dtype of y."""
    bias = bias.astype(jnp.float32).reshape((1,) * (y.ndim - 1) + (-1,))
    # The gradient takes these steps backwards: to float32, then the sum.
    return y + jnp.broadcast_to(bias, y.shape).astype(y.dtype)


class Dense(nn.Dense):
    """`nn.Dense`; `biased` says whether there is a bias, `use_bias` stays as it is."""

    use_bias: bool = False
    biased: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... features"]:
        """Applies the layer."""
        return _biased(self, super().__call__(x))


class Conv(nn.Conv):
    """`nn.Conv`; `biased` says whether there is a bias, `use_bias` stays as it is."""

    use_bias: bool = False
    biased: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w features"]:
        """Applies the layer."""
        return _biased(self, super().__call__(x))


class ConvTranspose(nn.ConvTranspose):
    """`nn.ConvTranspose`; `biased` as above."""

    use_bias: bool = False
    biased: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w features"]:
        """Applies the layer."""
        return _biased(self, super().__call__(x))


def _biased(layer: nn.Module, y: Float[Array, "... C"]) -> Float[Array, "... C"]:
    if not layer.biased:
        return y
    return add_bias(
        y, layer.param("bias", layer.bias_init, (layer.features,), layer.param_dtype)
    )


def cast(variables: Any, dtype: Any) -> Any:
    """The same tree with its floating-point leaves in `dtype`.

    The collection "batch_stats" stays as it is: running averages need their digits.

    Args:
      variables: parameters, or a model's collections of variables.
      dtype: e.g. "bfloat16".
    """

    def leaf(path: tuple, value: jax.Array) -> jax.Array:
        kept = bool(path) and getattr(path[0], "key", None) == "batch_stats"
        if kept or not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        return value.astype(dtype)

    return jax.tree.map_with_path(leaf, variables)


def compute_dtype(module: nn.Module) -> jnp.dtype:
    """The dtype of a bound module's parameters; float32 while it has none.

    It has none while it is initialised, and initialisation is in float32.

    Raises:
      TypeError: for parameters of several floating-point dtypes.
    """
    leaves = jax.tree.leaves(module.variables.get("params", {}))
    dtypes = {leaf.dtype for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)}
    if len(dtypes) > 1:
        names = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"parameters in {names}; a model computes in one dtype")
    return dtypes.pop() if dtypes else jnp.dtype(jnp.float32)


def product(
    a: Float[Array, " ..."], b: Float[Array, " ..."], dimensions: Any, **options: Any
) -> Float32[Array, " ..."]:
    """`jax.lax.dot_general`, summed and returned in float32 whatever goes in.

    Its gradient multiplies in the dtype of a and b again, not in a mixture.
    """
    if a.dtype == jnp.float32:
        return lax.dot_general(a, b, dimensions, **options)
    return _half_product(a, b, dimensions)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _half_product(
    a: Float[Array, " ..."], b: Float[Array, " ..."], dimensions: Any
) -> Float32[Array, " ..."]:
    return lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)


def _forward(a: jax.Array, b: jax.Array, dimensions: Any):
    return _half_product(a, b, dimensions), (a, b)


def _backward(dimensions: Any, operands: tuple, gradient: jax.Array):
    _, transpose = jax.vjp(lambda a, b: lax.dot_general(a, b, dimensions), *operands)
    return transpose(gradient.astype(operands[0].dtype))


_half_product.defvjp(_forward, _backward)


# Flax's own initialisation of kernels; MISF has another.
USUAL_KERNEL = nn.linear.default_kernel_init


def reflect_pad(x: Float[Array, "B H W C"], pixels: int) -> Float[jax.Array, "B h w C"]:
    """Mirrors x by `pixels` on each side, the edge pixel not repeated."""
    return jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), "reflect")


def reflect_conv(
    conv: Callable[..., Conv], x: Float[Array, "B H W C"], size: int, dilation: int = 1
) -> Float[Array, "B h w D"]:
    """Convolves x, mirrored beyond its edges.

    Args:
      conv: (padding=..., kernel_dilation=...) -> the layer; a stride must divide H, W.
      x: the image.
      size: side of the kernel, odd.
      dilation: step between its taps.
    """
    # One zero row more below, and its result dropped: without any padding XLA's
    # convolution on CPUs is three times slower on large images.
    layer = conv(padding=((0, 1), (0, 0)), kernel_dilation=dilation)
    y = layer(reflect_pad(x, dilation * (size // 2)))
    return y[:, : x.shape[1] // np.broadcast_to(layer.strides or 1, 2)[0]]


class Normalisation(nn.Module):
    """Instance normalisation without parameters, or nothing.

    Choice: "none", as super-resolution networks do; "instance" is MISF's.
    """

    kind: str = "none"

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        if self.kind == "none":
            return x
        dtype, x = x.dtype, x.astype(jnp.float32)
        mean = jnp.mean(x, axis=(1, 2), keepdims=True)
        variance = jnp.var(x, axis=(1, 2), keepdims=True)
        return ((x - mean) * jax.lax.rsqrt(variance + 1e-5)).astype(dtype)


class ResidualBlock(nn.Module):
    """x + conv3(relu(conv3 dilated by 2 (x))), reflect-padded."""

    norm: str = "none"
    kernel_init: nn.initializers.Initializer = USUAL_KERNEL

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        conv = functools.partial(
            Conv, x.shape[-1], (3, 3), kernel_init=self.kernel_init
        )
        y = reflect_conv(functools.partial(conv, name="dilated"), x, 3, dilation=2)
        y = nn.relu(Normalisation(self.norm)(y))
        y = reflect_conv(functools.partial(conv, name="plain"), y, 3)
        return x + Normalisation(self.norm)(y)


class Upsample(nn.Module):
    """Transposed 4x4 convolution of stride 2, which enlarges by 2.

    Its "SAME" is PyTorch's padding 1.
    """

    features: int
    kernel_init: nn.initializers.Initializer = USUAL_KERNEL

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"]
    ) -> Float[Array, "B 2*H 2*W features"]:
        return ConvTranspose(
            self.features,
            (4, 4),
            strides=(2, 2),
            padding="SAME",
            kernel_init=self.kernel_init,
            name="conv",
        )(x)


# Kernels U(+-1 / sqrt(fan_in)), PyTorch's default for convolutions and dense layers.
TORCH_KERNEL = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def torch_bias(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default bias, U(+-1 / sqrt(fan_in))."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        limit = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


def conv(
    x: Float[Array, "B H W C"],
    features: int,
    size: int = 3,
    *,
    name: str,
    reflect: bool = False,
    **options,
) -> Float[Array, "B h w {features}"]:
    """Applies a size x size convolution, initialised as PyTorch does.

    Call it inside a compact method. `options` are those of `Conv`; beyond the edges
    x is zero, or mirrored with `reflect`.
    """
    layer = functools.partial(
        Conv,
        features,
        (size, size),
        kernel_init=TORCH_KERNEL,
        bias_init=torch_bias(x.shape[-1] * size * size),
        name=name,
        **options,
    )
    return reflect_conv(layer, x, size) if reflect else layer()(x)


class BatchNorm(nn.BatchNorm):
    """`nn.BatchNorm` of float32 x, with parameters of any floating-point dtype."""

    @nn.nowrap
    def param(self, *arguments, **options) -> Any:
        """The parameter in float32."""
        return super().param(*arguments, **options).astype(jnp.float32)


def batch_norm(
    x: Float[Array, "B ... C"], train: bool, *, name: str
) -> Float[Array, "B ... C"]:
    """Applies batch normalisation as PyTorch's defaults have it.

    Choice: in training the running variance takes the biased batch variance, as Flax
    has it; PyTorch's takes the unbiased one.
    """
    norm = BatchNorm(not train, momentum=0.9, epsilon=1e-5, name=name)
    return norm(x.astype(jnp.float32)).astype(x.dtype)


def pixel_shuffle(
    x: Float[Array, "B H W C"], scale: int
) -> Float[Array, "B {scale}*H {scale}*W C//{scale}**2"]:
    """Spreads channels over s x s pixels, s = `scale`.

    Input channel (c s + dy) s + dx becomes pixel (s y + dy, s x + dx) of channel c.
    """
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, channels // scale**2, scale, scale)
    x = x.transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(batch, height * scale, width * scale, channels // scale**2)


def masked_photo(
    image: Float[Array, "B H W 3"], mask: Float[Array, "B H W 1"]
) -> Float[Array, "B H W 4"]:
    """Blackens the holes and appends the mask.

    Args:
      image: in [0, 1]; under the mask it may be anything, NaN too.
      mask: 1 = missing.
    """
    return jnp.concatenate([jnp.where(mask > 0, 0.0, image), mask], axis=-1)


class ColourHead(nn.Module):
    """Reflect-padded 7x7 convolution to 3 channels.

    It is computed as a 1x7 convolution to 7 x 3 channels, a triple for each row of the
    kernel, and the shifted triples are added up: with three channels alone a CPU's
    matrix products are so narrow that it takes four times as long. They are float32.

    Attributes:
      kernel_init, bias_init: initialisers.
    """

    kernel_init: nn.initializers.Initializer
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float32[Array, "B H W 3"]:
        height, channels = x.shape[1], x.shape[3]
        kernel = self.param("kernel", self.kernel_init, (7, 7, channels, 3))
        bias = self.param("bias", self.bias_init, (3,))
        by_row = kernel.transpose(1, 2, 0, 3).reshape(1, 7, channels, 21)
        triples = jax.lax.conv_general_dilated(
            reflect_pad(x, 3),
            by_row,
            window_strides=(1, 1),
            padding=((0, 1), (0, 0)),  # As in `reflect_conv`.
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        triples = triples.astype(jnp.float32)
        shifted = (triples[:, i : i + height, :, 3 * i : 3 * i + 3] for i in range(7))
        return sum(shifted) + bias.astype(jnp.float32).reshape(1, 1, 1, 3)
