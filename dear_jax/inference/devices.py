"""Devices: batches are divided evenly over all local ones, photos travel as bytes.

A batch that cannot be divided stays on the default device. Weights lie on every device
from the start, so that no call moves them, and devices exchange nothing.
"""

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, Float, Float32, Num, Shaped

from dear_jax.errors import InputError
from dear_jax.models.registry import completed
from dear_jax.typing import Array
from dear_jax.weights import Weights, digest_of

Result = TypeVar("Result")

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


# Compilers make a product of a division by 255, which rounds otherwise.
_AS_FLOATS = np.arange(256, dtype=np.float32) / np.float32(255)


def to_floats(images: Num[Array, "*shape"]) -> Float32[jax.Array, "*shape"]:
    """Photos, uint8 or floats in [0, 1], as floats in [0, 1]."""
    if images.dtype == jnp.uint8:
        return jnp.asarray(_AS_FLOATS)[images]
    return jnp.astype(images, jnp.float32)


def to_kind(
    colours: Float[Array, "*shape"], dtype: np.dtype
) -> Num[jax.Array, "*shape"]:
    """Colours, clipped to [0, 1], as uint8 or float32, the kind that `dtype` is."""
    colours = jnp.clip(colours, 0, 1)
    if dtype == jnp.uint8:
        return jnp.floor(colours * 255 + 0.5).astype(jnp.uint8)
    return colours


# Pixels of damaged photos that a CPU takes at once, two of 64 x 64: some networks get
# slower with more, see benchmarks/results/baselines.md. Accelerators take all.
PIXELS = {"cpu": 2**13}

_SPLIT = PartitionSpec("batch")


# The process in which JAX was first used here.
_started: list[int] = []


def check_devices() -> None:
    """Raises InputError where JAX has no device, or would hang.

    After a fork its threads are missing, and it waits for them.
    """
    if _started and _started[0] != os.getpid():
        raise InputError(
            "this process was forked from one that had used JAX, which hangs then; "
            "start processes by multiprocessing.get_context('spawn')"
        )
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).splitlines() or ["none of the kind is there"])[0]
        wanted = os.environ.get("JAX_PLATFORMS", "")
        raise InputError(
            f"JAX finds no device (JAX_PLATFORMS={wanted}): {reason}; unset "
            "JAX_PLATFORMS, or install JAX for that device"
        ) from None
    _started[:] = _started or [os.getpid()]


def on_host(method: Callable[..., Result]) -> Callable[..., Result]:
    """A method that computes by JAX, and is called with arrays of numbers.

    It computes in 32 bits, also where JAX is set to 64.

    Raises:
      InputError: as `check_devices`, and inside of `jax.jit`.
    """

    @functools.wraps(method)
    def called(self: Any, *arguments: Any, **options: Any) -> Result:
        check_devices()
        given = (*arguments, *options.values())
        if any(isinstance(value, Tracer) for value in given):
            raise InputError(
                f"{method.__name__}: called inside of jax.jit or a transformation; "
                "call it outside, what it computes is compiled already. Inside, apply "
                "the network: dear_jax.models.registry.build(restorer.model).apply("
                "restorer.variables, ...)"
            )
        with jax.enable_x64(False):
            return method(self, *arguments, **options)

    return called


class Placed:
    """A model with its variables on every device of this process.

    Attributes:
      model: its fields, see `dear_jax.models.registry`.
      provenance: how its weights were made.
      variables: on the default device.
    """

    def __init__(self, weights: Weights):
        # Older weights lack fields that came later.
        self.model, self.provenance = completed(weights.model), weights.provenance
        self._everywhere = on_devices(weights).variables
        self.variables = jax.tree.map(
            lambda leaf: leaf.addressable_data(0), self._everywhere
        )

    def variables_for(self, photos: int) -> Any:
        """The variables where `spread` puts a batch of so many photos."""
        return self._everywhere if mesh_for(photos) else self.variables

    def replaced(self, variables: Any) -> "Placed":
        """The same model with other variables."""
        return Placed(Weights(variables, self.model, self.provenance))

    @functools.cached_property
    def digest(self) -> str:
        """See `digest_of`."""
        return digest_of(self.model, self.variables)


