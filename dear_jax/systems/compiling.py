"""Compiling convolutional networks so that they run well on CPUs."""

import functools
from collections.abc import Callable

import jax

# XLA's newer CPU library is slower than its older one in these networks' convolutions
# (JAX 0.10: EDSR by a fifth, LaMa by a tenth), if not in matrix products.
_WITHOUT_YNN = {"xla_cpu_experimental_ynn_fusion_type": ""}


def compiled(function: Callable) -> Callable:
    """`jax.jit` for upscalers, inpainters and the networks of metrics."""
    return jax.jit(function, compiler_options=_options())


@functools.cache
def _options() -> dict[str, str]:
    """The options above, where this JAX knows them and works on a CPU."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_WITHOUT_YNN)(0.0)
    except jax.errors.JaxRuntimeError:  # Another version; it is only about speed.
        return {}
    return _WITHOUT_YNN
