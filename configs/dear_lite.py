"""The bundled `dear-lite`: old photographs, faces and scenes, on a CPU.

    python run_train.py --config=configs/dear_lite.py --workdir=runs/dear-lite

Half of the photos have the irregular masks of protocol v1, a quarter drawn damage, a
quarter nothing missing; half of all are degraded by blur, noise and JPEG. Made for two
CPU cores and days; the rate stays constant until the last `decay` steps, so the run can
be made longer with --accept_changes while it has not begun to fall.

Photos: 4,081 faces of CelebA and FFHQ and 1,490 scenes (ImageNet, BSDS500, CID22),
256 x 256; masks: the irregular masks of Liu et al. 2018. They are for research only
and must be fetched from their owners; put them where `config.data` says, or say
where yours are. results/dear-lite/ has the log and the numbers of the bundled weights.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = quickstart.base()
    faces, scenes = "data/faces256/train", "data/scenes256/train"
    config.data.photos = (faces, scenes, scenes)
    config.data.masks = "data/masks/train"
    with config.data.ignore_type():
        config.data.side = (48, 64, 96, 128)
    config.data.side_weights = (3, 3, 3, 1)
    config.data.scale = (1.0, 4.5)
    config.data.enlarge = False
    config.data.clean = 0.25
    config.data.damage.share = 0.25
    config.data.degrade.share = 0.5
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 300
    config.optimizer.decay = 30_000
    config.train.batch_size = 16
    config.train.steps = 150_000
    config.train.ema_decay = 0.999
    config.evaluate.every = 2000
    config.checkpoint.every = 250
    config.log.every = 50
    return config
