"""The paper's recipe on Places365: 256 x 256 scenes from 64 x 64 damaged ones.

    python run_train.py --config=configs/places365.py --workdir=runs/places365
    python run_eval.py --model runs/places365 --scale 4 \\
        --data data/places365/val --masks data/irregular_masks/test

Data: Places365-Standard, small images (256 x 256), 1,803,460 for training and 36,500
for testing, its authors' split; masks as in configs/celebahq.py.

    python -m data_prep places365 SOURCE data/places365 --side 256

Hardware: as configs/celebahq.py. 200 epochs of all photos are 22.5 million steps;
the paper does not say how many it used, `--config.train.steps` sets your own.

The paper's numbers at x4 (Table 1): PSNR 25.61, SSIM 0.824, L1 0.040, LPIPS 0.170.
"""

import ml_collections

from configs import celebahq, systems

EPOCH = 1_803_460 // celebahq.BATCH


def get_config(system: str = "dear") -> ml_collections.ConfigDict:
    """Returns the configuration of a system, see configs/systems.py."""
    config = celebahq.base()
    config.data.photos = ("data/places365/train",)
    config.evaluate.photos = "data/places365/val"
    config.evaluate.every = 20_000
    config.optimizer.halve_at = (100 * EPOCH,)
    config.train.steps = 200 * EPOCH
    return systems.choose(config, system)
