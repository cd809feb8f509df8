"""Damage of prints: cracks, creases, stains, tears, and what handling leaves.

Choices all of them, but for the cracks, which print damage is best known by: light,
with branches and a dark edge.
"""

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from dear_jax.data import damage_shapes as shapes

# The commonest damage of prints, and the part of those without them that have them all
# the same, in place of another kind.
_OFTEN, _MORE = ("crack", "straight scratch"), 0.5


def paint_print(
    rng: np.random.Generator, canvas: shapes.Canvas, names: list[str], area: float
) -> None:
    """Paints one or two kinds of damage of prints.

    Args:
      rng: source of all randomness.
      canvas: is painted on.
      names: kinds to choose from, keys of `PRINT`; at least one.
      area: about how many pixels are to be damaged.
    """
    count = 2 if rng.random() < 0.3 and len(names) > 1 else 1
    chosen = list(rng.permutation(names)[:count])
    often = [name for name in _OFTEN if name in names]
    if often and not set(often) & set(chosen) and rng.random() < _MORE:
        chosen[0] = rng.choice(often)
    for name in chosen:
        PRINT[str(name)](rng, canvas, area / count)


def paint_cracks(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """Cracks with branches, mostly light, many with a dark edge on one side or around.

    Of one photo they are alike: as wide, as straight, as visible, as broken.
    """
    side = min(canvas.size)
    bright = rng.random() < 0.85  # The paper shows; rarely, dirt has filled the crack.
    edge = canvas.layer(shapes.draw_colour(rng, not bright))
    core = canvas.layer(shapes.draw_colour(rng, bright))
    edge_opacity = rng.uniform(0.2, 0.8) * (rng.random() < 0.6)
    widest = max(1.2, min(side / 24, math.sqrt(area) / 4))
    width = shapes.log_uniform(rng, 0.8, widest)
    rim = rng.uniform(0.5, 1.0) * max(1.0, 0.4 * width)
    offset = rng.uniform(-0.6, 0.6, 2) * rim
    opacity, bends = rng.uniform(0.45, 1), rng.uniform(0.05, 0.5)
    broken = rng.uniform(0, 0.4) * (rng.random() < 0.4)
    for points, thick in _cracks(rng, canvas.size, area, width, rim, bends):
        if edge_opacity:
            shapes.stroke(edge, points + offset, thick + rim, edge_opacity)
        # The emulsion breaks unevenly; the middle, which lies in the photo, stays.
        middle = len(points) // 4 * 2
        for part in range(0, len(points) - 1, 2):
            if part == middle or rng.random() >= broken:
                uneven = thick * rng.uniform(0.7, 1.3)
                shown = opacity * rng.uniform(0.8, 1)
                shapes.stroke(core, points[part : part + 3], uneven, shown)


def _cracks(
    rng: np.random.Generator,
    size: tuple[int, int],
    area: float,
    width: float,
    rim: float,
    bends: float,
) -> Iterator[tuple[Float[np.ndarray, "N 2"], float]]:
    """Yields points and widths of cracks and their branches until area is used up."""
    height, wide = size
    left = area / (width + rim + 0.6)  # Length.
    while left > 0:
        length = min(left, shapes.log_uniform(rng, 0.25, 1.4) * min(size))
        angle = rng.uniform(0, math.pi)
        centre = np.array([wide, height]) * rng.uniform(0.04, 0.96, 2)
        count = max(5, min(40, round(length / 2)))
        trunk = shapes.line(rng, centre, length, angle, bends, bends, count)
        yield trunk, width
        left -= length
        for _ in range(rng.integers(5)):
            if left <= 2:
                break
            start = trunk[rng.integers(1, count)]
            part = min(left, length * rng.uniform(0.1, 0.5))
            turned = angle + rng.choice((-1, 1)) * rng.uniform(0.4, 1.3)
            half = part / 2 * np.array([math.cos(turned), math.sin(turned)])
            points = max(4, round(part / 2))
            branch = shapes.line(rng, start + half, part, turned, bends, bends, points)
            yield branch + start - branch[0], max(1.0, 0.7 * width)
            left -= part


def paint_straight_scratches(
    rng: np.random.Generator, canvas: shapes.Canvas, area: float
) -> None:
    """One to six long straight scratches of one width, mostly along the photo's sides.

    What people take for wires, bars and seams, and what a detector must not.
    """
    height, wide = canvas.size
    layer = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.6))
    count = int(rng.integers(1, 7))
    widest = max(1.2, min(min(canvas.size) / 40, math.sqrt(area / count) / 3))
    width = shapes.log_uniform(rng, 0.8, widest)
    length = min(area / count / (width + 0.6), 1.5 * max(canvas.size))
    along = rng.random() < 0.7
    angle = rng.integers(2) * math.pi / 2 if along else rng.uniform(0, math.pi)
    opacity, broken = shapes.draw_opacity(rng), 0.4 * (rng.random() < 0.3)
    for _ in range(count):
        centre = np.array([wide, height]) * rng.uniform(0.02, 0.98, 2)
        turned = angle + rng.normal(0, 0.02)
        points = shapes.line(rng, centre, length, turned, 0.02, points=16)
        for part in range(0, len(points) - 1, 2):
            if part == 8 or rng.random() >= broken:
                shapes.stroke(layer, points[part : part + 3], width, opacity)


