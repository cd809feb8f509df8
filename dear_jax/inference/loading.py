"""Models by name: bundled, in a file or folder, of a training run, or a system of two.

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
import os
from pathlib import Path
from typing import Any, NamedTuple

from dear_jax import bundled
from dear_jax.errors import InputError, NoWeights
from dear_jax.inference.classical import Interpolation, Telea
from dear_jax.inference.dear import DearRestorer
from dear_jax.inference.devices import check_devices, on_devices
from dear_jax.inference.fixed_scale import Inpainter, Upscaler, trained_side
from dear_jax.inference.pointwise import PointwiseRestorer
from dear_jax.inference.query import QueryRestorer
from dear_jax.inference.restorer import Restorer
from dear_jax.inference.texture import (
    check_texture,
    is_texture_of_another,
    texture_path,
)
from dear_jax.inference.two_stage import TwoStage
from dear_jax.models.registry import (
    RESTORING,
    build,
    fields_of,
    init_variables,
    is_a,
    is_model,
    role_of,
)
from dear_jax.weights import Weights, read_header, read_weights


def find_weights(folder: Path | None, stage: str, damaged: bool) -> dict[str, Weights]:
    """Finds the weights of a model: file name -> weights.

    Files that are not weights of this project are passed over, and so are texture
    weights beside the weights that they belong to, see `dear_jax.inference.texture`.

    Args:
      folder: None or one that does not exist has none.
      stage: a variant, or an architecture for any of its variants.
      damaged: whether a query model must have learned from damaged photos, else
        from clean ones.

    Raises:
      InputError: if two files could be meant.
    """
    found: dict[str, Weights] = {}
    kinds: dict[object, str] = {}
    for path in sorted(folder.glob("*.safetensors")) if folder else ():
        if is_texture_of_another(path):
            continue
        changed = path.stat().st_mtime_ns
        model, provenance = _header(path, changed)
        if not is_a(model, stage):
            continue
        if role_of(model) == "query" and trained_on_clean(provenance) == damaged:
            continue
        weights = _weights(path, changed)
        kind = _kind(weights)
        if kind in kinds:
            raise InputError(
                f"{folder}: {kinds[kind]} and {path.name} are both weights of {stage}"
                f"{kind and ' for ' + kind}; move one away, or name its variant or file"
            )
        kinds[kind] = path.name
        found[path.name] = weights
    return found


def trained_on_clean(provenance: dict) -> bool:
    """Whether weights learned from photos without holes; authors' weights did."""
    data = provenance.get("config", {}).get("data")
    return data is None or data.get("clean", 0.0) == 1.0


def _kind(weights: Weights) -> str:
    """What tells the weights of one model apart."""
    role = role_of(weights.model)
    if role == "upscaler":
        return f"x{weights.model['scale']}"
    return f"{trained_side(weights)} pixels" if role == "inpainter" else ""


@functools.lru_cache(maxsize=256)
def _header(path: Path, changed: int) -> tuple[dict, dict]:
    try:
        return read_header(path)
    except InputError:
        return {}, {}


# Systems share stages; but many weights at once are too large for a device.
@functools.lru_cache(maxsize=4)
def _weights(path: Path, changed: int) -> Weights:
    return on_devices(read_weights(path))


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
        or (is_model(stage) and role_of(fields_of(stage)) in RESTORING)
        for stage in stages
    )


