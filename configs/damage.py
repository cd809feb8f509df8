"""The bundled damage detector: where an old photograph is scratched, cracked or dusty.

    python run_train.py --config=configs/damage.py --workdir=runs/damage
    python run_eval.py --protocol damage --model runs/damage --data photos --masks masks

It learns from photos that are damaged by rule, see dear_jax/data/damage.py; a third
are not damaged, and of all somewhat less than half are as sharp as they were.

Photos: those of configs/dear_lite.py, without the twenty named in
results/damage/hard.txt. Photos with many thin lines, which are easily taken for
damage, count six times. results/damage/ has the numbers of the bundled weights, which
came of three shorter runs.
"""

import ml_collections

from configs import quickstart
from dear_jax.data.damage import KINDS
from dear_jax.models.registry import fields_of


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = quickstart.base()
    config.model = ml_collections.ConfigDict(fields_of("damage-detector"))
    config.objective = ml_collections.ConfigDict(
        {"name": "damage", "damaged": 2.0, "dice": 0.3}
    )
    faces, scenes = "data/faces256/train", "data/scenes256/train"
    lines = "data/scenes256/lines"
    config.data.photos = (faces, scenes, scenes, *4 * (lines,))
    config.data.masks = "none"
    # Even and odd at all levels of the network.
    with config.data.ignore_type():
        config.data.side = (96, 104, 111, 122)
    config.data.scale = (1.0, 2.0)
    config.data.enlarge = False
    # What is asked for at high resolution: nothing, but for one pixel.
    config.data.queries = 1
    config.data.damage.share = 0.65
    config.data.damage.area = (0.002, 0.04, 0.2)
    # Spots and hairs as large as in photos of 300 pixels; worn edges lie where the
    # photos here are cut, and all photos have edges.
    config.data.damage.photo = 3.0
    config.data.damage.kinds = tuple(kind for kind in KINDS if kind != "worn edge")
    config.data.degrade.share = 0.55
    config.data.degrade.noise = (0.0, 16.0)
    config.data.degrade.blur = (0.0, 2.0)
    config.data.degrade.quality = (30, 100)
    config.optimizer.learning_rate = 5e-3
    config.optimizer.schedule = "constant"
    config.optimizer.decay = 4000
    config.optimizer.warmup = 200
    config.train.batch_size = 16
    config.train.steps = 18_000
    config.train.ema_decay = 0.999
    config.evaluate.photos = "bundled"
    config.evaluate.masks = "drawn"
    config.evaluate.every = 1000
    config.checkpoint.every = 250
    config.log.every = 50
    return config
