"""The comparison in small: 128 x 128 faces from 32 x 32 damaged ones, on a CPU.

    python run_train.py --config=configs/comparison.py:misf-32 --workdir=runs/misf-32

Every system of the paper's tables, and DEAR's variants, at the widths of
configs/quickstart.py: the same photos, masks and queries, batches of 8 (of 2 for what
encodes more than 32 x 32), Muon at 3e-3, and the same time of one CPU core each.
results/comparison/ has what came of it.

Photos: 6,000 faces of CelebA, 128 x 128; masks: the irregular masks of Liu et al.
2018. They are for research only and must be fetched from their owners.
"""

import ml_collections

from configs import quickstart
from dear_jax.errors import InputError

# Run -> the quickstart's system; steps that take eight minutes of one core, by timing
# 25 while the other core was at the same work; what differs in its model and its data.
RUNS = {
    # DEAR and, as in Table 5, without its parts.
    "dear": ("dear", 1240, {}, {}),
    "dear-base": ("dear-base", 2660, {}, {}),
    "dear-detail": ("dear-detail", 2260, {}, {}),
    "dear-attention": ("dear-attention", 1320, {}, {}),
    # Where the paper can be read in another way.
    "dear-ones": ("dear", 1250, {"high_pass": "ones"}, {}),
    "dear-known": ("dear", 1200, {"attention_keys": "known"}, {}),
    "dear-norm": ("dear", 1170, {"norm": "instance"}, {}),
    "dear-cell": ("dear", 1200, {"cell_decode": True}, {}),
    "dear-bilinear": ("dear", 1200, {"residual": "bilinear"}, {}),
    "dear-fill": ("dear", 1180, {"residual": "fill"}, {}),
    "dear-scales": ("dear", 1220, {}, {"scale": (1.0, 4.0)}),
    # Beyond the paper: as the bundled model, at its widths.
    "dear-lite": ("dear-lite", 1370, {}, {}),
    # Directly on damaged photos.
    "lte": ("lte", 1860, {}, {}),
    "liif": ("liif", 2630, {}, {}),
    # Stages of two.
    "lte-clean": ("lte,input=clean", 1890, {}, {}),
    "edsr": ("edsr,scale=4", 1820, {}, {}),
    "elan": ("elan,scale=4", 1270, {}, {}),
    "misf-32": ("misf,side=32", 2060, {}, {}),
    "misf-128": ("misf,side=128", 580, {}, {}),
    "lama-32": ("lama,side=32", 1480, {}, {}),
    "lama-128": ("lama,side=128", 800, {}, {}),
    # Table 3: nothing missing.
    "dear-clean": ("dear", 1280, {}, {"clean": 1.0, "masks": "none"}),
    "liif-clean": ("liif,input=clean", 2600, {}, {}),
    # Table 4: nothing enlarged.
    # On crops: at 128 x 128 its attention takes eleven seconds a step of two photos.
    "dear-64": ("dear", 550, {}, {"side": 64, "scale": (1.0, 1.0)}),
}


def get_config(run: str = "dear") -> ml_collections.ConfigDict:
    """Returns the configuration of one run of `RUNS`.

    Raises:
      InputError: for an unknown run, naming those there are.
    """
    if run not in RUNS:
        raise InputError(f"run {run!r} is unknown; known: {', '.join(RUNS)}")
    system, steps, model, data = RUNS[run]
    config = quickstart.get_config(system)
    config.model.update(model)

    config.data.photos = ("data/faces128/train",)
    if config.data.masks != "none":
        config.data.masks = "data/masks/train"
    if config.data.queries:
        config.data.scale = (4.0, 4.0)
    config.data.update(data)
    config.data.augment = "flip"
    if "discriminator" in config:
        config.objective.width = 16

    if config.data.side > 32:
        config.train.batch_size = 2  # Batches of 8 would leave a hundred steps.

    config.optimizer.update(name="muon", learning_rate=3e-3)
    config.train.steps = steps
    config.train.ema_decay = 0.995
    # Nothing is chosen by looking at held-out photos.
    config.evaluate.every = 0
    config.checkpoint.every = 500
    config.log.every = 20
    return config
