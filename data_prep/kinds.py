"""What is downloaded under which names, and which of it goes to which split.

A kind turns the files of a source into members: those it takes, each with its split
and its name in the set, sorted as the files of a folder are.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from data_prep import splits
from data_prep.sources import File
from dear_jax.errors import InputError

KINDS = ("celebahq", "ffhq", "places365", "masks", "folder")
TFDS_BUILDERS = {"celebahq": "celeb_a_hq", "places365": "places365_small"}
COUNTS = {
    "celebahq": {
        "train": splits.CELEBAHQ_IMAGES - splits.CELEBAHQ_TEST_IMAGES,
        "test": splits.CELEBAHQ_TEST_IMAGES,
    },
    "ffhq": {
        "train": splits.FFHQ_TRAINING_IMAGES,
        "test": splits.FFHQ_IMAGES - splits.FFHQ_TRAINING_IMAGES,
    },
    "places365": {"train": 1_803_460, "val": 36_500},
}
_PLACES_FOLDERS = {
    "train": "train",
    "data_256": "train",
    "data_256_standard": "train",
    "data_large": "train",
    "data_large_standard": "train",
    "val": "val",
    "val_256": "val",
    "val_large": "val",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a set: its split, name, size in bytes and place in the source.

    `version` changes when the file does, even if its size stays.
    """

    split: str
    name: str
    size: int
    where: Any
    version: int = 0


def members(
    kind: str,
    files: Sequence[File],
    share: float = 0.0,
    incomplete: bool = False,
    first: int | None = None,
) -> list[Member]:
    """Chooses the files that belong to a set, and their splits.

    Args:
      kind: one of `KINDS`.
      files: what there is, in any order.
      share: of the images for testing; for "masks" and "folder".
      incomplete: accept other numbers of images than those in `COUNTS`.
      first: 0 or 1, the number that CelebA-HQ counts from; None if its images tell.

    Returns:
      The members by split ("train" first) and sorted by name as in a folder.

    Raises:
      InputError: if there is none, a name says nothing or two say the same, or their
        number is not what the owners ship, or CelebA-HQ does not tell what it counts
        from.
    """
    if not files:
        raise InputError("holds no image")
    if kind == "celebahq":
        chosen = _celebahq(files, incomplete, first)
    elif kind == "ffhq":
        chosen = _ffhq(files)
    elif kind == "places365":
        chosen = _places365(files)
    else:
        chosen = _hashed(files, share, by_file_name=kind == "masks")
    if kind in COUNTS and not incomplete:
        _check_counts(Counter(m.split for m in chosen), COUNTS[kind])
    order = {"train": 0, "test": 1, "val": 1}
    return sorted(chosen, key=lambda m: (order[m.split], m.name.split("/")))


def _celebahq(
    files: Sequence[File], incomplete: bool, first: int | None
) -> Iterable[Member]:
    files = _below(files, "CelebA-HQ-img")
    numbered = _numbered(files)
    if 0 in numbered:
        if first == 1:
            raise InputError(f"{numbered[0].name}: has number 0; use --first 0")
    elif first is None and splits.CELEBAHQ_IMAGES in numbered:
        first = 1
    elif first is None and incomplete:
        # Counted wrongly, images of the one split would go to the other.
        raise InputError(
            "holds no image 0, and some copies of CelebA-HQ count from 1; say with "
            "--first 0 or --first 1 which number the first image has there"
        )
    if first == 1:
        numbered = {number - 1: file for number, file in numbered.items()}
    return _split(numbered, splits.CELEBAHQ_IMAGES, splits.celebahq_split)


def _ffhq(files: Sequence[File]) -> Iterable[Member]:
    files = _below(files, "images1024x1024", "thumbnails128x128")
    return _split(_numbered(files), splits.FFHQ_IMAGES, splits.ffhq_split)


def _split(numbered: dict[int, File], count: int, law) -> list[Member]:
    if (largest := max(numbered)) >= count:
        raise InputError(
            f"{numbered[largest].name}: numbers end at {count - 1}; "
            "is this another set of images?"
        )
    return [_member(law(n), f.name, f) for n, f in numbered.items()]


def _places365(files: Sequence[File]) -> list[Member]:
    chosen, seen = [], {}
    for file in files:
        parts = file.name.split("/")
        at = next((i for i, p in enumerate(parts[:-1]) if p in _PLACES_FOLDERS), None)
        if at is None:
            continue
        key = (_PLACES_FOLDERS[parts[at]], "/".join(parts[at + 1 :]))
        if key in seen:
            raise InputError(
                f"{seen[key]} and {file.name} are the same image; keep one size"
            )
        seen[key] = file.name
        chosen.append(_member(*key, file))
    if not chosen:
        raise InputError(
            "holds none of the folders train and val, data_256 and val_256, "
            "data_large and val_large with images"
        )
    return chosen


def _hashed(files: Iterable[File], share: float, by_file_name: bool) -> list[Member]:
    """Splits by the hash of the path, or of its last part.

    The path of a mask depends on how the archive was unpacked, its file name does
    not. In a folder of folders, file names may repeat for every class.
    """

    def split(name: str) -> str:
        hashed = name.rpartition("/")[2] if by_file_name else name
        return splits.split_by_hash(hashed, share)

    return [_member(split(f.name), f.name, f) for f in files]


def _member(split: str, name: str, file: File) -> Member:
    return Member(split, name, file.size, file.where, file.version)


def _below(files: Sequence[File], *folders: str) -> Sequence[File]:
    """Returns the files below the first of these folders that is there, else all."""
    for folder in folders:
        if found := [f for f in files if folder in f.name.split("/")[:-1]]:
            return found
    return files


def _numbered(files: Iterable[File]) -> dict[int, File]:
    numbered = {}
    for file in files:
        number = splits.number_of(file.name)
        if number in numbered:
            raise InputError(
                f"{numbered[number].name} and {file.name} have the same number; "
                "give a folder with each image once"
            )
        numbered[number] = file
    return numbered


def _check_counts(found: Counter, expected: dict[str, int]) -> None:
    if found == expected:
        return
    counts = ", ".join(
        f"{found[split]:,} of {count:,} for {split}"
        for split, count in expected.items()
    )
    raise InputError(
        f"holds {counts}; get the missing images, or add --incomplete to do with these"
    )
