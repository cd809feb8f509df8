"""Scores and pictures kept on disk as they come, so that a stopped evaluation goes on.

    OUT/scores/NAME.jsonl    a line per score, with digests of the photo and the mask
    OUT/pictures/NAME/       results to look at

NAME stands for one system on samples made in one way (protocol, scale), with the code,
libraries and devices of the moment. What is there is not measured again, by this or
another command: another table, or a larger set, finds there what it needs of the same.
"""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax

import dear_jax
from dear_jax import files
from dear_jax.errors import InputError
from dear_jax.evaluation.evaluate import Seconds, evaluate
from dear_jax.evaluation.protocol import Sample, SampleKey, Samples
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.sheets import Picture
from dear_jax.images.io import read_photo, write_photo
from dear_jax.inference.restorer import Restorer
from dear_jax.typing import Config

# Libraries that decide digits, beside this package.
LIBRARIES = ("jax", "jaxlib", "flax", "numpy", "pillow", "opencv-python-headless")
# Code that decides a score: what is restored, what restores, and what measures.
CODE = (
    *("models/**/*.py", "inference/**/*.py", "images/**/*.py", "data/**/*.py"),
    *("metrics.py", "weights.py", "assets/metrics/*.safetensors"),
    *("evaluation/protocol*.py", "evaluation/film_damage.py", "evaluation/evaluate.py"),
)
LONGEST_TITLE = 80
# How many photos are shown.
SHOWN_PHOTOS = 8


class ScoreCache(dict[SampleKey, Score]):
    """The scores of one system, in a file that only grows.

    Several processes may add to it.

    Args:
      folder: of all caches; made if need be.
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
        text = json.dumps([_surroundings(), facts], sort_keys=True)
        self.name = f"{shown}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.path = folder / f"{self.name}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            super().__init__(self._read())
        except OSError as error:
            raise self._unwritable(error) from None

    def update(self, scores: Mapping[SampleKey, Score]) -> None:
        """Keeps scores; they are in the file when this returns.

        Raises:
          InputError: if the file cannot be written.
        """
        rows = [key._asdict() | score.to_row() for key, score in scores.items()]
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        try:
            with self.path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, 2)
                    # A line that a kill cut short stays alone.
                    lines = lines if file.read(1) == b"\n" else b"\n" + lines
                file.write(lines)
        except OSError as error:
            raise self._unwritable(error) from None
        super().update(scores)

    def _read(self) -> dict[SampleKey, Score]:
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
            key = SampleKey(score.photo, digests[0], score.bin, digests[1])
            scores[key] = score
        return scores

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"{self.path}: cannot be written ({error.strerror or error}); make room or "
            "choose another --out; what was measured before is kept"
        )


class Bar(Protocol):
    """What is used of a progress bar."""

    total: Any

    def update(self, count: int, /) -> object: ...
    def set_description(self, text: str, /) -> object: ...


class Evaluated(NamedTuple):
    """What a system did: a score per sample, and its pictures of those shown."""

    scores: list[Score]
    pictures: list[Picture]


class Evaluator:
    """Evaluates one system after the other into one folder of results.

    Args:
      out: the folder.
      bar: progress in results.

    Attributes:
      seconds: where the time went, over all systems.
    """

    def __init__(self, out: Path, bar: Bar):
        self._out, self._bar = out, bar
        self.seconds = Seconds()

    def skip(self, count: int) -> None:
        """Takes results from the progress bar that will not be."""
        self._bar.total -= count
        self._bar.update(0)

    def evaluate(
        self,
        system: Restorer,
        samples: Samples,
        shown: Sequence[Sample],
        label: str,
        given_level: bool = False,
    ) -> Evaluated:
        """Scores a system, and keeps its pictures of the samples to be shown.

        Args:
          system: what restores.
          samples: what to restore.
          shown: see `shown_samples`.
          label: what the scores call the system.
          given_level: whether it is given the level of each sample.

        Raises:
          InputError: for a photo that cannot be read or a folder that is full.
        """
        cache = self._cache(system, samples, given_level)
        kept = {sample.key: self._picture(cache, sample) for sample in shown}

        def keep(sample: Sample, output: Picture) -> None:
            if sample.key in kept:
                write_photo(kept[sample.key], output)

        self._bar.set_description(f"{label} x{samples.scale:g}")
        scores = evaluate(
            system,
            samples,
            cache,
            on_progress=self._bar.update,
            on_restored=keep,
            seconds=self.seconds,
            given_level=given_level,
        )
        scores = [replace(score, system=label) for score in scores]
        places = [kept[sample.key] for sample in shown]
        return Evaluated(scores, _pictures(system, places, shown, given_level))

    def pictures(
        self,
        system: Restorer,
        samples: Samples,
        shown: Sequence[Sample],
        given_level: bool = False,
    ) -> list[Picture]:
        """A system's results for some samples that it was scored on.

        What was not kept yet is restored, and kept.
        """
        cache = self._cache(system, samples, given_level)
        kept = [self._picture(cache, sample) for sample in shown]
        return _pictures(system, kept, shown, given_level)

    def _picture(self, cache: ScoreCache, sample: Sample) -> Path:
        name = f"{sample.photo_digest[:12]}-{sample.mask_digest[:12]}.png"
        return self._out / "pictures" / cache.name / name

    def _cache(
        self, system: Restorer, samples: Samples, given_level: bool
    ) -> ScoreCache:
        """Where the system's scores of these samples are kept."""
        facts = samples.facts() | {
            "system": system.fingerprint(),
            "metrics": samples.protocol.metrics,
            "denoise": "told" if given_level else 0,
        }
        title = f"{system.name}-x{samples.scale:g}" + "-told" * given_level
        return ScoreCache(self._out / "scores", title, facts)


