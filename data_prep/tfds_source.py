"""Listing and reading the images of a TFDS dataset on disk, without TensorFlow.

The dataset must have been prepared in ArrayRecord, which once needs TensorFlow, with
`tfds.builder(NAME, data_dir=FOLDER, file_format="array_record").download_and_prepare()`
and a new FOLDER: TFDS keeps the format of a dataset that is there.
"""

import os
import zlib
from pathlib import Path
from typing import Any

from data_prep.sources import File
from data_prep.workers import progress
from dear_jax.errors import InputError
from dear_jax.files import TOO_MANY_OPEN, too_many_open

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
            name = "/".join(filter(None, (builder, info.config_name)))
            raise InputError(
                f"{self._folder}: not in ArrayRecord; prepare it so in a new folder, "
                f'with TensorFlow, which that needs once: tfds.builder("{name}", '
                'data_dir="NEW_FOLDER", file_format="array_record")'
                ".download_and_prepare()"
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

        Raises:
          InputError: if a shard is missing or damaged.
        """
        files = []
        for split in self._splits:
            count = len(self._open(split))
            with progress(count, "listing") as bar:
                for i in range(count):
                    example = self._example((split, i))
                    name, image = _text(example[self._name]), example["image"]
                    version = zlib.crc32(image)
                    files.append(File(name, len(image), (split, i), version))
                    bar.update()
        return files

    def read(self, where: tuple[str, int]) -> bytes:
        """Returns the bytes of the image at (split, index).

        Raises:
          InputError: if it cannot be read.
        """
        return self._example(where)["image"]

    def place(self, where: tuple[str, int]) -> str:
        """Returns the dataset's folder and the number of the record."""
        return f"{self._folder}: {where[0]}[{where[1]}]"

    def _builder(self) -> Any:
        tfds = _tfds()
        try:
            return tfds.builder_from_directory(self._folder)
        except Exception as error:
            raise _damaged(str(self._folder), error) from None

    def _open(self, split: str) -> Any:
        if split not in self._records:
            builder, decoding = self._builder(), _tfds().decode.SkipDecoding()
            try:
                records = builder.as_data_source(split, decoders={"image": decoding})
                len(records)
            except Exception as error:
                raise _damaged(f"{self._folder}: {split}", error) from None
            self._records[split] = records
        return self._records[split]

    def _example(self, where: tuple[str, int]) -> dict[str, Any]:
        split, index = where
        records = self._open(split)
        try:
            example = records[index]
            if None in (example["image"], example[self._name]):
                raise ValueError("an empty record")
            return example
        except Exception as error:
            raise _damaged(self.place(where), error) from None


def _damaged(place: str, error: Exception) -> InputError:
    """TFDS meets damage with errors of any kind."""
    if too_many_open(error):
        return InputError(f"{place}: {TOO_MANY_OPEN}")
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"{place}: cannot be read ({reason}); prepare it again")


def _tfds() -> Any:
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise InputError(
            f"--tfds needs tensorflow-datasets ({error}); "
            "pip install 'tensorflow-datasets>=4.9.10' importlib_resources"
        ) from None
    return tensorflow_datasets


def _dataset_folder(folder: Path) -> Path:
    """Finds dataset_info.json in a folder or up to three below: name/config/version."""
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder; --tfds needs a TFDS dataset")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise InputError(f"{folder}: cannot be looked at; make it readable")
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
