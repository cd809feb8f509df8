"""The `data` part of a configuration: its defaults, and what it may not be.

Its fields are described in `dear_jax.data.pipeline`.
"""

import ml_collections

from dear_jax.data.choices import Chooser
from dear_jax.data.masks import open_masks
from dear_jax.errors import InputError

AUGMENTATIONS = ("flip", "dihedral")
RENDERS = ("host", "device", "resident")


def parts(data: ml_collections.ConfigDict) -> str | tuple[str, ...]:
    """The photos' parts, as `open_photos` takes them."""
    return data.photos if isinstance(data.photos, str) else tuple(data.photos)


def clean(data: ml_collections.ConfigDict) -> float:
    """Share of examples with an empty mask."""
    return data.get("clean", 0.0)


def augment(data: ml_collections.ConfigDict) -> str:
    """One of `AUGMENTATIONS`."""
    return data.get("augment", "flip")


def render(data: ml_collections.ConfigDict) -> str:
    """One of `RENDERS`."""
    return data.get("render", "host")


def chooser(data: ml_collections.ConfigDict) -> Chooser:
    """What draws the examples.

    Raises:
      InputError: if the masks cannot be opened.
    """
    return Chooser(
        open_masks(data.masks),
        data.side,
        tuple(data.scale),
        data.queries,
        clean(data),
        augment(data),
    )


def check(data: ml_collections.ConfigDict) -> None:
    """Raises InputError for a value that cannot be used."""
    least = {"side": 1, "queries": 0, "threads": 0, "workers": 0}
    for key, bound in least.items():
        if data[key] < bound:
            raise InputError(f"config.data.{key}={data[key]}: must be at least {bound}")
    if not _is_range(data.scale):
        raise InputError(
            f"config.data.scale={data.scale}: give two numbers (low, high), "
            "1 <= low <= high"
        )
    if not data.queries and data.scale[0] != data.scale[1]:
        raise InputError(
            f"config.data.scale={data.scale}: config.data.queries=0 takes "
            "whole crops, all of one size; give the same scale twice"
        )
    if not 0 <= clean(data) <= 1:
        raise InputError(f"config.data.clean={clean(data)}: must lie in [0, 1]")
    for key, value, known in (
        ("augment", augment(data), AUGMENTATIONS),
        ("render", render(data), RENDERS),
    ):
        if value not in known:
            raise InputError(
                f"config.data.{key}={value!r}: choose from "
                f"{', '.join(map(repr, known))}"
            )


def _is_range(scale) -> bool:
    try:
        low, high = scale
        return 1 <= low <= high < float("inf")
    except (TypeError, ValueError):
        return False
