"""What is computed for the page: damage, plans, results, and windows of them.

A result is what `dear restore` makes of the photo's file and the mask's. Where more
pixels are looked at than it has, the window is rendered anew from one encoding.
"""

import shutil
import threading
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from dear_jax.errors import InputError
from dear_jax.images.io import write_photo
from dear_jax.images.masks import read_mask
from dear_jax.inference.damage import found_damage
from dear_jax.inference.denoise import default_denoise, settled_level
from dear_jax.inference.loading import load
from dear_jax.inference.plan import Plan
from dear_jax.inference.progress import Progress
from dear_jax.inference.query import Encoded, QueryRestorer
from dear_jax.inference.restorer import Restorer
from dear_jax.serve.photos import PhotoStore, Restored, StoredPhoto, picture, shown
from dear_jax.serve.schema import Options, PlanAnswer, Search
from dear_jax.workflow.jobs import RESTORED, Job, output_name
from dear_jax.workflow.options import RestoreOptions
from dear_jax.workflow.restoring import restore_photo, result_size

Window = tuple[float, float, float, float]
# Photos whose encoding is kept for windows, and the largest whose programs are compiled
# while somebody paints, in pixels.
_ENCODED, _WARMED = 2, 1_000_000
# Texture weights at different places that are kept.
_TEXTURES = 4


