"""Makes one channel of a result agree with what is known of the photo it is of.

The result x is changed to one in range whose reduction by Pillow's bicubic, D x, comes
nearest to the known pixels y: min |D x - y|^2 over known pixels, 0 <= x <= 255, by
accelerated projected gradient steps from what the model made, which move it little.
Known pixels that are quite white or black may be overshot, for the reduction clips.
A pixel of the photo depends on few of the result: windows are treated in turn, those
only that need it, so neither time nor memory is spent on what agrees already.

Planes are h x w pixels of the result and H x W of the photo, uint8 or float in [0, 1];
levels are in [0, 255].
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Num
from PIL import Image

from dear_jax.images.resize import bicubic_taps

_ROUNDS = 6  # Over all windows that do not agree.
_STEPS = 200  # In a window, at most; photos take 5 to 60.
_PATIENCE = 20  # So many steps shall lessen the squared error by a hundredth.
_NEAR = 0.25  # Levels; when all known pixels are as near, steps end.
_SIDE = 256  # Of windows, about, in pixels of the result.
# Pixels of the photo around a window's own: those that change when its own do.
_MARGIN = 5


class Part(NamedTuple):
    """One axis of a window: pixels of the photo, and those of the result they are of.

    Attributes:
      seen: pixels of the photo that the window looks at.
      own: of `seen`, those that are no margin.
      made_of: pixels of the result that `seen` depend on.
      free: of `made_of`, those that nothing but `seen` depends on.
      reduce: sparse float32 [seen, made_of].
      back: its transpose.
    """

    seen: slice
    own: slice
    made_of: slice
    free: slice
    reduce: Any
    back: Any


class Window:
    """Pillow's bicubic in one window, as matrices without its rounding.

    Its planes of the result, n columns and m rows of it, are levels, transposed.

    Attributes:
      row, column: its parts of the two axes.
      clips: whether the reduction clips between the axes, as it does on uint8.
      step: 1 / the largest eigenvalue of D D^T, or a little less.
      place: where in the photo the pixels are that it looks at.
      own: which of those shall agree; the others shall not get worse.
      free: which of its pixels, transposed, may change.
    """

    def __init__(self, row: Part, column: Part, clips: bool, step: float):
        self.row, self.column = row, column
        self.clips, self.step = clips, np.float32(step)
        self.place = row.seen, column.seen
        self.own = row.own, column.own
        self.free = column.free, row.free

    def __call__(
        self, plane: Float32[np.ndarray, "n m"]
    ) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "W m"]]:
        """D x, and what lies between the axes, unclipped."""
        between = self.column.reduce @ plane
        clipped = np.clip(between, 0, 255) if self.clips else between
        return self.row.reduce @ clipped.T, between

    def back(
        self, off: Float32[np.ndarray, "H W"], between: Float32[np.ndarray, "W m"]
    ) -> Float32[np.ndarray, "n m"]:
        """D^T y; nothing pushes further what is clipped already."""
        push = (self.row.back @ off).T
        if self.clips:
            push[(between > 255) & (push < 0)] = 0
            push[(between < 0) & (push > 0)] = 0
        return self.column.back @ push

    def cut(self, plane: Num[np.ndarray, "h w"]) -> Float32[np.ndarray, "n m"]:
        """The window's pixels of a whole plane of the result."""
        part = plane[self.row.made_of, self.column.made_of]
        return np.ascontiguousarray(levels(part).T)

    def paste(
        self,
        plane: Num[np.ndarray, "h w"],
        start: Float32[np.ndarray, "n m"],
        made: Float32[np.ndarray, "n m"],
    ) -> None:
        """Puts pixels into the whole plane where they are not those of `start`."""
        part = plane[self.row.made_of, self.column.made_of]
        if plane.dtype == np.uint8:
            part[...] = np.rint(made).astype(np.uint8).T
        else:
            part[...] = np.where((made == start).T, part, made.T / np.float32(255))


class Reduction:
    """Pillow's bicubic from one size to a smaller one.

    Attributes:
      windows: that have all pixels of the smaller for their own, each one once.
    """

    def __init__(self, old: tuple[int, int], new: tuple[int, int], clips: bool):
        (rows, y), (columns, x) = map(_parts, old, new)
        step = 1 / (1.02 * y * x)
        self.windows = [Window(r, c, clips, step) for r in rows for c in columns]