def paint_crease(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """A fold: a straight faint line along which flakes of emulsion are missing."""
    height, wide = canvas.size
    layer = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.8))
    angle = rng.uniform(0, math.pi)
    width = rng.uniform(1, 1.6)
    length = min(1.5 * max(canvas.size), 0.6 * area / width)
    centre = np.array([rng.uniform(0, wide), rng.uniform(0, height)])
    fold = shapes.line(rng, centre, length, angle, 0.03, 0.02, 16)
    shapes.stroke(layer, fold, width, rng.uniform(0.25, 1))
    left, typical = 0.4 * area, max(1.5, 0.25 * math.sqrt(area))
    while left > 0:
        flake = min(shapes.log_uniform(rng, 1, 2 * typical), 1.2 * math.sqrt(left) + 1)
        near = fold[rng.integers(len(fold))] + rng.normal(0, 0.3 * flake, 2)
        corners = shapes.blob(rng, near, flake, 0.7 * flake, 0.3)
        shapes.fill(layer, corners, rng.uniform(0.8, 1))
        left -= 0.55 * flake**2 + 0.5


def paint_stains(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """Spots of water, ink or mould, soft: brownish, dark or bleached."""
    height, wide = canvas.size
    count = int(rng.integers(1, 4))
    each = max(1.2, math.sqrt(area / count * 4 / math.pi))
    kind = rng.random()
    if kind < 0.5:
        depth = rng.uniform(0.4, 1)
        colour = tuple(depth * np.array((150, 115, 70)) + rng.normal(0, 8, 3))
    else:
        colour = shapes.draw_colour(rng, kind < 0.7)
    layer = canvas.layer(colour, soft=rng.uniform(0.05, 0.15) * each)
    opacity = rng.uniform(0.3, 0.95)
    for _ in range(count):
        centre = np.array([rng.uniform(0, wide), rng.uniform(0, height)])
        length = each * rng.uniform(0.7, 1.2)
        # Several overlapping spots make an outline that no single one has.
        for _ in range(3):
            near = centre + rng.normal(0, 0.15 * length, 2)
            part = rng.uniform(0.6, 0.9) * length
            corners = shapes.blob(rng, near, part, rng.uniform(0.6, 1) * part, 0.12)
            shapes.fill(layer, corners, opacity)


def paint_torn_corner(
    rng: np.random.Generator, canvas: shapes.Canvas, area: float
) -> None:
    """A corner that is missing, with a ragged rim of white paper along the tear."""
    height, wide = canvas.size
    ratio = rng.uniform(0.4, 2.5)
    across = min(math.sqrt(2 * area * ratio), 0.7 * wide)
    down = min(2 * area / across, 0.7 * height)
    right, below = rng.random() < 0.5, rng.random() < 0.5
    corner = np.array([wide if right else 0.0, height if below else 0.0])
    ends = [[wide - across if right else across, corner[1]],
            [corner[0], height - down if below else down]]  # fmt: skip
    count = max(4, min(24, round(math.hypot(across, down) / 2)))
    along = np.linspace(0, 1, count)[:, None]
    tear = (1 - along) * ends[0] + along * ends[1]
    ragged = 0.04 * math.hypot(across, down)
    # A walk that ends where it began, so that both ends stay on the border.
    walk = np.cumsum(rng.standard_normal((count, 2)), 0)
    walk -= walk[0] + along * (walk[-1] - walk[0])
    tear = tear + ragged * walk * 1.5 / math.sqrt(count)
    rim = rng.uniform(0, 0.12) * math.sqrt(area)
    if rim > 0.4:
        paper = canvas.layer(shapes.draw_colour(rng, True))
        shapes.stroke(paper, tear, 2 * rim, 1.0)
    behind = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.6))
    shapes.fill(behind, np.concatenate([tear, corner[None]]), 1.0)


