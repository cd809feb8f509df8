"""How curves look: each system the same in every figure.

Colour says which upscaler it is, or which model if it does all at once; line and
marker say with which inpainter, and which of both comes first.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from dear_jax.inference.loading import CLASSICAL

SMALL, USUAL, LARGE = 7.5, 9, 12
INK, FAINT, GRID = "#1e1e1e", "#6e6e6e", "#e4e4e4"
SETTINGS = {
    "text.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": USUAL,
    "axes.titlesize": USUAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
}
# Okabe and Ito's colours, which colour-blind eyes tell apart too.
GREY, BLACK, BLUE, SKY = "#808080", "#000000", "#0072B2", "#56B4E9"
GREEN, ORANGE, RED, PINK = "#009E73", "#E69F00", "#D55E00", "#CC79A7"
COLOURS = {
    "bi": GREY,
    "bilinear": GREY,
    "bicubic": SKY,
    "edsr": ORANGE,
    "elan": GREEN,
    "lte": BLUE,
    "liif": PINK,
    "dear": RED,
    "dear-lite": BLACK,
    "misf": SKY,
    "lama": GREEN,
    # DEAR's parts, as the paper's Table 5 adds them.
    "base": GREY,
    "+dse": ORANGE,
    "+use": BLUE,
    "+pim": RED,
}
# For systems without a colour of their own, in turn; then again, with other markers.
OTHERS = (SKY, BLACK, GREEN, PINK, BLUE, ORANGE, GREY, RED)
MARKERS = ("D", "s", "v", "p")
INPAINTERS = {"misf": "MISF", "lama": "LaMa", "telea": "Telea"}
DIRECT = "one model"
# Family -> line, marker, whether the marker is filled; in the order of legends.
FAMILIES = {
    "MISF, then enlarged": ("-", "o", True),
    "enlarged, then MISF": ((0, (4, 1.5)), "o", False),
    "LaMa, then enlarged": ((0, (6, 1.5, 1, 1.5)), "^", True),
    "enlarged, then LaMa": ((0, (1, 1.2)), "^", False),
    "Telea, then enlarged": ((0, (8, 1.5)), "x", True),
    "enlarged, then Telea": ((0, (2, 1)), "x", False),
    DIRECT: ("-", "D", True),
}


@dataclass(frozen=True)
class Look:
    """How to draw a system: its family in legends, and options of matplotlib's plot."""

    family: str
    options: dict


@contextmanager
def own_settings() -> Iterator[None]:
    """Not the user's settings: the same numbers shall give the same picture."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """The look of each system, by labels such as "MISF→BI", "elan+misf" or "LTE"."""
    named = {label: _family_and_name(label) for label in labels}
    own = {label: _own_colour(name) for label, (_, name) in named.items()}
    taken = {own[label] for label in labels if named[label][0] == DIRECT}
    free = [colour for colour in OTHERS if colour not in taken] or OTHERS
    strangers = [label for label in named if not own[label]]
    turns = {label: divmod(i, len(free)) for i, label in enumerate(strangers)}
    found = {}
    for label, (family, _) in named.items():
        again, place = turns.get(label, (0, 0))
        options = _options(family, own[label] or free[place], again)
        found[label] = Look(family, options)
    return found


def _own_colour(name: str) -> str | None:
    """The colour of a system, or of the one that it is a kind of."""
    # As "lte-fast" and "dear (untrained)" are.
    for key in (name, re.split(r"[- ]", name)[0]):
        if key in COLOURS:
            return COLOURS[key]
    return None


def by_family(labels: Sequence[str]) -> dict[str, list[str]]:
    """The labels of each family that has any, families in the order of legends."""
    found = looks(labels)
    groups = {f: [x for x in labels if found[x].family == f] for f in FAMILIES}
    return {family: group for family, group in groups.items() if group}


def _family_and_name(label: str) -> tuple[str, str]:
    """The family, and the name that decides the colour."""
    stages = CLASSICAL.get(label, label).lower()
    parts = [part.strip() for part in re.split(r"[+→]", stages)]
    if len(parts) == 2:
        first, second = parts
        if first in INPAINTERS:
            return f"{INPAINTERS[first]}, then enlarged", second
        if second in INPAINTERS:
            return f"enlarged, then {INPAINTERS[second]}", first
    return DIRECT, label.lower()


def _options(family: str, colour: str, again: int) -> dict:
    """Options of a plot; `again` counts how often the colour was given before."""
    line, marker, filled = FAMILIES[family]
    direct = family == DIRECT
    return {
        "color": colour,
        "linestyle": line,
        "linewidth": 2.2 if direct else 1.2,
        "marker": MARKERS[again % len(MARKERS)] if direct else marker,
        "markersize": 4.5,
        "markerfacecolor": colour if filled else "white",
        "zorder": 4 if direct else 3,
    }
