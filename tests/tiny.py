"""The smallest models and runs that still have every part, for tests."""

import functools

import jax
import ml_collections
import numpy as np

from configs import damage, dear_lite_texture, quickstart
from dear_jax.inference.dear import DearRestorer
from dear_jax.models.registry import build, fields_of, init_shapes
from dear_jax.weights import Weights

TINY = {
    "dear": {"width": 4, "blocks": 1, "decoder_width": 8},
    "dear-lite": {
        "widths": (4, 4, 8, 8),
        "depths": (1, 0, 1, 0, 0, 1),
        "guide_width": 4,
        "detail_groups": 2,
        "decoder_width": 8,
    },
}


# The other systems: as small as their structure allows.
SMALLEST = {
    "edsr": {"width": 4, "blocks": 1},
    "elan": {"channels": 6, "blocks": 2},
    "liif": {"width": 4, "blocks": 1, "decoder_width": 8, "decoder_layers": 2},
    "lte": {"width": 4, "blocks": 1, "hidden": 8, "layers": 1},
    "misf": {"width": 4, "blocks": 1},
    "lama": {"width": 8, "blocks": 1},
}


def tiny_fields(preset: str) -> dict:
    """Fields of a preset with tiny widths."""
    return {**fields_of(preset), **TINY[preset]}


def tiny_restorer(preset: str, seed: int = 0, **changes) -> DearRestorer:
    """A restorer with random weights, none of them zero."""
    fields = {**tiny_fields(preset), **changes}
    variables = draw_like(init_shapes(build(fields)), seed=seed)
    return DearRestorer(Weights(variables, fields, {}), f"tiny-{preset}")


def query_methods(fields: dict):
    """Variables, encode(image, mask) and decode(features, queries, cell, size)."""
    model = build(fields)
    variables = draw_like(init_shapes(model))
    methods = (
        jax.jit(functools.partial(model.apply, method=name))
        for name in ("encode", "decode")
    )
    return variables, *(functools.partial(method, variables) for method in methods)


def draw_like(shapes, gain: float = 2, seed: int = 0):
    """Random parameters of the shapes of a tree.

    Unlike a fresh initialisation none of them is zero, biases included, so that
    nothing hides behind a zero. With a gain of 2 a layer and its ReLU keep the
    size of their input, so that 1e-6 means the same as in a trained model.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if path and getattr(path[-1], "key", "") == "var":  # Of batch normalisation.
            return rng.uniform(0.5, 2, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1])
        scale = (gain / fan_in) ** 0.5 if leaf.ndim > 1 else 0.1
        return rng.normal(0, scale, leaf.shape).astype(np.float32)

    return jax.tree.map_with_path(draw, shapes)


def example(size: tuple[int, int], ratio: float = 0.4, batch: int = 1):
    """Image [B, H, W, 3], mask [B, H, W, 1], queries and their cells [B, 40, 2]."""
    rng = np.random.default_rng(0)
    image = rng.random((batch, *size, 3)).astype(np.float32)
    mask = (rng.random((batch, *size, 1)) < ratio).astype(np.float32)
    queries = rng.uniform(-1, 1, (batch, 40, 2)).astype(np.float32)
    return image, mask, queries, np.full_like(queries, 0.05)


def tiny_config(steps: int = 8, **changes) -> ml_collections.ConfigDict:
    """A training run of seconds on the bundled photos; changes as {"a.b": value}."""
    config = quickstart.base()
    config.model.update(TINY["dear-lite"])
    config.data.side, config.data.queries = 16, 32
    config.data.threads = 0
    config.train.batch_size, config.train.steps = 4, steps
    config.optimizer.warmup = 2
    config.checkpoint.every, config.log.every = 3, 2
    config.evaluate.every = 0
    config.update_from_flattened_dict(changes)
    return config


def detector_config(steps: int = 4, **changes) -> ml_collections.ConfigDict:
    """A detector's, scored on a bundled photo."""
    config = damage.get_config()
    config.model.update(widths=(1, 1, 1), depths=(1, 1))
    config.data.photos = ("bundled",)
    with config.data.ignore_type():
        config.data.side = 32
    config.data.threads = 0
    config.train.update(batch_size=4, steps=steps)
    config.optimizer.warmup = 0
    config.checkpoint.every, config.log.every = 2, 2
    config.evaluate.update(every=0, limit=1)
    config.update_from_flattened_dict(changes)
    return config


def system_config(system: str, steps: int = 4, **changes) -> ml_collections.ConfigDict:
    """The same for another system, named as in configs/systems.py."""
    config = quickstart.get_config(system)
    config.model.update(SMALLEST[config.model.architecture])
    if config.data.queries:
        config.data.queries = 16
    # MISF's discriminator takes no photo smaller than 24.
    config.data.side = 24 if config.model.architecture == "misf" else 16
    config.data.threads = 0
    config.train.update(batch_size=4, steps=steps)
    config.optimizer.warmup = 0
    config.checkpoint.every, config.log.every = 2, 2
    config.evaluate.update(every=0, limit=1)
    if "discriminator" in config:
        config.objective.width = 4
    if config.model.architecture == "lama":
        config.objective.layers = 2
    config.update_from_flattened_dict(changes)
    return config


def texture_config(steps: int = 4, **changes) -> ml_collections.ConfigDict:
    """The same for texture, without LPIPS, which needs a file."""
    config = tiny_config(steps)
    config.objective = dear_lite_texture.get_config().objective
    config.objective.update(width=4, layers=2, perceptual=0.0)
    config.discriminator = config.optimizer.copy_and_resolve_references()
    config.data.update(side=8, queries=0, scale=(2.0, 2.0))
    config.checkpoint.every = 2
    config.update_from_flattened_dict(changes)
    return config
