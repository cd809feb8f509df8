"""A record of how a photo was restored, for archives: JSON beside the result."""

import dataclasses
import hashlib
import json

import numpy as np
from jaxtyping import Bool, Num

import dear_jax
from dear_jax.files import printable
from dear_jax.images.io import ImageFile, read_bytes
from dear_jax.inference.restorer import Restorer
from dear_jax.workflow.jobs import Job
from dear_jax.workflow.options import RestoreOptions


def made_record(
    job: Job,
    restorer: Restorer,
    options: RestoreOptions,
    file: ImageFile,
    mask: Bool[np.ndarray, "H W"],
    result: Num[np.ndarray, "h w 3"],
    level: float,
) -> str:
    """The record of a restored photo.

    Args:
      job: its files; photo and output are hashed as they are on the disk.
      restorer: the system.
      options: those that were given are in the record.
      file: the photo.
      mask: what was missing, found damage included.
      result: as it was written, before its format.
      level: of degradation that it was restored at.
    """
    same = result.shape == file.pixels.shape
    untouched = (result == file.stored).all(-1).mean() if same else 0.0
    given = {
        field.name: getattr(options, field.name)
        for field in dataclasses.fields(options)
        if getattr(options, field.name) != field.default
    }
    content = {
        "program": f"dear_jax {dear_jax.__version__}",
        "photo": _file(job.photo),
        "result": _file(job.out),
        "model": {"name": restorer.name, "fingerprint": restorer.fingerprint()},
        "options": given,
        "denoise": level,
        "size": {"photo": list(file.size), "result": list(result.shape[:2])},
        "missing": {
            "share": float(mask.mean()),
            "sha256": hashlib.sha256(np.packbits(mask).tobytes()).hexdigest(),
        },
        "pixels_untouched": float(untouched),
    }
    return printable(json.dumps(content, indent=1, ensure_ascii=False)) + "\n"


def _file(path) -> dict[str, str]:
    digest = hashlib.sha256(read_bytes(path)).hexdigest()
    return {"name": path.name, "sha256": digest}
