"""Texture for the bundled `dear-lite`: its fidelity weights, trained on.

    python run_train.py --config=configs/dear_lite_texture.py --workdir=runs/texture
    python -m dear_jax.training.export runs/texture FILE-texture.safetensors --terms ...

Whole pictures of 128 x 128 from 32 x 32, by LPIPS and a discriminator; see
dear_jax/training/adversarial.py. FILE is the file of the fidelity weights: beside it
the result is found by load(FILE, texture=...) and `dear restore --texture`. Photos and
masks are those of configs/dear_lite.py. VGG16's weights must be made first, see
results/training.md.
"""

import dataclasses

import ml_collections

from configs import dear_lite
from dear_jax.training.adversarial import TextureObjective


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = dear_lite.get_config()
    config.train.start_from = "dear-lite"
    with config.data.ignore_type():
        config.data.side = 32
    config.data.side_weights = ()
    # No photo of 128 x 128 or more is.
    config.data.enlarge = True
    config.data.scale = (4.0, 4.0)
    config.data.queries = 0
    objective = dataclasses.asdict(TextureObjective(width=32))
    vgg16 = {"vgg16": "weights/lpips-vgg16.safetensors"}
    config.objective = ml_collections.ConfigDict(
        {"name": "texture", **objective, **vgg16}
    )
    # Adam at 1e-4 for both, as ESRGAN.
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup = 100
    config.optimizer.decay = 1000
    config.discriminator = config.optimizer.copy_and_resolve_references()
    config.train.batch_size = 4
    config.train.steps = 4000
    config.train.ema_decay = 0.999
    config.evaluate.every = 500
    config.checkpoint.every = 250
    config.log.every = 20
    return config
