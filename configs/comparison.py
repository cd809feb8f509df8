"""The comparison in small: 128 x 128 faces from 32 x 32 damaged ones, on a CPU.

    python run_train.py --config=configs/comparison.py:misf-32 --workdir=runs/misf-32

Every system of the paper's tables, and DEAR's variants, at the widths of
configs/quickstart.py: the same photos, masks and queries, batches of 8, and the
same time of one CPU core each. Steps were found by timing (`STEPS`), rates are
those of the quickstart. results/comparison/ has what came of it.

Photos: 6,000 faces of CelebA, 128 x 128; masks: the irregular masks of Liu et al.
2018. They are for research only and must be fetched from their owners.
"""

import ml_collections

from configs import quickstart

# Run -> the quickstart's system, what differs in its model, and its steps.
DEAR = "dear"
RUNS = {
    # DEAR and, as in Table 5, without its parts.
    "dear": (DEAR, {}),
    "dear-base": ("dear-base", {}),
    "dear-detail": ("dear-detail", {}),
    "dear-attention": ("dear-attention", {}),
    # Where the paper can be read in another way.
    "dear-ones": (DEAR, {"high_pass": "ones"}),
    "dear-known": (DEAR, {"attention_keys": "known"}),
    "dear-norm": (DEAR, {"norm": "instance"}),
    "dear-cell": (DEAR, {"cell_decode": True}),
    "dear-bilinear": (DEAR, {"residual": "bilinear"}),
    "dear-fill": (DEAR, {"residual": "fill"}),
    # Directly on damaged photos.
    "lte": ("lte", {}),
    "liif": ("liif", {}),
    # Stages of two.
    "lte-clean": ("lte,input=clean", {}),
    "edsr": ("edsr,scale=4", {}),
    "elan": ("elan,scale=4", {}),
    "misf-32": ("misf,side=32", {}),
    "misf-128": ("misf,side=128", {}),
    "lama-32": ("lama,side=32", {}),
    "lama-128": ("lama,side=128", {}),
    # Table 3, nothing missing, and Table 4, nothing enlarged.
    "dear-clean": (DEAR, {}),
    "liif-clean": ("liif,input=clean", {}),
    "dear-128": (DEAR, {}),
}

# Steps that take eight minutes of one core.
STEPS = {}


def get_config(run: str = DEAR) -> ml_collections.ConfigDict:
    """Returns the configuration of one run of `RUNS`."""
    system, fields = RUNS[run]
    config = quickstart.get_config(system)
    config.model.update(fields)

    config.data.photos = ("data/faces128/train",)
    if config.data.masks != "none":
        config.data.masks = "data/masks/train"
    if config.data.queries:
        config.data.scale = (4.0, 4.0)
    if run == "dear-clean":
        config.data.update(clean=1.0, masks="none")
    if run == "dear-128":
        config.data.update(side=128, scale=(1.0, 1.0))
    config.data.augment = "flip"
    if "discriminator" in config:
        config.objective.width = 16

    config.optimizer.update(name="muon", learning_rate=3e-3)
    config.train.steps = STEPS.get(run, 1000)
    config.train.ema_decay = 0.995
    # Nothing is chosen by looking at held-out photos.
    config.evaluate.every = 0
    config.checkpoint.every = 500
    config.log.every = 20
    return config
