"""Systems by name, and the weights for them in a folder.

A name is one model ("dear-lite", "lte": directly on the damaged photo), or two
stages joined by + in the order they work: "misf+elan" fills, then enlarges,
"elan+misf" enlarges photo and mask, then fills. Stages:

  inpainters  telea, misf, lama
  upscalers   bilinear, bicubic, edsr, elan, and liif, lte at any scale

Weights files say themselves what they are. In two stages LIIF and LTE are the ones
trained on clean photos, alone the ones trained on damaged ones; of upscalers the
scale decides, of inpainters the side they were trained at.
"""

import functools
from pathlib import Path

from dear_jax import bundled
from dear_jax.errors import InputError, NoWeights
from dear_jax.registry import (
    ARCHITECTURES,
    VARIANTS,
    build,
    fields_of,
    init_variables,
    role_of,
    variant_of,
)
from dear_jax.systems.classical import Interpolation, Telea
from dear_jax.systems.inpainter import Inpainter
from dear_jax.systems.query import QueryRestorer
from dear_jax.systems.restorer import Restorer
from dear_jax.systems.two_stage import TwoStage
from dear_jax.systems.upscaler import Upscaler
from dear_jax.weights import Weights, read_header, read_weights

# A name for the row that a learned model has to beat.
CLASSICAL = {"classical": "telea+bicubic"}
WITHOUT_WEIGHTS = ("telea", "bilinear", "bicubic")

# The paper's baselines (Sec. 5.1): 16 in two stages, and LIIF and LTE directly.
BASELINES = tuple(
    name
    for inpainter in ("misf", "lama")
    for order in ("{inpainter}+{upscaler}", "{upscaler}+{inpainter}")
    for upscaler in ("bilinear", "edsr", "lte", "elan")
    for name in [order.format(inpainter=inpainter, upscaler=upscaler)]
) + ("liif", "lte")


def is_system(name: str) -> bool:
    """Whether a name is made of known stages."""
    known = {*VARIANTS, *ARCHITECTURES, *WITHOUT_WEIGHTS}
    stages = CLASSICAL.get(name, name).split("+")
    return len(stages) in (1, 2) and all(stage in known for stage in stages)


def open_system(
    name: str, folder: Path | None = None, scale: float | None = None
) -> Restorer:
    """Opens a system by name.

    Args:
      name: see the head of this file.
      folder: of weights files, beside the bundled ones.
      scale: None to insist on trained weights. A scale to draw random ones where
        there are none for a model at any scale; it then has `trained` = False.

    Raises:
      NoWeights: if there are no weights for a model, saying how to get them.
      InputError: if the stages do not go together.
    """
    stages = CLASSICAL.get(name, name).split("+")
    if len(stages) == 1:
        return _open_stage(name, folder, scale, damaged=True)
    first, second = (_open_stage(s, folder, scale, damaged=False) for s in stages)
    fills = [_fills(stage) for stage in stages]
    if fills[0] == fills[1]:
        raise InputError(
            f"system {name!r}: one stage must fill holes (telea, misf, lama), the "
            "other enlarge (bilinear, bicubic, edsr, elan, liif, lte)"
        )
    return TwoStage(name, first, second, inpaint_first=fills[0])


def from_weights(weights: Weights, name: str, trained: bool = True) -> Restorer:
    """The system that one model makes by itself, whatever its role."""
    role = role_of(weights.model)
    if role == "query":
        return QueryRestorer(weights, name, trained)
    if role == "upscaler":
        return Upscaler([weights], name, trained)
    if role == "inpainter":
        return Inpainter([weights], name, trained)
    raise InputError(f"{name}: a {weights.model['architecture']} restores no photos")


def trained_on_clean(provenance: dict) -> bool:
    """Whether weights learned from photos without holes; authors' weights did."""
    data = provenance.get("config", {}).get("data")
    return data is None or data.get("clean", 0.0) == 1.0


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
    found = [
        path
        for path, (model, provenance) in _index(folder).items()
        if _is_a(model, stage)
        and (role != "query" or trained_on_clean(provenance) != damaged)
    ]
    weights = [read_weights(path) for path in found]
    trained = bool(weights)
    if not trained:
        if scale is None:
            raise NoWeights(_advice(stage, folder, damaged))
        weights = [_random(stage, scale)]
    kind = {"query": QueryRestorer, "upscaler": Upscaler, "inpainter": Inpainter}[role]
    return kind(weights[-1] if role == "query" else weights, stage, trained)


def _index(folder: Path | None) -> dict[Path, tuple[dict, dict]]:
    """Weights file -> (fields, provenance); the bundled ones and those in a folder."""
    folders = [bundled.WEIGHTS, *([folder] if folder else [])]
    paths = [p for f in folders for p in sorted(Path(f).glob("*.safetensors"))]
    return {path: _header(path, path.stat().st_mtime_ns) for path in paths}


@functools.lru_cache(maxsize=256)
def _header(path: Path, changed: int) -> tuple[dict, dict]:
    return read_header(path)


def _is_a(model: dict, stage: str) -> bool:
    """Whether fields are of a variant, or of any variant of an architecture.

    Widths and depths do not matter; what tells the variants apart does.
    """
    variant = VARIANTS[variant_of(stage)]
    if model["architecture"] != variant["architecture"]:
        return False
    if stage not in VARIANTS:
        return True
    architecture = variant["architecture"]
    siblings = [v for v in VARIANTS.values() if v["architecture"] == architecture]
    telling = {field for sibling in siblings for field in sibling}
    wanted = fields_of(stage)
    return all(model[field] == wanted[field] for field in telling)


def _random(stage: str, scale: float) -> Weights:
    model = fields_of(stage)
    if role_of(model) == "upscaler":
        if scale != round(scale) or scale < 2:
            raise NoWeights(f"{stage} enlarges by whole numbers only, not x{scale:g}")
        model["scale"] = round(scale)
    return Weights(init_variables(build(model), seed=0), model, {})


def _advice(stage: str, folder: Path | None, damaged: bool) -> str:
    query = role_of(fields_of(stage)) == "query"
    kind = (
        " trained on damaged photos" if damaged else " trained on clean ones"
    ) * query
    where = f"{folder}" if folder else "a folder named with --weights"
    return (
        f"no weights of {stage}{kind} among the bundled ones or in {where}; train with "
        f"run_train.py --config=configs/celebahq.py:{stage}, or convert the authors' "
        "with python -m dear_jax.convert"
    )
