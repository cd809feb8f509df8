"""Systems by name, and the weights for them in a folder.

A name is one model ("dear-lite", "lte": directly on the damaged photo), or two
stages joined by + in the order they work: "misf+elan" fills, then enlarges,
"elan+misf" enlarges photo and mask, then fills. Stages:

  inpainters  telea, misf, lama
  upscalers   bilinear, bicubic, edsr, elan, and liif, lte at any scale

Weights files say themselves what they are. In two stages LIIF and LTE are the ones
trained on clean photos, alone the ones trained on damaged ones unless asked for the
others; of upscalers the scale decides, of inpainters the side they were trained at.
"""

import functools
from pathlib import Path

from dear_jax.errors import InputError, NoWeights
from dear_jax.inference.classical import Interpolation, Telea
from dear_jax.inference.dear import DearRestorer
from dear_jax.inference.devices import on_devices
from dear_jax.inference.inpainter import Inpainter
from dear_jax.inference.pointwise import PointwiseRestorer
from dear_jax.inference.restorer import Restorer
from dear_jax.inference.texture import texture_path
from dear_jax.inference.two_stage import TwoStage
from dear_jax.inference.upscaler import Upscaler
from dear_jax.inference.weights_folder import find_weights
from dear_jax.models.registry import build, fields_of, init_variables, is_model, role_of
from dear_jax.weights import Weights

# A name for the row that a learned model has to beat.
CLASSICAL = {"classical": "telea+bicubic"}
WITHOUT_WEIGHTS = ("telea", "bilinear", "bicubic")


def _paper_baselines() -> tuple[str, ...]:
    names = []
    for inpainter in ("misf", "lama"):
        upscalers = ("bilinear", "edsr", "lte", "elan")
        names += [f"{inpainter}+{upscaler}" for upscaler in upscalers]
        names += [f"{upscaler}+{inpainter}" for upscaler in upscalers]
    return (*names, "liif", "lte")


# The paper's baselines (Sec. 5.1): 16 in two stages, and LIIF and LTE directly.
BASELINES = _paper_baselines()


def is_system(name: str) -> bool:
    """Whether a name is made of known stages."""
    stages = CLASSICAL.get(name, name).split("+")
    return len(stages) in (1, 2) and all(
        stage in WITHOUT_WEIGHTS
        or (is_model(stage) and role_of(fields_of(stage)) != "features")
        for stage in stages
    )


def open_system(
    name: str,
    folder: Path | None = None,
    scale: float | None = None,
    damaged: bool = True,
) -> Restorer:
    """Opens a system by name.

    Args:
      name: see the head of this file.
      folder: of weights files; other files in it are left alone.
      scale: None to insist on trained weights. A scale to draw random ones where
        there are none for a model at any scale; it then has `trained` = False.
      damaged: whether a query model alone must have learned from damaged photos;
        False, for photos without holes: from clean ones.

    Raises:
      NoWeights: if there are no weights for a model, saying how to get them.
      InputError: if the stages do not go together, or two files could be meant.
    """
    stages = CLASSICAL.get(name, name).split("+")
    if len(stages) == 1:
        return _open_stage(name, folder, scale, damaged)
    fills = [_fills(stage) for stage in stages]
    if fills[0] == fills[1]:
        raise InputError(
            f"system {name!r}: one stage must fill holes (telea, misf, lama), the "
            "other enlarge (bilinear, bicubic, edsr, elan, liif, lte)"
        )
    first, second = (_open_stage(s, folder, scale, damaged=False) for s in stages)
    return TwoStage(name, first, second, inpaint_first=fills[0])


def from_weights(weights: Weights, name: str, trained: bool = True) -> Restorer:
    """The system that one model makes by itself, whatever its role.

    Raises:
      InputError: if it is no model that restores photos.
    """
    return _of_role(role_of(weights.model), [weights], name, trained)


def _of_role(role: str, choices: list[Weights], name: str, trained: bool) -> Restorer:
    if role == "query":
        dear = choices[0].model["architecture"] == "dear"
        return (DearRestorer if dear else PointwiseRestorer)(choices[0], name, trained)
    if role == "upscaler":
        return Upscaler(choices, name, trained)
    if role == "inpainter":
        return Inpainter(choices, name, trained)
    raise InputError(f"{name}: a {choices[0].model['architecture']} restores no photos")


def _fills(stage: str) -> bool:
    if stage in WITHOUT_WEIGHTS:
        return stage == "telea"
    return role_of(fields_of(stage)) == "inpainter"


def _open_stage(
    stage: str, folder: Path | None, scale: float | None, damaged: bool
) -> Restorer:
    if stage == "telea":
        return Telea(stage)
    if stage in WITHOUT_WEIGHTS:
        return Interpolation(stage)
    role = role_of(fields_of(stage))
    found = find_weights(folder, stage, damaged)
    if not found and scale is None:
        raise NoWeights(_advice(stage, role, folder, damaged))
    if not found:
        weights = _random(stage, scale if role == "upscaler" else None)
        return _of_role(role, [weights], stage, trained=False)
    system = _of_role(role, list(found.values()), stage, trained=True)
    system.files = tuple(found)
    if role == "query":
        (file,) = found
        system.texture_file = texture_path(folder / file)
    return system


@functools.lru_cache(maxsize=16)
def _random(stage: str, scale: float | None) -> Weights:
    model = fields_of(stage)
    if scale is not None:
        if scale != round(scale) or scale < 2:
            raise NoWeights(f"{stage} enlarges by whole numbers only, not x{scale:g}")
        model["scale"] = round(scale)
    return on_devices(Weights(init_variables(build(model), seed=0), model, {}))


def _advice(stage: str, role: str, folder: Path | None, damaged: bool) -> str:
    where = f"the folder {folder}" if folder else "a folder of weights: none is named"
    option = {"query": "" if damaged else ",input=clean", "upscaler": ",scale=S"}
    train = f"run_train.py --config=configs/celebahq.py:{stage}{option.get(role, '')}"
    if role == "query" and damaged:
        # What their authors trained has never seen a hole.
        return (
            f"no weights of {stage} trained on damaged photos in {where}; train them: "
            f"{train}"
        )
    clean = " trained on clean photos" if role == "query" else ""
    return (
        f"no weights of {stage}{clean} in {where}; train them: {train}, or convert the "
        "authors' with python -m dear_jax.convert"
    )
