"""Listing and reading the images of a TFDS dataset on disk, without TensorFlow.

The dataset must have been prepared in ArrayRecord: with
`tfds.builder(NAME, file_format="array_record").download_and_prepare()`.
"""

from pathlib import Path
from typing import Any

from data_prep.progress import progress
from data_prep.sources import File
from dear_jax.errors import InputError

# Of the builders' splits; the images of Places365's "test" have no use here.
SPLITS = ("train", "validation")
_FILE_NAMES = ("image/filename", "filename")


class TfdsSource:
    """The images of one TFDS dataset as they are stored, not decoded.

    Args:
      folder: holds dataset_info.json, or has one folder below that does.
      builder: name of the builder that the dataset must be of.

    Raises:
      InputError: if there is no such dataset, it is another one or cannot be read
        without TensorFlow, or tensorflow-datasets is not installed.
    """

    def __init__(self, folder: Path, builder: str):
        self._folder = _dataset_folder(folder)
        self._records = {}
        info = self._builder().info
        if info.name != builder:
            raise InputError(
                f"{self._folder}: the TFDS dataset {info.name}, not {builder}; "
                "give another folder"
            )
        if info.file_format is None or info.file_format.value != "array_record":
            raise InputError(
                f"{self._folder}: cannot be read without TensorFlow; prepare it with "
                f'tfds.builder("{builder}", file_format="array_record")'
            )
        self._splits = [split for split in SPLITS if split in info.splits]
        self._name = next((n for n in _FILE_NAMES if n in info.features), None)
        if self._name is None or "image" not in info.features:
            raise InputError(
                f"{self._folder}: has no feature {' or '.join(_FILE_NAMES)}; "
                "give the folder of images instead"
            )

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_records": {}}

    def files(self) -> list[File]:
        """Returns the images in the dataset's order, named as in its archive.

        All records are read once: only they know the names.
        """
        files = []
        for split in self._splits:
            records = self._open(split)
            with progress(len(records), "listing") as bar:
                for i in range(len(records)):
                    example = records[i]
                    name = _text(example[self._name])
                    files.append(File(name, len(example["image"]), (split, i)))
                    bar.update()
        return files

    def read(self, where: tuple[str, int]) -> bytes:
        """Returns the bytes of the image at (split, index).

        Raises:
          InputError: if it cannot be read.
        """
        split, index = where
        try:
            return self._open(split)[index]["image"]
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{self.place(where)}: cannot be read ({error}); prepare it again"
            ) from None

    def place(self, where: tuple[str, int]) -> str:
        """Returns the dataset's folder and the number of the record."""
        return f"{self._folder}: {where[0]}[{where[1]}]"

    def _builder(self) -> Any:
        return _tfds().builder_from_directory(self._folder)

    def _open(self, split: str) -> Any:
        if split not in self._records:
            decoders = {"image": _tfds().decode.SkipDecoding()}
            self._records[split] = self._builder().as_data_source(
                split, decoders=decoders
            )
        return self._records[split]


def _tfds() -> Any:
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise InputError(
            f"--tfds needs tensorflow-datasets ({error}); "
            "pip install 'tensorflow-datasets>=4.9.10'"
        ) from None
    return tensorflow_datasets


def _dataset_folder(folder: Path) -> Path:
    """Finds dataset_info.json in a folder or up to three below: name/config/version."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --tfds needs a TFDS dataset")
    for depth in ("", "*/", "*/*/", "*/*/*/"):
        found = sorted(p.parent for p in folder.glob(f"{depth}dataset_info.json"))
        if len(found) > 1:
            names = ", ".join(map(str, found))
            raise InputError(f"{folder}: several datasets; give one of {names}")
        if found:
            return found[0]
    raise InputError(
        f"{folder}: holds no dataset_info.json; --tfds needs the folder of a TFDS "
        "dataset, such as ~/tensorflow_datasets/celeb_a_hq/256"
    )


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
