"""The argument of a configuration: which system it trains.

    configs/celebahq.py              DEAR
    configs/celebahq.py:lte          LTE, directly on damaged photos
    configs/celebahq.py:lte,input=clean   LTE on clean photos, a stage of two
    configs/celebahq.py:elan,scale=6      an upscaler for one scale (default 4)
    configs/celebahq.py:misf,side=64      an inpainter for small photos (default: large)

The name is a variant of `dear_jax.models.registry`; `edsr`, `elan` and `lama` mean
edsr-baseline, elan-light and lama-fourier. Loss, optimizer and schedule are those
of each model's authors; the data are the configuration's, so LIIF and LTE train at
its one scale (their authors': side 48, scales 1 to 4).
"""

import dataclasses

import ml_collections

from dear_jax.errors import InputError
from dear_jax.models.registry import RESTORING, fields_of, role_of
from dear_jax.training.adversarial import LaMaObjective, MISFObjective

OPTIONS = {
    "query": {"input": ("masked", "clean")},
    "upscaler": {"scale": int},
    "inpainter": {"side": int},
}


def choose(
    config: ml_collections.ConfigDict, argument: str
) -> ml_collections.ConfigDict:
    """Makes a configuration for DEAR one for the system that the argument names.

    Args:
      config: trains DEAR at one scale; changed in place and returned.
      argument: such as "elan,scale=6".

    Raises:
      InputError: for an unknown name or option, naming those there are.
    """
    name, *rest = argument.split(",")
    fields = fields_of(name)
    if role_of(fields) not in RESTORING:
        raise InputError(f"{name} restores no photos; name a system that does")
    options = _parse(name, role_of(fields), rest)
    config.model = ml_collections.ConfigDict(fields)
    if fields["architecture"] == "dear":
        return config
    config.optimizer.update(warmup=0, clip_norm=0.0, betas=(0.9, 0.999))
    config.train.update(ema_decay=0.0, dtype="float32")
    config.data.clean = 0.0
    recipe = {"liif": _query, "lte": _query, "edsr": _edsr, "elan": _elan}
    recipe |= {"misf": _misf, "lama": _lama}
    recipe[fields["architecture"]](config, options)
    return config


def _query(config: ml_collections.ConfigDict, options: dict) -> None:
    """LIIF's and LTE's recipe."""
    config.objective = ml_collections.ConfigDict({"name": "query"})
    config.data.augment = "dihedral"
    _follow(config, 1e-4, 16, 1_000_000, (200_000, 400_000, 600_000, 800_000))
    if options.get("input") == "clean":
        _clean(config)


def _edsr(config: ml_collections.ConfigDict, options: dict) -> None:
    """EDSR-PyTorch's recipe."""
    _pairs(config, options.get("scale", 4))
    _follow(config, 1e-4, 16, 300_000, (200_000,))


def _elan(config: ml_collections.ConfigDict, options: dict) -> None:
    """ELAN's recipe: the light one has twice the batch and half the steps."""
    _pairs(config, options.get("scale", 4))
    light = config.model.channels < 180
    epoch = 1000 if light else 2000
    halve_at = tuple(epoch * e for e in (250, 400, 450, 475, 500))
    _follow(config, 2e-4, 64 if light else 32, 1000 * epoch, halve_at)


def _misf(config: ml_collections.ConfigDict, options: dict) -> None:
    """MISF's recipe. Choice: batches of 8, its code's default; its file says 1."""
    _inpainting(config, options.get("side"))
    _follow(config, 1e-4, 8, 350_000, ())
    config.optimizer.betas = (0.0, 0.9)
    _against_discriminator(config, MISFObjective(), 1e-5)


def _lama(config: ml_collections.ConfigDict, options: dict) -> None:
    """LaMa's recipe, on one GPU: batches of 10."""
    _inpainting(config, options.get("side"))
    _follow(config, 1e-3, 10, 1_000_000, ())
    config.optimizer.clip_norm = 1.0
    _against_discriminator(config, LaMaObjective(), 1e-4)


def _against_discriminator(
    config: ml_collections.ConfigDict, objective, rate: float
) -> None:
    """The objective with its own weights; the discriminator differs in its rate."""
    config.discriminator = config.optimizer.copy_and_resolve_references()
    config.discriminator.learning_rate = rate
    config.objective = ml_collections.ConfigDict(
        {
            "name": config.model.architecture,
            **dataclasses.asdict(objective),
            "vgg16": "weights/lpips-vgg16.safetensors",
        }
    )


def _pairs(config: ml_collections.ConfigDict, scale: int) -> None:
    """Whole low-resolution and high-resolution pairs at one scale."""
    target = round(config.data.side * config.data.scale[1])
    if not 2 <= scale <= target // 8:
        raise InputError(
            f"scale={scale}: from 2 to {target // 8}, which leaves 8 of {target} pixels"
        )
    config.model.scale = scale
    config.data.side = target // scale
    config.data.scale = (float(scale), float(scale))
    config.data.queries = 0
    config.data.augment = "dihedral"
    config.objective = ml_collections.ConfigDict({"name": "pairs"})
    config.evaluate.scale = float(scale)
    _clean(config)


def _inpainting(config: ml_collections.ConfigDict, side: int | None) -> None:
    """Damaged photos of `side` pixels, reduced from the configuration's targets."""
    target = round(config.data.side * config.data.scale[1])
    side = target if side is None else side
    if not 1 <= side <= target:
        raise InputError(f"side={side}: photos here have {target} pixels, or less")
    config.data.side = side
    config.data.scale = (target / side, target / side)
    config.data.queries = 0
    config.evaluate.scale = 1.0
    config.evaluate.reduce = target / side


def _clean(config: ml_collections.ConfigDict) -> None:
    config.data.clean = 1.0
    config.data.masks = config.evaluate.masks = "none"


def _follow(config, rate: float, batch: int, steps: int, halve_at: tuple) -> None:
    config.optimizer.learning_rate = rate
    config.optimizer.schedule = "halving" if halve_at else "constant"
    config.optimizer.halve_at = halve_at
    config.train.batch_size = batch
    config.train.steps = steps


def _parse(name: str, role: str, texts: list[str]) -> dict:
    """Turns ["scale=6"] into {"scale": 6}."""
    known, options = OPTIONS.get(role, {}), {}
    if name.startswith("dear"):
        known = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in known:
            there = ", ".join(f"{k}=" for k in known) or "none"
            raise InputError(f"{name} has no option {text!r}; it has {there}")
        if known[key] is int and value.isdigit():
            options[key] = int(value)
        elif known[key] is not int and value in known[key]:
            options[key] = value
        else:
            wanted = "a whole number" if known[key] is int else " or ".join(known[key])
            raise InputError(f"{name},{text}: {key} must be {wanted}")
    return options
