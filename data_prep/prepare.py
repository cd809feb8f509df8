"""Makes a prepared set: from the source to manifest.json, or from where it stopped."""

import functools
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from data_prep import measuring, plan, workers
from data_prep.kinds import TFDS_BUILDERS, Member, members
from data_prep.plan import Options
from data_prep.sources import open_source
from data_prep.tfds_source import TfdsSource
from data_prep.workers import progress
from data_prep.workspace import Workspace, workspace
from data_prep.writing import Job, Written, same_file, write_shard
from dear_jax.data import manifest
from dear_jax.data.manifest import Manifest, Shard
from dear_jax.errors import InputError
from dear_jax.files import replacing

LEFT_OUT = "left_out.txt"
_SHOWN = 10


def prepare(
    kind: str,
    source: Path,
    out: Path,
    options: Options,
    say: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Makes the set `out`, or continues where the same command was stopped.

    Args:
      kind: one of `data_prep.kinds.KINDS`.
      source: what was downloaded.
      out: the set's folder: new, empty, or of an earlier run.
      options: see there.
      say: is given lines for a person: what was reused, what was left out.

    Returns:
      The manifest, as it is in `out`.

    Raises:
      InputError: for what the user can mend. What is finished stays.
    """
    out = Path(os.path.abspath(out))
    if options.tfds:
        reader = TfdsSource(source, TFDS_BUILDERS[kind])
    else:
        reader = open_source(source)
    try:
        chosen = members(
            kind, reader.files(), options.test, options.incomplete, options.first
        )
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    settings = plan.settings(kind, options, chosen)
    # Before the lock is taken, which needs a place that can be written.
    if made := _finished(out, settings, say):
        return made
    with workspace(out) as space:
        if made := _finished(out, settings, say):
            return made
        run = _Run(kind, reader, options, space, say)
        made = Manifest(str(source), settings, run.shards(chosen))
        manifest.write_manifest(out, made)
    return made


class _Run:
    """One run's work in a set's folder."""

    def __init__(self, kind: str, reader: Any, options: Options, space: Workspace, say):
        self._kind, self._reader, self._options = kind, reader, options
        self._recipe = options.recipe(kind)
        self._space, self._say = space, say

    def shards(self, chosen: Sequence[Member]) -> tuple[Shard, ...]:
        """Writes what is not there yet, and the list of what was left out."""
        if self._kind == "masks":
            groups, left_out = self._bins(chosen)
        else:
            groups, left_out = _by_split(chosen), []
        # Readers pass over hidden files.
        stem = self._space.out.name.lstrip(".") or "set"
        jobs = plan.jobs(groups, stem, self._options)
        written = self._reusable(jobs)
        self._space.remove_shards_but(written.keys())
        self._write(jobs, written)
        bad = [line for job in jobs for line in written[job.path].bad]
        self._refuse(bad)
        shards = tuple(written[job.path].shard for job in jobs)
        if not any(shard.records for shard in shards):
            raise InputError("no image is left to write; see the lines above")
        self._list(left_out + bad)
        if self._kind == "masks":
            for line in measuring.empty_bins(shards, self._options.test):
                self._say(line)
        return shards

    def _bins(
        self, chosen: Sequence[Member]
    ) -> tuple[dict[str, list[Member]], list[str]]:
        """Measures the masks; returns their groups, and lines on those in none."""
        ratios = measuring.measure(
            self._reader, self._recipe, chosen, self._options.workers, self._space
        )
        bad = [ratio for ratio in ratios if isinstance(ratio, str)]
        self._refuse(bad)
        groups, others = measuring.group(chosen, ratios)
        outside = [
            f"{self._reader.place(member.where)}: hole ratio outside all bins"
            for member in others
        ]
        for line in outside[:_SHOWN]:
            self._say(f"left out: {line}")
        if len(outside) > _SHOWN:
            self._say(f"left out: {len(outside)} masks in all, see {LEFT_OUT}")
        if 2 * len(outside) > len(chosen):
            self._say("Is black missing in these masks? Then add --invert.")
        return groups, bad + outside

    def _reusable(self, jobs: Sequence[Job]) -> dict[str, Written]:
        """Returns path -> shard for those that an earlier run finished."""
        facts = {}
        for job in jobs:
            if values := self._space.facts(job.key(self._recipe)):
                facts[job.path] = Written.of_values(values)
                # What was bad then may be mended now.
                if facts[job.path].bad and not self._options.skip_unreadable:
                    del facts[job.path]
        if not facts:
            return {}
        images = sum(len(written.shard.records) for written in facts.values())
        with progress(images, "checking finished shards") as bar:
            found = {}
            for path, written in facts.items():
                if same_file(self._space.out / path, written.shard):
                    found[path] = written
                bar.update(len(written.shard.records))
        return found

    def _write(self, jobs: Sequence[Job], written: dict[str, Written]) -> None:
        """Writes the jobs that are not in `written`, and adds them to it."""
        todo = [job for job in jobs if job.path not in written]
        images = sum(len(job.members) for job in jobs)
        done = images - sum(len(job.members) for job in todo)
        function = functools.partial(
            write_shard, self._reader, self._recipe, self._space.partial
        )
        with (
            progress(images, "writing", done) as bar,
            closing(workers.work(function, todo, self._options.workers, bar)) as ready,
        ):
            for job, result in ready:
                written[job.path] = result
                if result.bad and not self._options.skip_unreadable:
                    result.partial.unlink()
                    continue
                # In this order no shard lies in the set that nobody knows of.
                self._space.keep(job.key(self._recipe), result.values())
                self._space.move_in(result.partial, job.path)

    def _refuse(self, bad: Sequence[str]) -> None:
        """Names the files that cannot be used; they end the run unless skipped."""
        for line in bad:
            self._say(f"cannot be used: {line}")
        if bad and not self._options.skip_unreadable:
            raise InputError(
                f"{len(bad)} of the files cannot be used, see above; replace or remove "
                "them or add --skip-unreadable. What is finished stays"
            )

    def _list(self, left_out: Sequence[str]) -> None:
        """Writes the list of the files left out into the set, if there are any."""
        path = self._space.out / LEFT_OUT
        path.unlink(missing_ok=True)
        if left_out:
            text = "".join(f"{line}\n" for line in left_out)
            with replacing(path) as partial:
                partial.write_bytes(text.encode("utf-8", "surrogateescape"))


def _by_split(chosen: Sequence[Member]) -> dict[str, list[Member]]:
    groups = {}
    for member in chosen:
        groups.setdefault(member.split, []).append(member)
    return groups


def _finished(
    out: Path, settings: dict[str, Any], say: Callable[[str], None]
) -> Manifest | None:
    """Returns the manifest of a finished set after reading all its shards, or None.

    Raises:
      InputError: if it was made otherwise than is asked for now, or is damaged.
    """
    try:
        if not (out / manifest.NAME).exists():
            return None
        made = manifest.read_manifest(out)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be looked at ({error.strerror}); choose another folder"
        ) from None
    except InputError as error:
        reason = str(error).partition(";")[0]
        raise InputError(
            f"{reason}; remove {out} and run the same command again, or choose "
            "another folder"
        ) from None
    if how := plan.difference(made.settings, settings):
        raise InputError(f"{out}: {how}; remove {out} or choose another folder")
    images = sum(len(shard.records) for shard in made.shards)
    with progress(images, "checking finished shards") as bar:
        for shard in made.shards:
            if not same_file(out / shard.path, shard):
                raise InputError(
                    f"{out / shard.path}: missing or damaged since the set was "
                    f"finished; remove {out} and run the same command again"
                )
            bar.update(len(shard.records))
    say(f"{out}: was finished before; every shard is still as it was written")
    return made
