"""Photos of any size and kind, with any holes, at any scale and in any memory.

Sizes are bounded by area, for time only: the work is so much for each pixel, of the
photo and of the picture, wherever it lies. Long and narrow photos stay long.
"""

import math
import os
import tempfile
from typing import NamedTuple

import hypothesis
import numpy as np
import pytest
from hypothesis import configuration, given
from hypothesis import strategies as st
from tiny import tiny_restorer

from dear_jax.errors import InputError
from dear_jax.inference import plan as plans

SIDE, SCALE = 300, 9
# Of steps, buckets, windows and tiles.
BORDERS = (1, 2, 4, 8, 9, 12, 13, 64, 65, 256, 257, 299, 300)
DTYPES = (np.uint8, np.float16, np.float32, np.float64)
MASKS = (bool, np.uint8, np.int64, np.float32)
# Where a photo is missing nobody knows what it holds.
RUBBISH = {"f": (np.nan, np.inf, -np.inf, -7.0, 0.5), "u": (0, 255, 100)}
HOLES = (
    "none", "empty", "full", "dots", "strokes", "boxes", "one missing", "one known",
    "checkerboard", "upper half", "right half", "all but dots", "all but strokes",
)  # fmt: skip
RESTORERS = {}
# What it notes goes nowhere near the project.
configuration.set_hypothesis_home_dir(
    os.path.join(tempfile.gettempdir(), "hypothesis-of-dear_jax")
)


