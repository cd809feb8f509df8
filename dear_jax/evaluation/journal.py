"""Scores kept on disk as they come, so that a stopped evaluation goes on.

A journal belongs to one system on the same photos, masks and scale, by the same code;
its file is named after all of that. A line is one score as JSON. What another table
needs of the same is found there too.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

import dear_jax
from dear_jax.errors import InputError
from dear_jax.evaluation.scores import Score


class Journal:
    """The scores of one system on some cases, in a file that only grows.

    Args:
      folder: of all journals; made if need be.
      title: begins the file's name.
      facts: all that decides the scores, as JSON can hold it.

    Attributes:
      name: the file's, without its suffix.
      path: the file.

    Raises:
      InputError: if the folder cannot be written to.
    """

    def __init__(self, folder: Path, title: str, facts: Mapping[str, Any]):
        digest = _digest([_code(), jax.default_backend(), facts])
        shown = re.sub(r"[^\w+.-]+", "-", title).strip("-")
        self.name = f"{shown}-{digest[:12]}"
        self.path = folder / f"{self.name}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._scores = self._read()
        except OSError as error:
            raise _unwritable(self.path, error) from None

    def get(self, photo: str, bin_name: str) -> Score | None:
        """The score of a case, by its photo and bin, if it was kept."""
        return self._scores.get((photo, bin_name))

    def add(self, scores: Iterable[Score]) -> None:
        """Keeps scores; they are in the file when this returns.

        Raises:
          InputError: if the file cannot be written.
        """
        scores = list(scores)
        lines = "".join(json.dumps(score.to_row()) + "\n" for score in scores)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(lines)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        self._scores.update({(s.photo, s.bin): s for s in scores})

    def _read(self) -> dict[tuple[str, str], Score]:
        """The scores in the file; a line that a kill cut short is taken away."""
        if not self.path.exists():
            return {}
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        scores = {}
        for line in whole.splitlines():
            try:
                score = Score.from_row(json.loads(line))
            except (ValueError, TypeError, AttributeError):
                continue  # Not a score: measured anew.
            scores[score.photo, score.bin] = score
        return scores


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); make room or choose "
        "another --out; what was measured before is kept"
    )


def _digest(facts: Any) -> str:
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _code() -> str:
    """Digest of this package's code and of JAX's version: either may move a digit."""
    root = Path(dear_jax.__file__).parent
    digest = hashlib.sha256(jax.__version__.encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
