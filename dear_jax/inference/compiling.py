"""Compiling convolutional networks so that they run well on CPUs."""

import functools
from collections.abc import Callable
from typing import Any

import jax

# XLA's newer CPU library is slower than its older one in these networks' convolutions
# (JAX 0.10: EDSR by a fifth, LaMa by a tenth) and in decoders (DEAR's by half), if not
# in attention.
_WITHOUT_YNN = {"xla_cpu_experimental_ynn_fusion_type": ""}


def compiled(function: Callable, **options: Any) -> Callable:
    """`jax.jit`, with its options, for networks of convolutions and for decoders."""
    return jax.jit(function, compiler_options=cpu_options(), **options)


@functools.cache
def cpu_options() -> dict[str, str]:
    """The compiler options above, where this JAX knows them and works on a CPU."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_WITHOUT_YNN)(0.0)
    except jax.errors.JaxRuntimeError:  # Another version; it is only about speed.
        return {}
    return _WITHOUT_YNN