def paint_worn_edges(
    rng: np.random.Generator, canvas: shapes.Canvas, area: float
) -> None:
    """Ragged bands along one to four sides, where the emulsion has come off."""
    height, wide = canvas.size
    layer = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.8))
    chosen = rng.permutation(4)[: rng.integers(1, 5)]
    for side in chosen:
        length, across = (wide, height) if side < 2 else (height, wide)
        count = max(6, min(48, round(length / 3)))
        walk = np.cumsum(rng.standard_normal(count))
        depth = np.abs(walk - rng.choice(walk)) + 0.3 * rng.random(count)
        deep = min(0.7 * area / len(chosen) / length, 0.3 * across)
        depth *= deep / max(depth.mean(), 0.1)
        along = np.linspace(0, length, count)
        inner = depth if side % 2 == 0 else across - depth
        outer = 0.0 if side % 2 == 0 else float(across)
        edge = np.concatenate([np.stack([along, inner], 1),
                               [[length, outer], [0.0, outer]]])  # fmt: skip
        shapes.fill(layer, edge if side < 2 else edge[:, ::-1], 1.0)


def paint_scuff(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """A bundle of fine scratches that come and go, side by side or across."""
    height, wide = canvas.size
    layer = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.8))
    width, extent = rng.uniform(0.5, 1.5), rng.uniform(0.15, 0.8) * min(canvas.size)
    middle = np.array([rng.uniform(0, wide), rng.uniform(0, height)])
    angle, spread = rng.uniform(0, math.pi), rng.choice((0.05, 0.2, 1.0))
    left = area
    while left > 0:
        length = min(left / width, shapes.log_uniform(rng, 0.1, 1.0) * extent) + 1
        centre, turned = (
            middle + rng.normal(0, extent / 3, 2),
            rng.normal(angle, spread),
        )
        centre = centre.clip(0, (wide - 1, height - 1))
        points = shapes.line(rng, centre, length, turned, 0.1, 0.05)
        for part in range(0, len(points) - 1, 2):
            if rng.random() < 0.7:
                opacity = rng.uniform(0.3, 1)
                shapes.stroke(layer, points[part : part + 3], width, opacity)
        left -= 0.7 * length * (width + 0.3)


def paint_fibres(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """Lint: one to three bent fibres of some width, some of them forked."""
    height, wide = canvas.size
    layer = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.5))
    opacity, count = shapes.draw_opacity(rng), int(rng.integers(1, 4))
    most = min(min(canvas.size) / 16, math.sqrt(area / count) / 3)
    for _ in range(count):
        width = shapes.log_uniform(rng, 1, max(1.2, most))
        length = min(area / count / (width + 0.6), 1.2 * max(canvas.size))
        centre = np.array([rng.uniform(0, wide), rng.uniform(0, height)])
        angle = rng.uniform(0, math.pi)
        ends = int(rng.integers(1, 4))
        stem = shapes.line(rng, centre, length / ends, angle, 2.5, 0.15, 16)
        shapes.stroke(layer, stem, width, opacity)
        for _ in range(ends - 1):
            branch = shapes.line(
                rng, centre, length / ends, rng.uniform(0, 2 * math.pi), 2, 0.15, 16
            )
            start = stem[rng.integers(len(stem))]
            shapes.stroke(layer, branch + start - branch[0], 0.8 * width, opacity)


def paint_smut(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """Clumps of ragged spots, each near the one before."""
    height, wide = canvas.size
    layer = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.5))
    opacity, typical = shapes.draw_opacity(rng), max(1.2, 0.4 * math.sqrt(area))
    left, place = area, np.array([rng.uniform(0, wide), rng.uniform(0, height)])
    while left > 0:
        spot = min(shapes.log_uniform(rng, 1, typical), 1.2 * math.sqrt(left) + 0.5)
        corners = shapes.blob(rng, place, spot, rng.uniform(0.5, 1) * spot, 0.3)
        shapes.fill(layer, corners, opacity)
        place = place + rng.normal(0, 0.6 * spot + 0.5, 2)
        left -= 0.5 * spot**2 + 0.4


def paint_specks(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """A cloud of specks of about a pixel."""
    height, wide = canvas.size
    layer = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.5))
    extent = rng.uniform(0.05, 0.4) * min(canvas.size)
    middle, left = np.array([rng.uniform(0, wide), rng.uniform(0, height)]), area
    while left > 0:
        speck = shapes.log_uniform(rng, 0.8, 2.5)
        near = middle + rng.normal(0, extent, 2)
        shapes.fill(
            layer, shapes.blob(rng, near, speck, speck), shapes.draw_opacity(rng)
        )
        left -= 0.8 * (speck + 0.3) ** 2


PRINT = {
    "crack": paint_cracks,
    "straight scratch": paint_straight_scratches,
    "crease": paint_crease,
    "stain": paint_stains,
    "torn corner": paint_torn_corner,
    "worn edge": paint_worn_edges,
    "scuff": paint_scuff,
    "fibre": paint_fibres,
    "smut": paint_smut,
    "specks": paint_specks,
}
