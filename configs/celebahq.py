"""The paper's recipe on CelebA-HQ: 256 x 256 faces from 64 x 64 damaged ones.

    python run_train.py --config=configs/celebahq.py --workdir=runs/celebahq
    python run_eval.py --model runs/celebahq --scale 4 \\
        --data data/celebahq256/test --masks data/irregular_masks/test

Data: CelebA-HQ at 256 x 256, 28,000 photos for training and 2,000 for testing (those
of data_prep/celebahq_test.txt), and the irregular masks of Liu et al. 2018:

    python -m data_prep celebahq SOURCE data/celebahq256 --side 256
    python -m data_prep masks irregular_masks.zip data/irregular_masks

Hardware: the paper trained 200 epochs on two V100. A photo takes 62 GFLOP, forward and
backward, and the run 5.6 million photos, so this needs a GPU; several, on several
machines too, are used if there are. With 6 GB of its memory to spare,
--config.data.render=resident keeps all photos there.

The paper's numbers at x4 (Table 1): PSNR 29.84, SSIM 0.968, L1 0.022, LPIPS 0.053.
"""

import ml_collections

from configs import quickstart, systems
from dear_jax.models.registry import fields_of

PHOTOS = 28_000
BATCH = 16
EPOCH = PHOTOS // BATCH


def get_config(system: str = "dear") -> ml_collections.ConfigDict:
    """Returns the configuration of a system, see configs/systems.py."""
    return systems.choose(base(), system)


def base() -> ml_collections.ConfigDict:
    """The paper's recipe for DEAR."""
    config = quickstart.base()
    config.model = ml_collections.ConfigDict(fields_of("dear"))

    config.data.photos = ("data/celebahq256/train",)
    config.data.masks = "data/irregular_masks/train"
    config.data.side = 64
    config.data.scale = (4.0, 4.0)
    # Choice: the paper gives no number; this is LIIF's.
    config.data.queries = 2304
    config.data.render = "host"
    config.data.threads = 8

    config.optimizer.learning_rate = 1e-4
    config.optimizer.schedule = "halving"
    config.optimizer.halve_at = (100 * EPOCH,)
    config.optimizer.warmup = 0
    config.optimizer.clip_norm = 0.0

    config.train.batch_size = BATCH
    config.train.steps = 200 * EPOCH
    config.train.ema_decay = 0.999
    # Choice: the paper does not say. After 500 steps as good as float32, see
    # benchmarks/results/training.md.
    config.train.dtype = "bfloat16"

    config.evaluate.every = 5 * EPOCH
    config.evaluate.photos = "data/celebahq256/test"
    config.evaluate.masks = "data/irregular_masks/test"
    config.evaluate.limit = 32
    config.checkpoint.every = 1000
    config.log.every = 100
    return config
