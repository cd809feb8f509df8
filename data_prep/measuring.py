"""Masks are measured before they are packed: each belongs to the bin of its ratio."""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace

from data_prep import splits, workers
from data_prep.kinds import Member
from data_prep.records import Recipe
from data_prep.workers import progress
from data_prep.workspace import Workspace
from data_prep.writing import read_member
from dear_jax.data import drawn_masks
from dear_jax.data.manifest import Shard
from dear_jax.errors import Unreadable

_CHUNK = 100


def measure(
    source, recipe: Recipe, members: Sequence[Member], processes: int, space: Workspace
) -> list[float | str]:
    """Returns each mask's hole ratio as packed, or why it has none.

    What was measured by an earlier run is taken from `space`.
    """
    starts = range(0, len(members), _CHUNK)
    chunks = [tuple(members[i : i + _CHUNK]) for i in starts]
    keys = {chunk: _key(chunk, recipe) for chunk in chunks}
    known = {chunk: space.facts(key) for chunk, key in keys.items()}
    todo = [chunk for chunk in chunks if known[chunk] is None]
    missing = sum(map(len, todo))
    function = functools.partial(_measure_chunk, source, recipe)
    with (
        progress(len(members), "measuring", len(members) - missing) as bar,
        closing(workers.work(function, todo, processes, bar)) as results,
    ):
        for chunk, ratios in results:
            known[chunk] = ratios
            # A file that cannot be read now may be readable in the next run.
            if not any(isinstance(ratio, str) for ratio in ratios):
                space.keep(keys[chunk], ratios)
    return [ratio for chunk in chunks for ratio in known[chunk]]


def group(
    members: Sequence[Member], ratios: Sequence[float | str]
) -> tuple[dict[str, list[Member]], list[Member]]:
    """Sorts masks into their bins.

    Args:
      members: the masks, of splits one after the other.
      ratios: what `measure` gave for them.

    Returns:
      "train/01-10" and so on -> its members in order, bins rising within a split;
      and the readable masks outside all bins. Masks that all lie in a folder of
      their bin's name are named below it, as in the folder that the set stands for.
    """
    groups = {
        f"{split}/{drawn_masks.bin_name(limits)}": []
        for split in dict.fromkeys(member.split for member in members)
        for limits in drawn_masks.RATIO_BINS
    }
    outside = []
    for member, ratio in zip(members, ratios, strict=True):
        if isinstance(ratio, str):
            continue
        if name := splits.mask_bin(ratio):
            groups[f"{member.split}/{name}"].append(member)
        else:
            outside.append(member)
    found = {n: _named_below(n.split("/")[1], group) for n, group in groups.items()}
    return {name: group for name, group in found.items() if group}, outside


def _named_below(name: str, group: Sequence[Member]) -> list[Member]:
    """Takes a bin's folder from its members' names if all of them lie in one."""
    heads = set()
    for member in group:
        folders = member.name.split("/")[:-1]
        if name not in folders:
            return list(group)
        heads.add("/".join(folders[: folders.index(name) + 1]))
    if len(heads) != 1:
        return list(group)
    start = len(heads.pop()) + 1
    return [replace(member, name=member.name[start:]) for member in group]


def empty_bins(shards: Sequence[Shard], share: float) -> list[str]:
    """Returns a line for every split, by the share for testing, that lacks bins."""
    there = {tuple(s.path.split("/")[:2]) for s in shards if s.records}
    lines = []
    for split, wanted in (("train", share < 1), ("test", share > 0)):
        bins = [drawn_masks.bin_name(limits) for limits in drawn_masks.RATIO_BINS]
        empty = [name for name in bins if (split, name) not in there]
        if wanted and empty:
            lines.append(f"no mask of {split} is in bin {', '.join(empty)}")
    return lines


def _measure_chunk(
    source, recipe: Recipe, chunk: Sequence[Member], tick: Callable[[], None]
) -> list[float | str]:
    ratios = []
    for member in chunk:
        try:
            ratios.append(read_member(source, recipe, member).missing)
        except Unreadable as error:
            ratios.append(str(error))
        tick()
    return ratios


def _key(chunk: Sequence[Member], recipe: Recipe) -> str:
    rows = [[m.name, m.size, m.version] for m in chunk]
    text = json.dumps(["measured", asdict(recipe), rows])
    return hashlib.sha256(text.encode()).hexdigest()
