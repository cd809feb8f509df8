"""The `data` part of a configuration: its defaults, and what it may not be.

Its fields are described in `dear_jax.data.pipeline`.
"""

from dear_jax.data.damage import KINDS, Damages
from dear_jax.data.degradations import Degradations
from dear_jax.data.examples import Chooser
from dear_jax.data.masks import open_masks
from dear_jax.errors import InputError
from dear_jax.inference.degradation import HARDEST_BLUR, HARDEST_NOISE, HARDEST_QUALITY
from dear_jax.typing import Config

AUGMENTATIONS = ("flip", "dihedral")
RENDERS = ("host", "resident")


def parts(data: Config) -> str | tuple[str, ...]:
    """The photos' parts, as `open_photos` takes them."""
    return data.photos if isinstance(data.photos, str) else tuple(data.photos)


def clean(data: Config) -> float:
    """Share of examples with an empty mask."""
    return data.get("clean", 0.0)


def augment(data: Config) -> str:
    """One of `AUGMENTATIONS`."""
    return data.get("augment", "flip")


def enlarge(data: Config) -> bool:
    """Whether photos smaller than a crop are enlarged to it."""
    return data.get("enlarge", True)


def render(data: Config) -> str:
    """One of `RENDERS`."""
    return data.get("render", "host")


def sides(data: Config) -> tuple[int, ...]:
    """All low-resolution sides, in pixels."""
    return (data.side,) if isinstance(data.side, int) else tuple(data.side)


def side_weights(data: Config) -> tuple[float, ...]:
    """How often batches have each of the sides; they sum to 1."""
    weights = data.get("side_weights", ()) or (1.0,) * len(sides(data))
    return tuple(weight / sum(weights) for weight in weights)


def degradations(data: Config) -> Degradations | None:
    """Ranges of degradations, or None for none."""
    return _shared(data, "degrade", Degradations)


def damages(data: Config) -> Damages | None:
    """What damage is drawn, or None for none."""
    return _shared(data, "damage", Damages)


def _shared(data: Config, name: str, kind: type):
    fields = data.get(name)
    if not fields or not fields.share:
        return None
    return kind(
        **{
            key: tuple(value) if isinstance(value, list) else value
            for key, value in fields.to_dict().items()
        }
    )


def chooser(data: Config) -> Chooser:
    """What draws the examples of the first side; those of others differ in `side`.

    Raises:
      InputError: if the masks cannot be opened.
    """
    return Chooser(
        open_masks(data.masks),
        sides(data)[0],
        tuple(data.scale),
        data.queries,
        clean(data),
        augment(data),
        enlarge(data),
    )


def check(data: Config) -> None:
    """Raises InputError for a value that cannot be used."""
    least = {"queries": 0, "threads": 0, "workers": 0}
    for key, bound in least.items():
        if data[key] < bound:
            raise InputError(f"config.data.{key}={data[key]}: must be at least {bound}")
    _check_sides(data)
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
    if not data.queries and not enlarge(data):
        raise InputError(
            "config.data.enlarge=False: config.data.queries=0 takes whole crops, all "
            "of one size; set config.data.enlarge=True or ask for some queries"
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
    for name in ("degrade", "damage"):
        _check_condition(data, name)


def _check_sides(data: Config) -> None:
    if not sides(data) or min(sides(data)) < 1:
        raise InputError(f"config.data.side={data.side}: must be at least 1")
    if len(set(sides(data))) < len(sides(data)):
        raise InputError(
            f"config.data.side={data.side}: name each side once, and its share in "
            "config.data.side_weights"
        )
    weights = data.get("side_weights", ())
    if weights and (len(weights) != len(sides(data)) or min(weights) <= 0):
        raise InputError(
            f"config.data.side_weights={tuple(weights)}: give one positive number for "
            f"each of the {len(sides(data))} sides, or ()"
        )


def _check_condition(data: Config, name: str) -> None:
    """Checks `config.data.degrade` or `config.data.damage`."""
    fields = data.get(name)
    if not fields or fields.share == 0:
        return
    field = f"config.data.{name}"
    for key in ("share", "grey", "sepia", "faded", "joined"):
        if key in fields and not 0 <= fields[key] <= 1:
            raise InputError(f"{field}.{key}={fields[key]}: must lie in [0, 1]")
    if fields.share and render(data) != "host":
        raise InputError(
            f"{field}.share={fields.share}: config.data.render={render(data)!r} makes "
            "no such examples; set config.data.render='host'"
        )
    if name == "damage":
        _check_damage(data, fields)
        return
    for key, low, high in (
        ("blur", 0, HARDEST_BLUR),
        ("noise", 0, HARDEST_NOISE),
        ("quality", HARDEST_QUALITY, 100),
    ):
        if not _is_range(fields[key], low, high):
            raise InputError(
                f"{field}.{key}={fields[key]}: give two numbers (low, high), "
                f"{low:g} <= low <= high <= {high:g}"
            )


def _check_damage(data: Config, fields) -> None:
    if fields.share + clean(data) > 1:
        raise InputError(
            f"config.data.damage.share={fields.share}, config.data.clean="
            f"{clean(data)}: the shares of damaged and intact photos exceed 1 together"
        )
    if not fields.kinds or set(fields.kinds) - set(KINDS):
        raise InputError(
            f"config.data.damage.kinds={tuple(fields.kinds)}: choose from "
            f"{', '.join(map(repr, KINDS))}"
        )
    area = tuple(fields.area)
    if len(area) != 3 or not 0 < area[0] <= area[1] <= area[2] <= 1:
        raise InputError(
            f"config.data.damage.area={area}: give three shares, 0 < low <= typical "
            "<= high <= 1"
        )


def _is_range(bounds, least: float = 1, most: float = float("inf")) -> bool:
    try:
        low, high = bounds
        return least <= low <= high <= most and high < float("inf")
    except (TypeError, ValueError):
        return False