def open_system(
    name: str,
    folder: Path | None = None,
    random_scale: float | None = None,
    damaged: bool = True,
) -> Restorer:
    """Opens a system by name.

    Args:
      name: see the head of this file.
      folder: of weights files; other files in it are left alone.
      random_scale: of the random weights that stand in for missing ones; the system
        then has `trained` = False. None: missing weights are an error.
      damaged: whether a query model alone must have learned from damaged photos;
        False, for photos without holes: from clean ones.

    Raises:
      NoWeights: if there are no weights for a model, saying how to get them.
      InputError: if the stages do not go together, or two files could be meant.
    """
    stages = CLASSICAL.get(name, name).split("+")
    if len(stages) == 1:
        return _open_stage(name, folder, random_scale, damaged)
    fills = [_fills(stage) for stage in stages]
    if fills[0] == fills[1]:
        raise InputError(
            f"system {name!r}: one stage must fill holes (telea, misf, lama), the "
            "other enlarge (bilinear, bicubic, edsr, elan, liif, lte)"
        )
    first, second = (
        _open_stage(stage, folder, random_scale, damaged=False) for stage in stages
    )
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
    stage: str, folder: Path | None, random_scale: float | None, damaged: bool
) -> Restorer:
    if stage == "telea":
        return Telea(stage)
    if stage in WITHOUT_WEIGHTS:
        return Interpolation(stage)
    role = role_of(fields_of(stage))
    found = find_weights(folder, stage, damaged)
    if not found and random_scale is None:
        raise NoWeights(_advice(stage, role, folder, damaged))
    if not found:
        weights = _random(stage, random_scale if role == "upscaler" else None)
        return _of_role(role, [weights], stage, trained=False)
    system = _of_role(role, list(found.values()), stage, trained=True)
    system.files = tuple(found)
    if isinstance(system, QueryRestorer) and folder:
        (file,) = found
        system.texture_file = texture_path(folder / file)
    return system


@functools.lru_cache(maxsize=2)
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


DEFAULT = "dear-lite"


class Found(NamedTuple):
    """Weights that a name means.

    Attributes:
      weights: of one model.
      name: what to call it.
      file: the weights file they were read from, None for a training run.
    """

    weights: Weights
    name: str
    file: Path | None


def load(
    what: str | Path | None = None,
    which: str = "latest",
    weights: str | Path | None = None,
    clean: bool = False,
    texture: Any = 0.0,
) -> Restorer:
    """Loads a model, or a system of two.

    Args:
      what: None for the bundled default, the name of a bundled model, a weights
        file (*.safetensors), the workdir of a training run, or a system such as
        "misf+elan", see `dear_jax.inference.loading`.
      which: of a workdir, "latest" (the EMA of its last checkpoint) or "best" (the
        EMA that scored best).
      weights: folder of weights files in which a system finds its models.
      clean: whether a system of LIIF, LTE or DEAR alone is the one that learned from
        photos without holes; usually it is the one that learned from damaged ones.
      texture: a number in [0, 1], from the fidelity weights (0) to the texture weights
        (1), which lie beside FILE.safetensors as FILE-texture.safetensors; see
        `dear_jax.inference.texture`.

    Raises:
      InputError: if there is no such model; the message names what there is.
    """
    if which not in ("latest", "best"):
        raise InputError(f"which={which!r}: choose 'latest' or 'best'")
    check_devices()
    texture = check_texture(texture)
    name = DEFAULT if what is None else str(what)
    if is_system(name) and name not in _bundled():
        folder = Path(os.path.expanduser(weights)) if weights else None
        restorer = open_system(name, folder, damaged=not clean)
    else:
        found = find(name, which)
        restorer = from_weights(found.weights, found.name)
        if isinstance(restorer, QueryRestorer) and found.file:
            restorer.texture_file = texture_path(found.file)
    return restorer.with_texture(texture) if texture else restorer


def find(name: str, which: str = "latest") -> Found:
    """Finds the weights of one model: bundled, in a file, or of a training run.

    Args:
      name: see `load`, except for systems.
      which: see `load`.

    Raises:
      InputError: if there are none; the message names what there is.
    """
    shipped, path = _bundled(), Path(os.path.expanduser(name))
    # The name of a bundled model always means that; ./NAME is a file or folder.
    if name in shipped:
        return Found(read_weights(shipped[name]), name, shipped[name])
    if os.path.isdir(path):
        from dear_jax.inference.runs import read_run  # Orbax takes long to import.

        return Found(read_run(path, which), path.resolve().name, None)
    if os.path.isfile(path):
        return Found(read_weights(path), path.stem, path)
    raise InputError(
        f"model {name!r}: neither a bundled model ({', '.join(shipped) or 'none'}) "
        "nor a weights file nor a training workdir nor a system such as "
        f"{BASELINES[3]!r}"
    )


def _bundled() -> dict[str, Path]:
    """The weights files that come along, by name."""
    return {p.stem: p for p in sorted(bundled.WEIGHTS.glob("*.safetensors"))}
