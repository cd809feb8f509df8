"""The bundled `dear-lite`: faces and scenes, on a CPU.

    python run_train.py --config=configs/dear_lite.py --workdir=runs/dear-lite

Photos: 4,081 faces of CelebA and FFHQ and 1,490 scenes (ImageNet, BSDS500, CID22),
256 x 256; masks: the irregular masks of Liu et al. 2018. They are for research only
and must be fetched from their owners; put them where `config.data` says, or say
where yours are. The bundled weights took 1 h 36 min on one CPU core; results/dear-lite/
has the log and the numbers.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = quickstart.base()
    faces, scenes = "data/faces256/train", "data/scenes256/train"
    config.data.photos = (faces, scenes, scenes)
    config.data.masks = "data/masks/train"
    config.data.side = 56
    config.data.scale = (1.0, 4.5)
    config.data.clean = 0.05
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule = "constant"
    config.optimizer.warmup = 300
    config.optimizer.decay = 3000
    config.train.batch_size = 8
    config.train.steps = 9_972
    config.train.ema_decay = 0.999
    config.evaluate.every = 1000
    config.checkpoint.every = 500
    config.log.every = 50
    return config