class Workplace:
    """Does the work, with one model.

    Args:
      model: see `dear_jax.load`.
      weights: where systems find their weights.
      store: of the photos.
    """

    def __init__(self, model: str | None, weights: str, store: PhotoStore):
        self.restorer = load(model, weights=weights)
        self._store = store
        self._textures: OrderedDict[float, Restorer] = OrderedDict({0.0: self.restorer})
        self._encoded: OrderedDict[Path, Encoded] = OrderedDict()
        self._rendering = threading.Lock()
        self._rate: float | None = None  # Operations a second.

    @property
    def has_texture(self) -> bool:
        """Whether the model has texture weights."""
        file = getattr(self.restorer, "texture_file", None)
        return file is not None and file.is_file()

    def find_damage(
        self, photo: StoredPhoto, search: Search, progress: Progress
    ) -> list[str]:
        """Looks for damage; returns remarks."""
        remarks: list[str] = []
        image = self._store.image(photo.file).image
        given = search.sensitivity, search.dilate, remarks.append, progress
        found = found_damage(image, *given)
        progress(1.0, 1.0)
        write_photo(photo.damage_file, found.astype(np.uint8) * 255)
        photo.revision += 1
        photo.damage = photo.revision
        return remarks

    def plan(self, photo: StoredPhoto, options: Options) -> PlanAnswer:
        """What restoring would take, or why it cannot be."""
        remarks: list[str] = []
        try:
            plan = self._plan(photo, options, remarks)
        except InputError as error:
            return PlanAnswer(refusal=_sentence(error))
        seconds = None
        if plan.work and self._rate:
            seconds = sum(plan.work) / self._rate
        height, width = plan.target
        return PlanAnswer(
            width=width,
            height=height,
            seconds=seconds,
            bytes=plan.bytes,
            lines=[*plan.lines(), *remarks],
        )

    def restore(
        self, photo: StoredPhoto, options: Options, progress: Progress
    ) -> list[str]:
        """Restores a photo; returns remarks."""
        remarks: list[str] = []
        photo.revision += 1
        revision = photo.revision
        folder = photo.folder / f"result-{revision}"
        folder.mkdir()
        try:
            job, given = self._job(photo, options, folder)
            restorer = self._restorer(options.texture)
            work, began = self._work(photo, options), time.monotonic()
            done = restore_photo(job, restorer, given, progress, remarks.append)
            self._learn_rate(work, time.monotonic() - began)
            size = self._store.image(job.out).size
            progress(1.0, 1.0)  # The last chance to be cancelled.
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        remarks = [_without_name(remark, photo.name) for remark in remarks]
        assert job.mask is not None
        before = photo.restored
        given = job.out, job.mask, size, done.level, options, remarks
        photo.restored = Restored(*given, revision)
        if before is not None:
            shutil.rmtree(before.file.parent, ignore_errors=True)
        return remarks

    def result_picture(
        self, photo: StoredPhoto, window: Window, size: tuple[int, int]
    ) -> Image.Image:
        """A part of the result.

        Args:
          photo: whose.
          window: (top, left, bottom, right), in pixels of the photo.
          size: of the picture, (h, w).
        """
        made = photo.restored
        assert made is not None
        scale = [r / s for r, s in zip(made.size, photo.size, strict=True)]
        top, left, bottom, right = window
        own = (bottom - top) * scale[0], (right - left) * scale[1]
        query = isinstance(self.restorer, QueryRestorer)
        if query and (size[0] > own[0] + 1 or size[1] > own[1] + 1):
            return self._rendered(photo, made, window, size)
        of_result = top * scale[0], left * scale[1], bottom * scale[0], right * scale[1]
        return picture(self._store.image(made.file), of_result, size)

    def compile_for(self, photo: StoredPhoto) -> None:
        """Compiles what restoring a photo will need, while nothing else is to be done.

        Only small photos': larger ones' programs are a small part of their time.
        """
        if np.prod(photo.size) > _WARMED:
            return
        image = self._store.image(photo.file).image
        mask = np.zeros(photo.size, bool)
        mask[photo.size[0] // 2, photo.size[1] // 2] = True
        self.restorer(image, mask)
        began, size = time.monotonic(), (2 * photo.size[0], 2 * photo.size[1])
        self.restorer(image, mask, size=size)
        if self._rate is None:
            plan = self.restorer.plan(photo.size, size)
            self._learn_rate(sum(plan.work or ()), time.monotonic() - began)

    def _rendered(
        self, photo: StoredPhoto, made: Restored, window: Window, size: tuple[int, int]
    ) -> Image.Image:
        """A window of a result at more pixels than it has."""
        restorer = self._restorer(made.options.texture)
        assert isinstance(restorer, QueryRestorer)
        with self._rendering:
            encoded = self._encoded.get(made.file)
            if encoded is None:
                file = self._store.image(photo.file)
                mask = read_mask(made.mask)
                encoded = restorer.encode(file.image, mask, denoise=made.level)
                self._encoded[made.file] = encoded
                while len(self._encoded) > _ENCODED:
                    self._encoded.popitem(last=False)
            self._encoded.move_to_end(made.file)
            pixels = restorer.render(encoded, window, size)
        file = self._store.image(photo.file).with_pixels(pixels, opaque=True)
        return Image.fromarray(shown(file))

    def _restorer(self, texture: float) -> Restorer:
        """The model at a place between fidelity and texture."""
        if texture not in self._textures:
            self._textures[texture] = self.restorer.with_texture(texture)
            if len(self._textures) > _TEXTURES:
                oldest = next(t for t in self._textures if t)
                del self._textures[oldest]
        return self._textures[texture]

    def _job(
        self, photo: StoredPhoto, options: Options, folder: Path
    ) -> tuple[Job, RestoreOptions]:
        """The photo and how it is restored, as the command has them."""
        mask = folder / "mask.png"
        write_photo(mask, photo.read_mask().astype(np.uint8) * 255)
        stem, suffix = photo.file.stem, photo.file.suffix
        out = folder / output_name(stem + RESTORED.ending, suffix, RESTORED)
        given = _options(photo, options, mask)
        return Job(photo.name, photo.file, mask, out), given

    def _plan(self, photo: StoredPhoto, options: Options, remarks: list[str]) -> Plan:
        file, mask = self._store.image(photo.file), photo.read_mask()
        name = output_name(photo.file.stem, photo.file.suffix, RESTORED)
        job = Job(photo.name, Path(photo.name), None, Path(name))
        given = _options(photo, options, photo.mask_file)
        target = result_size(job, file, given, remarks.append)
        level = self._level(photo, options, mask, target)
        keeps = options.keep_known
        if target == photo.size and (not level if keeps is None else keeps):
            return self.restorer.plan_holes(mask)
        return self.restorer.plan(photo.size, target)

    def _level(
        self,
        photo: StoredPhoto,
        options: Options,
        mask: Bool[np.ndarray, "H W"],
        target: tuple[int, int],
    ) -> float:
        denoise, file = options.denoise, self._store.image(photo.file)
        if denoise is None:
            denoise = default_denoise(target != photo.size, bool(options.keep_known))
        takes = self.restorer.takes_denoise
        return settled_level(denoise, file.image, mask, takes, file.quality)

    def _work(self, photo: StoredPhoto, options: Options) -> float:
        """Operations of a restoration; 0 if they are not known."""
        try:
            return sum(self._plan(photo, options, []).work or ())
        except InputError:
            return 0.0  # What restores will say so.

    def _learn_rate(self, work: float, seconds: float) -> None:
        if work and seconds > 0:
            rate = work / seconds
            self._rate = rate if self._rate is None else (self._rate * rate) ** 0.5


def _options(photo: StoredPhoto, options: Options, mask: Path) -> RestoreOptions:
    """The options as the command has them."""
    size = options.size and (options.size[1], options.size[0])
    return RestoreOptions(
        photos=[str(photo.file)],
        scale=options.scale,
        size=size,
        mask=str(mask),
        denoise=options.denoise,
        texture=options.texture,
        keep_known=options.keep_known,
        grain=options.grain,
    )


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())


def _without_name(remark: str, name: str) -> str:
    """A remark of the command as one on the photo that is looked at."""
    return remark.removeprefix("warning: ").removeprefix(f"{name}: ")