def agree(
    plane: Num[np.ndarray, "h w"],
    target: Num[np.ndarray, "H W"],
    known: Bool[np.ndarray, "H W"],
    reduction: Reduction,
    tell: Callable[[float], None],
) -> None:
    """Changes a plane in place until it agrees, or as nearly as it can.

    Args:
      plane: uint8, or float32 in [0, 1].
      target: of the same kind.
      known: where to agree.
      reduction: from the size of `plane` to that of `target`.
      tell: is told how much of the work is done, in [0, 1).
    """
    wanted, error = levels(target), np.inf
    before = plane
    for done in range(_ROUNDS + 1):
        found = reduced(plane, target.shape)
        missed = known & (np.abs(found - wanted) > 1)
        beyond = np.abs(found - wanted)[missed] - 1
        now = float(np.square(beyond).sum())
        # Less than that is chance: what agrees as well as it can shall stay as it is.
        if now > 0.99 * error:
            plane[...] = before
        if not missed.any() or now > 0.99 * error or done == _ROUNDS:
            return
        before, error = plane.copy(), now
        windows = [w for w in reduction.windows if missed[w.place][w.own].any()]
        # What rounding does is not in the matrices: the next time it is aimed past.
        aim = wanted.copy()
        for window in windows if done else []:
            values = window(window.cut(plane))[0]
            aim[window.place][window.own] -= (found[window.place] - values)[window.own]
        aim = np.where(missed, aim, wanted)
        low = np.where(known & (wanted > 0), aim, -np.inf).astype(np.float32)
        high = np.where(known & (wanted < 255), aim, np.inf).astype(np.float32)
        for i, window in enumerate(windows):
            tell((done + i / len(windows)) / _ROUNDS)
            start = window.cut(plane)
            made = _descend(start, low[window.place], high[window.place], window)
            window.paste(plane, start, made)


def levels(plane: Num[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Grey levels of a plane, uint8 or float in [0, 1]."""
    values = plane.astype(np.float32)
    return values if plane.dtype == np.uint8 else values * np.float32(255)


def reduced(
    plane: Num[np.ndarray, "h w"], size: tuple[int, int]
) -> Float32[np.ndarray, "{size[0]} {size[1]}"]:
    """Levels of a plane, uint8 or float32, reduced by Pillow itself to `size`."""
    image = Image.fromarray(np.ascontiguousarray(plane))
    made = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))
    return np.clip(levels(made), 0, 255)


def _descend(
    start: Float32[np.ndarray, "n m"],
    low: Float32[np.ndarray, "H W"],
    high: Float32[np.ndarray, "H W"],
    window: Window,
) -> Float32[np.ndarray, "n m"]:
    """The plane in [0, 255] whose reduction is best between `low` and `high`.

    Nesterov's steps, begun anew whenever they overshoot.
    """
    x, ahead, pace = start, start, 1.0
    errors = [np.inf]
    for step in range(_STEPS):
        values, between = window(ahead)
        off = values - np.clip(values, low, high)
        if np.abs(off[window.own]).max() <= _NEAR:
            return np.clip(ahead, 0, 255)
        errors.append(float(np.vdot(off, off)))
        if step >= _PATIENCE and errors[-1] > 0.99 * errors[-_PATIENCE]:
            break
        if errors[-1] > errors[-2] and pace > 1:
            ahead, pace = x, 1.0
            continue
        push = window.back(off, between)[window.free]
        new = start.copy()  # For pixels that are not free.
        new[window.free] = np.clip(ahead[window.free] - window.step * push, 0, 255)
        faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = new + np.float32((pace - 1) / faster) * (new - x)
        x, pace = new, faster
    return x


def _parts(old: int, new: int) -> tuple[list[Part], float]:
    """An axis in parts, and the largest eigenvalue of its D D^T."""
    from scipy import sparse

    starts, taps = bicubic_taps(old, new)
    count = taps.shape[1]
    # Past the last pixel all taps are 0.
    places = np.minimum(starts[:, None] + np.arange(count), old - 1)
    values = (taps / 2**22).astype(np.float32).ravel()
    pointers = np.arange(new + 1) * count
    matrix = sparse.csr_matrix((values, places.ravel(), pointers), shape=(new, old))
    matrix.sum_duplicates()
    side = max(16, round(_SIDE * new / old))
    cuts = np.linspace(0, new, max(1, round(new / side)) + 1).astype(int).tolist()
    starts, ends = starts.tolist(), (places[:, -1] + 1).tolist()
    parts = [
        _part(matrix, starts, ends, own)
        for own in map(slice, cuts[:-1], cuts[1:])  # Of the photo.
    ]
    return parts, _largest(matrix)


def _part(matrix, starts: list[int], ends: list[int], own: slice) -> Part:
    """The part with some pixels of the photo for its own.

    Each pixel k of the photo is made of starts[k] ... ends[k] - 1 of the result.
    """
    new, old = matrix.shape
    first, last = max(0, own.start - _MARGIN), min(new, own.stop + _MARGIN)
    begin = starts[first] if first else 0
    end = ends[last - 1] if last < new else old
    free = slice(
        ends[first - 1] - begin if first else 0,
        (starts[last] if last < new else old) - begin,
    )
    cut = matrix[first:last, begin:end].tocsr()
    within = slice(own.start - first, own.stop - first)
    made_of = slice(begin, end)
    return Part(slice(first, last), within, made_of, free, cut, cut.T.tocsr())


def _largest(matrix) -> float:
    """The largest eigenvalue of D D^T, by power iteration."""
    vector = np.ones(matrix.shape[0], np.float32)
    for _ in range(30):
        vector /= np.linalg.norm(vector)
        vector = matrix @ (matrix.T @ vector)
    return float(np.linalg.norm(vector))
