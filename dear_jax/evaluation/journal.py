"""Scores kept on disk as they come, so that a stopped evaluation goes on.

A journal belongs to one system at one scale, with the code, libraries and devices of
the moment; its file is named after all of that. A line is one score as JSON, with
digests of the photo and the mask. What another table, or a larger set, needs of the
same is found there too.
"""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

import dear_jax
from dear_jax import bundled, files
from dear_jax.errors import InputError
from dear_jax.evaluation.protocol import Place
from dear_jax.evaluation.scores import Score

# Libraries that decide digits, beside this package.
LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "pillow", "opencv-python-headless")
LONGEST_TITLE = 80


class Journal:
    """The scores of one system, in a file that only grows.

    Several processes may add to it.

    Args:
      folder: of all journals; made if need be.
      title: begins the file's name.
      facts: all that decides the scores but photo, mask, code, libraries and devices,
        as JSON can hold it.

    Attributes:
      name: the file's, without its suffix.
      path: the file.

    Raises:
      InputError: if the folder cannot be written to.
    """

    def __init__(self, folder: Path, title: str, facts: Mapping[str, Any]):
        shown = files.as_name(title, LONGEST_TITLE)
        self.name = f"{shown}-{_digest([_surroundings(), facts])[:12]}"
        self.path = folder / f"{self.name}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._scores = self._read()
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def get(self, place: Place) -> Score | None:
        """The score of a photo with a mask, if it was kept."""
        return self._scores.get(place)

    def add(self, scores: Mapping[Place, Score]) -> None:
        """Keeps scores; they are in the file when this returns.

        Raises:
          InputError: if the file cannot be written.
        """
        rows = [place._asdict() | score.to_row() for place, score in scores.items()]
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        try:
            with self.path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, 2)
                    # A line that a kill cut short stays alone.
                    lines = lines if file.read(1) == b"\n" else b"\n" + lines
                file.write(lines)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        self._scores.update(scores)

    def _read(self) -> dict[Place, Score]:
        """The scores in the file; lines that are none, or half of one, do not count."""
        scores = {}
        lines = self.path.read_bytes().splitlines() if self.path.exists() else ()
        for line in lines:
            try:
                row = json.loads(line)
                digests = row.pop("photo_digest"), row.pop("mask_digest")
                score = Score.from_row(row)
            except (ValueError, TypeError, AttributeError, KeyError):
                continue
            place = Place(score.photo, digests[0], score.bin, digests[1])
            scores[place] = score
        return scores


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); make room or choose "
        "another --out; what was measured before is kept"
    )


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _surroundings() -> list:
    """What moves a digit anywhere: code, libraries, devices and their precision."""
    kinds = sorted({device.device_kind for device in jax.local_devices()})
    precision = str(jax.config.jax_default_matmul_precision)
    chosen = str(jax.config.jax_default_device)
    return [_code(), kinds, jax.local_device_count(), precision, chosen]


@functools.cache
def _code() -> str:
    """Digest of this package's code and networks of metrics, and of the libraries."""
    root = Path(dear_jax.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *bundled.METRICS.glob("*.safetensors")]):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    for library in LIBRARIES:
        try:
            digest.update(f"{library} {importlib.metadata.version(library)}".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(library.encode())  # Under another name; its row needs it.
    return digest.hexdigest()
