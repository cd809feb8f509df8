"""What was asked for: the options, what of them decides the result, and the shards."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_prep.kinds import Member
from data_prep.records import Recipe
from data_prep.writing import Job
from dear_jax.errors import InputError

IN_ONE_SHARD = 1000
USUAL_SHARDS = 500
MOST_SHARDS = 99_999


@dataclass(frozen=True)
class Options:
    """What the command line says besides KIND, SOURCE and OUT; see its help.

    Raises:
      InputError: if a value is out of its range.
    """

    side: int | None = None
    quality: int | None = None
    per_shard: int | None = None
    workers: int = 1
    skip_unreadable: bool = False
    incomplete: bool = False
    first: int | None = None
    tfds: bool = False
    test: float = 0.0
    invert: bool = False
    raw: bool = False

    def __post_init__(self):
        for name, low, high in (
            ("side", 1, 65535),
            ("quality", 0, 100),
            ("per_shard", 1, None),
            ("workers", 1, 1024),
            ("test", 0, 1),
            ("first", 0, 1),
        ):
            value = getattr(self, name)
            if value is None or low <= value and (high is None or value <= high):
                continue
            option = f"--{name.replace('_', '-')}"
            limits = f"at least {low}" if high is None else f"from {low} to {high}"
            raise InputError(f"{option} {value}: must be {limits}")
        if self.quality is not None and self.side is None:
            raise InputError(
                f"--quality {self.quality}: is of reduced images; add --side"
            )
        if self.quality is not None and self.raw:
            raise InputError(
                f"--quality {self.quality}: --raw does not compress; give one of them"
            )

    def recipe(self, kind: str) -> Recipe:
        """Returns how records are made."""
        masks = kind == "masks"
        return Recipe(masks, self.side, self.quality or 0, self.invert, self.raw)


def settings(kind: str, options: Options, members: Sequence[Member]) -> dict[str, Any]:
    """Returns all that decides what a set holds, as the manifest has it.

    The members themselves are in it as their number and one digest of their splits,
    names and sizes.
    """
    digest = hashlib.sha256()
    for member in members:
        row = f"{member.split}\0{member.name}\0{member.size}\n"
        digest.update(row.encode("utf-8", "surrogateescape"))
    values = {"kind": kind, "side": options.side}
    if options.raw:
        values["raw"] = True
    elif options.side and kind != "masks":
        values["quality"] = options.quality or 0
    if kind in ("masks", "folder"):
        values["test"] = float(options.test)
    if kind == "masks":
        values["invert"] = options.invert
    values["per_shard"] = options.per_shard
    return values | {"images": len(members), "images_sha256": digest.hexdigest()}


def _count(images: int, options: Options) -> int:
    """Returns the number of shards for so many images of one folder."""
    if options.per_shard is not None:
        return min(-(-images // options.per_shard), MOST_SHARDS)
    return min(-(-images // IN_ONE_SHARD), USUAL_SHARDS)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Returns in words how a set's settings differ from those asked for, or None."""
    for key in {**new, **old}:
        then, now = old.get(key), new.get(key)
        if then != now and not key.startswith("images"):
            return f"made {_said(key, then)}, now asked for {_said(key, now)}"
    if old != new:
        return "made of other images than there are now"
    return None


def _said(key: str, value: Any) -> str:
    if key == "kind":
        return f"as {value}"
    option = f"--{key.replace('_', '-')}"
    if value is None or value is False:
        return f"without {option}"
    return f"with {option}" if value is True else f"with {option} {value}"


def jobs(
    groups: Mapping[str, Sequence[Member]], stem: str, options: Options
) -> list[Job]:
    """Divides groups into shards, each a run of neighbours.

    Args:
      groups: folder below the set's -> its members in order.
      stem: first part of the shards' names.
      options: says how many images are in one.

    Returns:
      The shards to write, in the order of the groups.
    """
    found = []
    for folder, members in groups.items():
        size = len(members)
        count = _count(size, options)
        for i in range(count):
            run = members[i * size // count : (i + 1) * size // count]
            path = f"{folder}/{stem}-{i:05d}-of-{count:05d}.array_record"
            found.append(Job(path, tuple(run)))
    return found
