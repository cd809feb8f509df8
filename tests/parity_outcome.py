"""What comparing a reference file gives, and how arrays are compared."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dear_jax.convert import by_reason
from dear_jax.errors import InputError

Arrays = Mapping[str, np.ndarray]


class Comparison(NamedTuple):
    """The largest difference, or another measure of it, against its tolerance."""

    name: str
    error: float
    tolerance: float


class Outcome(NamedTuple):
    """What a file is about, and its comparisons."""

    about: str
    comparisons: list[Comparison]


class Skipped(Exception):
    """A file that cannot be compared without weights."""


def largest(name: str, ours: Any, theirs: np.ndarray, tolerance: float) -> Comparison:
    """The largest absolute difference of two arrays of one shape."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        raise InputError(f"{name} is {theirs.shape}, ours is {ours.shape}")
    return Comparison(name, float(np.max(np.abs(ours - theirs))), tolerance)


def nhwc(array: np.ndarray) -> np.ndarray:
    """[B, C, H, W] -> [B, H, W, C] as float32."""
    return np.moveaxis(array, 1, -1).astype(np.float32)


def parameters(arrays: Arrays) -> dict[str, np.ndarray]:
    """The official state_dict."""
    start = "param/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def described(what: str, state: Mapping, left: Mapping[str, str]) -> str:
    """A model, how many of its tensors were used, and why the others were not."""
    reasons = [f"{len(keys)} {reason}" for reason, keys in by_reason(left).items()]
    return ", ".join([f"{what}: {len(state) - len(left)} tensors used", *reasons])
