"""The paper's recipe on FFHQ: 256 x 256 faces from 64 x 64 damaged ones.

    python run_train.py --config=configs/ffhq.py --workdir=runs/ffhq
    python run_eval.py --model runs/ffhq --scale 4 \\
        --data data/ffhq256/test --masks data/irregular_masks/test

Data: FFHQ reduced to 256 x 256, the first 60,000 photos for training (its authors'
split) and the last 10,000 for testing; masks as in configs/celebahq.py.

    python -m data_prep ffhq SOURCE data/ffhq256 --side 256

Hardware: as configs/celebahq.py; an epoch has about twice as many steps.

The paper's numbers at x4 (Table 1): PSNR 28.97, SSIM 0.879, L1 0.023, LPIPS 0.160.
"""

import ml_collections

from configs import celebahq, systems

EPOCH = 60_000 // celebahq.BATCH


def get_config(system: str = "dear") -> ml_collections.ConfigDict:
    """Returns the configuration of a system, see configs/systems.py."""
    config = celebahq.base()
    config.data.photos = ("data/ffhq256/train",)
    config.evaluate.photos = "data/ffhq256/test"
    config.evaluate.every = 5 * EPOCH
    config.optimizer.halve_at = (100 * EPOCH,)
    config.train.steps = 200 * EPOCH
    return systems.choose(config, system)