class Case(NamedTuple):
    """What is asked for.

    Attributes:
      source, target: sizes (H, W) and (h, w).
      holes: three of `HOLES`, of as many photos: they need no more compiling.
      kind: dtype of the photo.
      mask_kind: dtype of the mask.
      memory: share of what the whole takes beyond the process, None: not limited.
      window: of the second picture, (top, left, bottom, right) as shares, or None.
      seed: of pixels and holes.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    holes: tuple[str, str, str]
    kind: type
    mask_kind: type
    memory: float | None
    window: tuple[float, float, float, float] | None
    seed: int


@st.composite
def cases(draw, area: int, pixels: int) -> Case:
    """Cases of photos of at most `area` pixels and pictures of at most `pixels`."""
    height = draw(st.integers(1, SIDE) | st.sampled_from(BORDERS))
    width = draw(st.integers(1, min(SIDE, max(1, area // height))))
    if draw(st.booleans()):
        height, width = width, height
    room = max(1.0, pixels / (height * width))
    tall = draw(st.floats(1, min(SCALE, room)))
    wide = draw(st.just(tall) | st.floats(1, SCALE))
    wide = min(wide, max(1.0, room / tall))
    edge = st.floats(0, 1)
    return Case(
        (height, width),
        (int(height * tall), int(width * wide)),
        draw(st.tuples(*[st.sampled_from(HOLES)] * 3)),
        draw(st.sampled_from(DTYPES)),
        draw(st.sampled_from(MASKS)),
        draw(st.none() | st.floats(0, 1)),
        draw(st.none() | st.tuples(edge, edge, edge, edge)),
        draw(st.integers(0, 2**32 - 1)),
    )


def holes_of(kind: str, size: tuple[int, int], rng) -> np.ndarray:
    """bool [H, W], or None."""
    mask, (height, width) = np.zeros(size, bool), size
    if kind == "none":
        return None
    if kind.startswith("all but "):
        return ~holes_of(kind.removeprefix("all but "), size, rng)
    if kind == "full":
        mask[:] = True
    elif kind == "dots":
        mask = rng.random(size) < rng.choice([0.01, 0.3, 0.9])
    elif kind == "strokes":
        for _ in range(5):
            start, stop = rng.random((2, 2)) * size
            steps = np.linspace(start, stop, 2 * sum(size)).astype(int)
            mask[tuple(steps.T)] = True
    elif kind == "boxes":
        for _ in range(3):
            (top, bottom), (left, right) = (
                np.sort(rng.integers(n, size=2)) for n in size
            )
            mask[top : bottom + 1, left : right + 1] = True
    elif kind.startswith("one "):
        mask[rng.integers(height), rng.integers(width)] = True
        mask = mask if kind == "one missing" else ~mask
    elif kind == "checkerboard":
        mask = np.indices(size).sum(0) % 2 == 1
    elif kind == "upper half":
        mask[: height // 2] = True
    elif kind == "right half":
        mask[:, width // 2 :] = True
    return mask


def photo_of(case: Case, mask: np.ndarray | None, rng) -> np.ndarray:
    """A photo [H, W, 3] with rubbish in its holes."""
    photo = rng.random((*case.source, 3))
    if rng.random() < 0.3:  # Flat parts, at the ends of the range.
        photo = np.rint(photo)
    letter = np.dtype(case.kind).kind
    photo = (photo if letter == "f" else 255 * photo).astype(case.kind)
    if mask is not None:
        photo[mask] = rng.choice(RUBBISH[letter], (*case.source, 3))[mask]
    return photo


def planned(restorer, case: Case):
    """The plan for so much memory, or for as little more as will do."""
    free = restorer.plan(case.source, case.target, 1e15)
    assert free.tiling.count == 1
    if case.memory is None:
        return free
    least = restorer.plan((1, 1), (1, 1), 1e15).bytes
    for share in np.linspace(case.memory, 1, 10):
        allowed = math.ceil(least + share * (free.bytes - least))
        try:
            plan = restorer.plan(case.source, case.target, allowed)
        except InputError as error:
            assert "are allowed; allow more" in str(error)
            continue
        assert plan.bytes <= allowed
        return plan
    raise AssertionError("what the whole needs is not enough")


def check(picture, size, kind):
    assert picture.shape == (*size, 3)
    if kind == np.uint8:
        assert picture.dtype == np.uint8
        return
    assert picture.dtype == np.float32
    assert 0 <= picture.min() and picture.max() <= 1  # NaN is neither.


class Heard:
    """Progress that is checked as it comes."""

    def __init__(self):
        self.done, self.total = 0.0, None

    def __call__(self, done: float, total: float) -> None:
        assert self.total in (None, total) and self.done <= done <= total
        self.done, self.total = done, total

    def check(self) -> None:
        assert self.total is not None and self.done == self.total


def restore(preset: str, case: Case) -> None:
    """Restores as asked, and checks all that can be told of the results."""
    if preset not in RESTORERS:
        RESTORERS[preset] = tiny_restorer(preset)
    restorer, rng = RESTORERS[preset], np.random.default_rng(case.seed)
    plan = planned(restorer, case)
    for kind in case.holes:
        holes = holes_of(kind, case.source, rng)
        photo, mask = photo_of(case, holes, rng), holes
        if mask is not None:
            mask = mask.astype(case.mask_kind) * case.mask_kind(rng.choice([1, 255]))
        heard = Heard()
        picture = restorer(photo, mask, size=case.target, plan=plan, progress=heard)
        heard.check()
        check(picture, case.target, case.kind)
    if plan.tiling.count > 1:
        whole = restorer.plan(case.source, case.target, 1e15)
        expected = restorer(photo, mask, size=case.target, plan=whole)
        off = np.abs(np.subtract(picture, expected, dtype=np.float32))
        assert off.max() <= (1 if case.kind == np.uint8 else 2e-5)
    if case.window is not None:
        look(restorer, case, restorer.encode(photo, mask, plan=plan))


def look(restorer, case: Case, encoded) -> None:
    """Renders a window of the photo, which may be less than a pixel."""
    if encoded.importance is not None:
        assert encoded.importance.shape == case.source
        assert (encoded.importance >= 0).all() and (encoded.importance <= 1).all()
    shares = np.sort(np.reshape(case.window, (2, 2)), axis=0)
    edges = shares * case.source
    if not (edges[1] > edges[0]).all():
        return
    size = [
        max(1, math.ceil(share * n))
        for share, n in zip(shares[1] - shares[0], case.target, strict=True)
    ]
    window = tuple(edges.ravel().tolist())
    check(restorer.render(encoded, window, size), size, case.kind)


@pytest.fixture(autouse=True, scope="module")
def forget_restorers():
    """Frees the restorers that the examples have used."""
    yield
    RESTORERS.clear()


@pytest.fixture(autouse=True)
def same_machine(monkeypatch):
    """Plans that do not depend on what the process has taken so far."""
    monkeypatch.setattr(plans, "resident_memory", lambda: 2**29)


def fuzzing(examples: int):
    return hypothesis.settings(
        max_examples=examples, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip


# Each size is compiled, the more so with the towers of `dear`; so these are few.
FEW, FEWER = fuzzing(6), fuzzing(4)
SMALL, LARGE = cases(2**13, 5 * 10**4), cases(SIDE**2, 3 * 10**5)


@FEW
@given(case=SMALL)
def test_any_photo_of_any_size_is_restored_by_dear_lite(case):
    restore("dear-lite", case)


@FEWER
@given(case=SMALL)
def test_any_photo_of_any_size_is_restored_by_dear(case):
    restore("dear", case)


@pytest.mark.long
@fuzzing(60)
@given(case=LARGE)
def test_many_photos_of_any_size_are_restored_by_dear_lite(case):
    restore("dear-lite", case)


@pytest.mark.long
@fuzzing(15)
@given(case=LARGE)
def test_many_photos_of_any_size_are_restored_by_dear(case):
    restore("dear", case)