def on_devices(weights: Weights) -> Weights:
    """Weights with a copy on every device; what is there already stays."""
    replicated = NamedSharding(_mesh(_devices()), PartitionSpec())
    return weights._replace(variables=jax.device_put(weights.variables, replicated))


def spread(batch: Shaped[Array, "B ..."]) -> Shaped[Array, "B ..."]:
    """Deals the photos of a batch out to the devices, if that goes evenly."""
    mesh = mesh_for(len(batch))
    if mesh is None:
        return batch
    return jax.device_put(batch, NamedSharding(mesh, _SPLIT))


def mesh_for(photos: int) -> Mesh | None:
    """The devices that a batch of so many photos is dealt out to; None if it is not."""
    devices = _devices()
    if len(devices) == 1 or photos % len(devices):
        return None
    return _mesh(devices)


def device_count() -> int:
    """How many devices a batch may be dealt out to."""
    return len(_devices())


def share_of(photos: int) -> int:
    """How many photos of a batch one device takes."""
    mesh = mesh_for(photos)
    return photos // mesh.size if mesh else photos


def per_device(function: Callable, mesh: Mesh | None, batches: str) -> Callable:
    """A function, to be compiled, of which each device does the part of its photos.

    Compilers can do without being told, but not for Fourier transforms.

    Args:
      function: its results have photos along the first axis.
      mesh: see `mesh_for`; None leaves the function as it is.
      batches: a letter for each argument, "b" for those with photos along the first
        axis, "-" for those that every device needs whole.
    """
    if mesh is None:
        return function
    specs = tuple(_SPLIT if kind == "b" else PartitionSpec() for kind in batches)
    return jax.shard_map(
        function, mesh=mesh, in_specs=specs, out_specs=_SPLIT, check_vma=False
    )


def in_portions(
    restore: Callable[..., np.ndarray],
    images: Num[np.ndarray, "B H W 3"],
    masks: Bool[np.ndarray, "B H W"],
    *others: Shaped[np.ndarray, "B ..."],
) -> Num[np.ndarray, "B h w 3"]:
    """Restores a batch as many photos at once as the kind of device likes.

    Args:
      restore: a function (images, masks, *others) -> results, photos along the first
        axis of each.
      images: photos.
      masks: True = missing.
      others: what else there is of each photo.

    Returns:
      The results of all photos.
    """
    parts = (images, masks, *others)
    results = [restore(*(x[p] for x in parts)) for p in _portions(*masks.shape)]
    return results[0] if len(results) == 1 else np.concatenate(results)


def _portions(photos: int, height: int, width: int) -> Iterator[slice]:
    """Equal ones, so that one size is compiled; dealt out evenly as the whole is."""
    share = share_of(photos)
    most = PIXELS.get(jax.default_backend(), photos * height * width)
    most = max(1, most // (height * width))
    size = max(n for n in range(1, share + 1) if share % n == 0 and n <= most)
    size *= photos // share
    return (slice(start, start + size) for start in range(0, photos, size))


def _devices() -> tuple[Any, ...]:
    """The default device, and the others unless the user chose that one."""
    # JAX declares its options as it runs.
    chosen = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if chosen is None:
        return tuple(jax.local_devices())
    if isinstance(chosen, str):
        return tuple(jax.local_devices(backend=chosen)[:1])
    return (chosen,)


@functools.lru_cache(maxsize=8)
def _mesh(devices: tuple) -> Mesh:
    return jax.make_mesh(
        (len(devices),), ("batch",), axis_types=(AxisType.Auto,), devices=devices
    )
