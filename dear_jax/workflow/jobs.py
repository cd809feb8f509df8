"""Pairs photos with their masks and outputs, before any work is done.

A photo named by itself has its file's name, one of a folder its path below the folder.
Under that name its result goes to the folder of results, and by that name without
suffix its mask is found in a folder of masks.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dear_jax.errors import InputError
from dear_jax.images.io import FORMATS, SUFFIXES, names_below, photos_below
from dear_jax.images.pairing import MissingMasks, listed, pair_names


class Output(NamedTuple):
    """What a command makes of a photo.

    Attributes:
      ending: of the stem of its file beside the photo.
      suffix: of its file; "": that of the photo, or .png if that cannot be written.
    """

    ending: str
    suffix: str = ""


RESTORED, MASK = Output("-restored"), Output("-mask", ".png")
# Beside the output.
PREVIEW, IMPORTANCE, RECORD = ".preview.png", ".importance.png", ".record.json"
# GIF has too few colours for a result.
_WRITTEN = FORMATS.keys() - {".gif"}
# In a folder of results, which is passed over when a folder above is restored.
MARKER = ".dear_results"


class Job(NamedTuple):
    """One photo to restore.

    Attributes:
      name: for messages, e.g. "1950/a.jpg".
      photo: its file.
      mask: the file of its mask, or None.
      out: the file to write.
      find_damage: whether it has no mask of its own, and its damage is to be found.
    """

    name: str
    photo: Path
    mask: Path | None
    out: Path
    find_damage: bool = False

    @property
    def preview(self) -> Path:
        """The file of the side-by-side sheet."""
        return self.out.with_name(self.out.stem + PREVIEW)

    @property
    def importance(self) -> Path:
        """The file of the importance map."""
        return self.out.with_name(self.out.stem + IMPORTANCE)

    @property
    def record(self) -> Path:
        """The file that says how the output was made."""
        return self.out.with_name(self.out.stem + RECORD)


class Jobs(NamedTuple):
    """The photos of a command, and what else there was.

    Attributes:
      jobs: sorted by output.
      passed_over: sentences on files that are no photos, and on photos left out.
    """

    jobs: list[Job]
    passed_over: list[str]


def find_jobs(
    photos: Sequence[str],
    out: str | None = None,
    masks: str | None = None,
    recursive: bool = False,
    beside: Sequence[str] = (),
    output: Output = RESTORED,
    missing: MissingMasks | None = None,
) -> Jobs:
    """Pairs photos with their masks and outputs.

    Of folders, hidden files, the folders of results and of masks, and what earlier
    runs wrote are passed over.

    Args:
      photos: files and folders.
      out: a file, for one photo; or a folder. None: beside each photo.
      masks: a file, for all photos; or a folder. None: there are none.
      recursive: whether subfolders of folders are searched.
      beside: which of "preview", "importance" and "record" are written too.
      output: what is made of the photos.
      missing: what becomes of photos without mask in a folder of masks; None: they are
        a mistake.

    Raises:
      InputError: if a file is missing, a photo has no mask, two outputs have one name,
        or an output would replace a photo or a mask.
    """
    apart = [os.path.realpath(path) for path in (out, masks) if path is not None]
    found: dict[str, tuple[str, Path]] = {}
    passed_over: list[str] = []
    for path in map(Path, photos):
        for name, photo in _photos_of(path, recursive, apart, passed_over):
            found.setdefault(os.path.realpath(photo), (name, photo))
    pairs = _paired(list(found.values()), masks, missing, passed_over)
    named, files, found_masks = zip(*pairs, strict=True)
    several = len(photos) > 1 or os.path.isdir(photos[0])
    outputs = _outputs(named, files, out, several, output)
    jobs = [
        Job(name, photo, mask, path, missing == "auto" and mask is None)
        for name, photo, mask, path in zip(
            named, files, found_masks, outputs, strict=True
        )
    ]
    _check_writes(jobs, beside)
    return Jobs(sorted(jobs, key=lambda job: job.out.parts), passed_over)


def _photos_of(
    path: Path, recursive: bool, apart: Iterable[str], passed_over: list[str]
) -> list[tuple[str, Path]]:
    """Names and files of the photos that an argument means, `apart` left out.

    Sentences on what else there was are added to `passed_over`.
    """
    if not os.path.isdir(path):
        if not os.path.exists(path):
            raise InputError(f"{path}: no such file or folder; check its name")
        return [(path.name, path)]
    names, others = photos_below(path, recursive)
    here = os.path.realpath(path)
    inside = [other for other in apart if other.startswith(here + os.sep)]
    results = _folders_of_results(path, names) if recursive else []
    written = _written_beside(names)

    def left_out(name: str) -> bool:
        real = os.path.join(here, name)
        return name in written or any(
            real == other or real.startswith(other + os.sep)
            for other in (*inside, *results)
        )

    passed_over += [
        f"{folder}: results of an earlier run, passed over"
        for folder in results
        if folder not in inside
    ]
    if others := [name for name in others if not left_out(name)]:
        count = f"{len(others)} other file" + "s" * (len(others) > 1)
        passed_over.append(f"{count} passed over: {listed(others)}")
    kept = [(name, path / name) for name in names if not left_out(name)]
    if kept:
        return kept
    deeper = "" if recursive else "; --recursive looks into subfolders"
    raise InputError(
        f"{path}: holds no photo; expected files ending in "
        f"{' '.join(sorted(SUFFIXES))}{deeper}"
    )


def _folders_of_results(path: Path, names: Iterable[str]) -> list[str]:
    """The folders below that `mark_results` has marked, without those inside others."""
    parents = {parent for name in names for parent in PurePosixPath(name).parents}
    marked = {f for f in parents if f.parts and os.path.exists(path / f / MARKER)}
    topmost = [f for f in sorted(marked) if not marked & set(f.parents)]
    return [os.path.realpath(path / folder) for folder in topmost]


def mark_results(folder: Path) -> None:
    """Marks a folder of results, see `MARKER`; nothing if that cannot be written."""
    text = "Results of `dear`: when a folder above is restored, they are not.\n"
    with suppress(OSError):
        (folder / MARKER).write_text(text)


def _written_beside(names: Iterable[str]) -> set[str]:
    """The names of what runs have written beside these photos, or may yet."""
    written = set()
    for path in map(PurePosixPath, names):
        ours = [path.stem + PREVIEW, path.stem + IMPORTANCE]
        for output in (RESTORED, MASK):
            stem = path.stem + output.ending
            ours += [output_name(stem, path.suffix, output)]
            ours += [stem + PREVIEW, stem + IMPORTANCE]
        written |= {str(path.with_name(name)) for name in ours}
    return written


def output_name(stem: str, suffix: str, output: Output) -> str:
    """The name of an output, of its photo's suffix if that format can hold it."""
    return stem + (output.suffix or (suffix if suffix.lower() in _WRITTEN else ".png"))


