"""Which photo, which mask, which output: settled before any work is done.

A photo named by itself is called by its file name, one of a folder by its path below
the folder; under that name its result goes to the folder of results, and by that name
without suffix its mask is found in a folder of masks.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dear_jax.errors import InputError
from dear_jax.images.io import SUFFIXES, names_below

RESTORED = "-restored"
# Beside the output.
PREVIEW, IMPORTANCE = ".preview.png", ".importance.png"
# GIF has too few colours for a result.
_WRITTEN = SUFFIXES - {".gif"}
_NAMED = 5  # Of many that lack a mask.


class Job(NamedTuple):
    """One photo to restore.

    Attributes:
      name: for messages, e.g. "1950/a.jpg".
      photo: its file.
      mask: the file of its mask, or None.
      out: the file to write.
    """

    name: str
    photo: Path
    mask: Path | None
    out: Path

    @property
    def preview(self) -> Path:
        """The file of the side-by-side sheet."""
        return self.out.with_name(self.out.stem + PREVIEW)

    @property
    def importance(self) -> Path:
        """The file of the importance map."""
        return self.out.with_name(self.out.stem + IMPORTANCE)


class _Found(NamedTuple):
    name: str
    path: Path


def find_jobs(
    photos: Sequence[str],
    out: str | None = None,
    masks: str | None = None,
    recursive: bool = False,
    beside: Sequence[str] = (),
) -> list[Job]:
    """Pairs photos with their masks and outputs.

    Of folders, hidden files, the folders of results and of masks, and what earlier
    runs wrote beside the photos are passed over.

    Args:
      photos: files and folders.
      out: a file, for one photo; or a folder. None: beside each photo.
      masks: a file, for all photos; or a folder. None: there are none.
      recursive: whether subfolders of folders are searched.
      beside: which of "preview" and "importance" are written beside the outputs.

    Returns:
      The jobs, sorted by output.

    Raises:
      InputError: if a file is missing, a photo has no mask, two outputs have one name,
        or an output would replace a photo or a mask.
    """
    apart = [os.path.realpath(path) for path in (out, masks) if path is not None]
    found: dict[str, _Found] = {}
    for photo in photos:
        for each in _photos_of(Path(photo), recursive, apart):
            found.setdefault(os.path.realpath(each.path), each)
    every = list(found.values())
    single = len(photos) == 1 and not os.path.isdir(photos[0])
    outputs = _outputs(every, out, single)
    paired = _masks_of(every, masks)
    jobs = [
        Job(each.name, each.path, mask, output)
        for each, mask, output in zip(every, paired, outputs, strict=True)
    ]
    _check_writes(jobs, beside)
    return sorted(jobs, key=lambda job: job.out.parts)


def _photos_of(path: Path, recursive: bool, apart: Iterable[str]) -> list[_Found]:
    """The photos that an argument means."""
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise InputError(f"{path}: no such file or folder; check its name")
        return [_Found(path.name, path)]
    names = names_below(path, SUFFIXES, recursive)
    here = os.path.realpath(path)
    inside = [other for other in apart if other.startswith(here + os.sep)]
    passed = _written_beside(names)
    kept = [
        _Found(name, path / name)
        for name in names
        if name not in passed and not _is_in(os.path.join(here, name), inside)
    ]
    if kept:
        return kept
    deeper = "" if recursive else "; --recursive looks into subfolders"
    raise InputError(
        f"{path}: holds no photo; expected files ending in "
        f"{' '.join(sorted(SUFFIXES))}{deeper}"
    )


def _is_in(path: str, places: Iterable[str]) -> bool:
    return any(path == place or path.startswith(place + os.sep) for place in places)


def _written_beside(names: Iterable[str]) -> set[str]:
    """The names of what runs have written beside these photos, or may yet."""
    written = set()
    for path in map(PurePosixPath, names):
        restored = path.stem + RESTORED
        ours = [restored + _written_as(path.suffix)]
        for ending in (PREVIEW, IMPORTANCE):
            ours += [path.stem + ending, restored + ending]
        written |= {str(path.with_name(name)) for name in ours}
    return written


def _written_as(suffix: str) -> str:
    """The suffix of the result of a photo: its own if that can hold the result."""
    return suffix if suffix.lower() in _WRITTEN else ".png"


def _outputs(found: Sequence[_Found], out: str | None, single: bool) -> list[Path]:
    """Where the result of each goes."""
    if out is None:
        return [
            each.path.with_name(
                each.path.stem + RESTORED + _written_as(each.path.suffix)
            )
            for each in found
        ]
    known = Path(out).suffix.lower() in _WRITTEN
    folder = os.path.isdir(out) or out.endswith(("/", os.sep))
    if single and not folder:
        if not known:
            raise InputError(
                f"-o {out}: end it with one of {' '.join(sorted(_WRITTEN))}, or with / "
                "for a folder"
            )
        return [Path(out)]
    if os.path.exists(out) and not os.path.isdir(out) or known and not folder:
        raise InputError(
            f"-o {out}: names a file, but the results of a folder or of several "
            "photos need a folder; name one"
        )
    outputs = [Path(out) / each.name for each in found]
    return [path.with_suffix(_written_as(path.suffix)) for path in outputs]


def _masks_of(found: Sequence[_Found], masks: str | None) -> list[Path | None]:
    """The mask of each."""
    if masks is None or not os.path.isdir(masks):
        if masks is not None and not os.path.exists(masks):
            raise InputError(f"--mask {masks}: no such file or folder; check its name")
        return [None if masks is None else Path(masks)] * len(found)
    by_stem = defaultdict(list)
    for name in names_below(Path(masks), SUFFIXES):
        by_stem[_stem(name)].append(name)
    missing = [each.name for each in found if not by_stem.get(_stem(each.name))]
    if missing:
        more = len(missing) - _NAMED
        told = ", ".join(missing[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        raise InputError(
            f"--mask {masks}: no mask for {len(missing)} of {len(found)} photos "
            f"({told}); name each mask as its photo, with any suffix"
        )
    paired: list[Path | None] = []
    for each in found:
        names = by_stem[_stem(each.name)]
        if len(names) > 1 and each.name not in names:
            raise InputError(
                f"--mask {masks}: {' and '.join(names)} could both be the mask of "
                f"{each.name}; move one away"
            )
        paired.append(Path(masks) / (each.name if len(names) > 1 else names[0]))
    return paired


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def _check_writes(jobs: Sequence[Job], beside: Sequence[str]) -> None:
    """Raises InputError if two jobs write one file, or one a file that is read."""
    for job in jobs:
        if job.mask and os.path.realpath(job.mask) == os.path.realpath(job.photo):
            raise InputError(
                f"{job.photo}: would be its own mask; name another file or folder "
                "with --mask"
            )
    read = {os.path.realpath(job.photo): job.photo for job in jobs}
    read |= {os.path.realpath(job.mask): job.mask for job in jobs if job.mask}
    writers: dict[str, Job] = {}
    for job in jobs:
        for path in (job.out, *(getattr(job, kind) for kind in beside)):
            real = os.path.realpath(path)
            if real in read:
                raise InputError(
                    f"{path}: would be replaced by the result of {job.photo}; name "
                    "another output with -o"
                )
            other = writers.setdefault(real, job)
            if other is not job:
                raise InputError(
                    f"{path}: would be written for both {other.photo} and {job.photo};"
                    " rename one, or restore them to two folders"
                )
