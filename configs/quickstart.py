"""A first training run, on the bundled photos: minutes on two cores.

    python run_train.py --config=configs/quickstart.py --workdir=runs/quickstart
    python run_eval.py --model runs/quickstart --scale 4

It shows that everything works; seven photos teach a model little. Each field can
be changed on the command line, e.g. --config.train.steps=400.

Every other system can be tried the same way, at a size for two cores:
configs/quickstart.py:lte, :edsr,scale=3, :misf,side=64 and so on, see
configs/systems.py. Perceptual losses are off here, since they need a file; the
recipes proper are those of configs/celebahq.py.
"""

import ml_collections

from configs import systems
from dear_jax.data.damage import KINDS
from dear_jax.models.registry import fields_of

# Widths and depths of the other systems for two cores, and how fast they learn.
SMALL = {
    "dear": {"width": 16, "blocks": 2, "decoder_width": 64},
    "liif": {"width": 32, "blocks": 4, "decoder_width": 64},
    "lte": {"width": 32, "blocks": 4, "hidden": 64},
    "edsr": {"width": 32, "blocks": 4},
    "elan": {"channels": 30, "blocks": 8},
    "misf": {"width": 16, "blocks": 4},
    "lama": {"width": 16, "blocks": 4},
}
RATES = {"elan": 5e-4, "misf": 5e-4, "lama": 1e-3}


def get_config(system: str = "dear-lite") -> ml_collections.ConfigDict:
    """Returns the configuration of a system, see configs/systems.py."""
    config = base()
    if system == "dear-lite":
        return config
    steps, usual = config.train.steps, config.optimizer.to_dict()
    systems.choose(config, system)
    name = config.model.architecture
    config.model.update(SMALL[name])
    usual["betas"] = config.optimizer.betas
    config.optimizer.update(usual)
    config.optimizer.learning_rate = RATES.get(name, 1e-3)
    config.train.update(steps=steps, batch_size=8, ema_decay=0.99)
    if "discriminator" in config:
        config.objective.perceptual = 0.0  # Else it needs VGG16's weights.
    if name == "misf":
        config.objective.style = 0.0
    return config


def base() -> ml_collections.ConfigDict:
    """`dear-lite`; all other configurations start from this one."""
    config = ml_collections.ConfigDict()
    config.seed = 0

    config.model = ml_collections.ConfigDict(fields_of("dear-lite"))

    config.data = ml_collections.ConfigDict()
    # Folders of images or ArrayRecord, or "bundled"; a part named twice counts twice.
    config.data.photos = ("bundled",)
    # Folder or ArrayRecord of masks (white = missing), "bundled", or drawn by rule:
    # "generated" or "lama"; "none": nothing is missing.
    config.data.masks = "generated"
    # Leave unreadable photos out instead of stopping at them.
    config.data.skip_unreadable = False
    # Low-resolution side, in pixels; or several, for which a configuration writes
    # `with config.data.ignore_type(): config.data.side = (56, 72, 96)`. Then each
    # batch has one of them, drawn with these weights (none: all alike).
    config.data.side = 32
    config.data.side_weights = ()
    # Range of the scale: target side / low-resolution side.
    config.data.scale = (1.0, 4.0)
    # Whether photos smaller than a crop are enlarged to it, or else the scale is drawn
    # only as large as the photo allows.
    config.data.enlarge = True
    # High-resolution pixels asked for in each photo; 0 = the whole photo.
    config.data.queries = 1024
    # Share of photos without any hole or damage.
    config.data.clean = 0.0
    # Old photographs: blur, noise and JPEG, see dear_jax/data/degradations.py.
    config.data.degrade = ml_collections.ConfigDict()
    # Of all photos; the other shares are of these. Grey and sepia exclude each other.
    config.data.degrade.share = 0.0
    config.data.degrade.grey = 0.35
    config.data.degrade.sepia = 0.2
    # With lifted blacks and lowered whites.
    config.data.degrade.faded = 0.5
    # Ranges of standard deviations, in low-resolution pixels and in levels of 255,
    # and of JPEG's quality.
    config.data.degrade.blur = (0.0, 2.6)
    config.data.degrade.noise = (0.0, 24.0)
    config.data.degrade.quality = (20, 100)
    # Dust, scratches, cracks, stains, see dear_jax/data/damage.py.
    config.data.damage = ml_collections.ConfigDict()
    # Of all photos; their masks are the damage instead of config.data.masks.
    config.data.damage.share = 0.0
    # Share of these whose mask has both.
    config.data.damage.joined = 0.2
    # Damaged share of a photo: the least, the most of a typical one, the most.
    config.data.damage.area = (0.001, 0.022, 0.08)
    config.data.damage.kinds = KINDS
    # How many times as large as an example the photo may be that it is a part of.
    config.data.damage.photo = 1.0
    # "flip" left and right, or "dihedral": up and down and transposed too.
    config.data.augment = "flip"
    # Where photos become examples: on the "host", or on the device from a set that
    # lies in its memory ("resident").
    config.data.render = "host"
    # Reading threads, and reading processes (0 = none).
    config.data.threads = 1
    config.data.workers = 0

    config.objective = ml_collections.ConfigDict()
    # See dear_jax/training/objectives.py.
    config.objective.name = "query"
    # Weight of the rebuilt low-resolution photo in the loss (Eq. 10).
    config.objective.reconstruction = 0.01

    config.optimizer = ml_collections.ConfigDict()
    # "adam" or "muon".
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    # "cosine", "halving" at each of the steps `halve_at`, or "constant", which falls
    # to zero in the last `decay` steps.
    config.optimizer.schedule = "cosine"
    config.optimizer.halve_at = ()
    config.optimizer.decay = 0
    # Steps of linear rise at the start.
    config.optimizer.warmup = 50
    config.optimizer.betas = (0.9, 0.999)
    # Largest global norm of the gradient; 0 = no limit.
    config.optimizer.clip_norm = 1.0

    config.train = ml_collections.ConfigDict()
    # What the run begins from: the name of a bundled model, a weights file or the
    # folder of a run; "": random weights.
    config.train.start_from = ""
    config.train.steps = 600
    # Photos per step, over all devices; of several sides, at the first one.
    config.train.batch_size = 8
    # Of the moving average of the parameters, per step.
    config.train.ema_decay = 0.99
    # In which the model computes: "float32", or "bfloat16" for accelerators;
    # parameters, loss and optimizer are float32 either way.
    config.train.dtype = "float32"
    # Parts that each device computes one after another, for less memory.
    config.train.accumulate = 1
    # On GPUs: the same bits in every run, which may cost some speed.
    config.train.deterministic = True

    config.evaluate = ml_collections.ConfigDict()
    # Steps between evaluations; 0 = none.
    config.evaluate.every = 300
    config.evaluate.photos = "bundled"
    config.evaluate.masks = "bundled"
    config.evaluate.scale = 4.0
    # Reduce the photos by this factor first.
    config.evaluate.reduce = 1.0
    # Only the first photos.
    config.evaluate.limit = 7

    config.checkpoint = ml_collections.ConfigDict()
    # Steps between checkpoints; one more is made at the end.
    config.checkpoint.every = 200

    config.log = ml_collections.ConfigDict()
    # Steps between reports.
    config.log.every = 20
    return config