def _outputs(
    names: Sequence[str],
    photos: Sequence[Path],
    out: str | None,
    several: bool,
    output: Output,
) -> list[Path]:
    """Where the output of each goes."""
    if out is None:
        return [
            photo.with_name(
                output_name(photo.stem + output.ending, photo.suffix, output)
            )
            for photo in photos
        ]
    suffixes = {output.suffix} if output.suffix else _WRITTEN
    known = Path(out).suffix.lower() in suffixes
    folder = os.path.isdir(out) or out.endswith(("/", os.sep))
    if not several and not folder:
        if not known:
            raise InputError(
                f"-o {out}: end it with {' or '.join(sorted(suffixes))}, or with / for "
                "a folder"
            )
        return [Path(out)]
    if os.path.exists(out) and not os.path.isdir(out) or known and not folder:
        raise InputError(
            f"-o {out}: names a file, but the results of a folder or of several "
            "photos need a folder; name one"
        )
    outputs = [Path(out) / name for name in names]
    return [
        path.with_name(output_name(path.stem, path.suffix, output)) for path in outputs
    ]


def _paired(
    photos: Sequence[tuple[str, Path]],
    masks: str | None,
    missing: MissingMasks | None,
    passed_over: list[str],
) -> list[tuple[str, Path, Path | None]]:
    """Photos (name, file) with their masks; those to be skipped are left out."""
    if masks is None:
        return [(name, photo, None) for name, photo in photos]
    if not os.path.exists(masks):
        raise InputError(f"--mask {masks}: no such file or folder; check its name")
    if not os.path.isdir(masks):
        return [(name, photo, Path(masks)) for name, photo in photos]
    there = names_below(Path(masks), SUFFIXES)
    names = [name for name, _ in photos]
    found = pair_names(names, there, f"--mask {masks}", missing is not None)
    pairs = [
        (name, photo, None if mask is None else Path(masks) / mask)
        for (name, photo), mask in zip(photos, found, strict=True)
    ]
    if missing != "skip":
        return pairs
    skipped = [name for name, _, mask in pairs if mask is None]
    if len(skipped) == len(pairs):
        raise InputError(f"--mask {masks}: no mask for any of the photos")
    if skipped:
        passed_over.append(f"{len(skipped)} without mask skipped: {listed(skipped)}")
    return [pair for pair in pairs if pair[2] is not None]


def _check_writes(jobs: Sequence[Job], beside: Sequence[str]) -> None:
    """Raises InputError if two jobs write one file, or one a file that is read."""
    read = {os.path.realpath(job.photo) for job in jobs}
    for job in jobs:
        if job.mask and os.path.realpath(job.mask) == os.path.realpath(job.photo):
            raise InputError(
                f"{job.photo}: would be its own mask; name another file or folder "
                "with --mask"
            )
        if job.mask:
            read.add(os.path.realpath(job.mask))
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
