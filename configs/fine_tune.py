"""The bundled `dear-lite`, trained on: a family's album, a collection, an archive.

    python run_train.py --config=configs/fine_tune.py --workdir=runs/album \
        --config.data.photos="('album',)"

It begins from the bundled weights and learns what these photos have in common; 20
photos are enough to begin with. Ten minutes on two cores. Name photos for which the
scores are made with --config.evaluate.photos=FOLDER, others than it learns from.
"""

import ml_collections

from configs import quickstart


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    config = quickstart.base()
    config.train.start_from = "dear-lite"
    config.data.side = 56
    config.data.scale = (1.0, 4.5)
    config.data.clean = 0.05
    # A tenth of what the weights were trained with, and Adam in place of Muon: they
    # are to move little.
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup = 50
    config.train.steps = 600
    config.train.ema_decay = 0.99
    config.evaluate.every = 300
    config.checkpoint.every = 200
    return config