def shown_samples(samples: Samples, rows: int = SHOWN_PHOTOS) -> list[Sample]:
    """The samples worth a picture: the first photos, one sample each, bins in turn."""
    bins = samples.per_photo
    count = min(rows, len(samples.names))
    return [samples.of_photo(i)[i % bins] for i in range(count)]


def worst_and_median(
    samples: Samples, scores: Sequence[Score], count: int
) -> dict[str, list[Sample]]:
    """The samples that a system did worst, worst first, and those around its median.

    Args:
      samples: all of them.
      scores: one system's, of each sample; ordered by PSNR.
      count: how many of each, at most.
    """
    photos = list(samples.names)
    ordered = sorted(scores, key=lambda score: score.psnr)
    middle = max(0, (len(ordered) - count) // 2)
    parts = {"worst": ordered[:count], "median": ordered[middle : middle + count]}
    return {
        name: [
            sample
            for score in part
            for sample in samples.of_photo(photos.index(score.photo))
            if sample.bin == score.bin
        ]
        for name, part in parts.items()
    }


def _pictures(
    system: Restorer,
    files: Sequence[Path],
    shown: Sequence[Sample],
    given_level: bool,
) -> list[Picture]:
    """Results as they were kept in the files, or else restored, and kept."""
    pictures = []
    for file, sample in zip(files, shown, strict=True):
        try:
            picture = read_photo(file)
        except InputError:
            picture = None
        if picture is None or picture.shape != sample.truth.shape:
            more: dict[str, Any] = {"denoise": sample.level} if given_level else {}
            size = sample.truth.shape[:2]
            picture = system(sample.image, sample.mask, size=size, **more)
            write_photo(file, picture)
        pictures.append(picture)
    return pictures


def _surroundings() -> list:
    """What moves a digit anywhere: code, libraries, devices and their precision."""
    kinds = sorted({device.device_kind for device in jax.local_devices()})
    config: Config = jax.config
    precision = str(config.jax_default_matmul_precision)
    chosen = str(config.jax_default_device)
    root = Path(dear_jax.__file__).parent
    return [code_digest(root), kinds, jax.local_device_count(), precision, chosen]


@functools.cache
def code_digest(root: Path) -> str:
    """Hash of the code and networks below `root` that decide scores, and of libraries.

    What draws, prints, trains or converts decides none.
    """
    digest = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in root.glob(pattern)):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    for library in LIBRARIES:
        try:
            digest.update(f"{library} {importlib.metadata.version(library)}".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(library.encode())  # Under another name; its row needs it.
    return digest.hexdigest()
