"""Where a photo is damaged, as the bundled detector finds it.

The detector looks at the photo at its own size, in tiles that overlap by its reach, so
that the seams are exact. See results/damage/ for what it finds and what it does not.
"""

import functools
import math
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Bool, Float32, Num

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.images.masks import dilated
from dear_jax.inference.devices import check_devices, compiled, on_host, to_floats
from dear_jax.inference.inputs import check_image
from dear_jax.inference.progress import Counted, Progress
from dear_jax.inference.tiles import Tiling, tilings, window
from dear_jax.models.registry import build, role_of
from dear_jax.typing import Array
from dear_jax.weights import Weights, freeze, read_weights

# Defaults: found from a probability of 0.9 on, at which 0.3 % of undamaged scenes that
# it learned from are taken for damage; and a pixel wider, since edges are soft.
SENSITIVITY, DILATE = 0.5, 1
# Logit of the least probability that counts as damage: at a sensitivity of 0, and by
# how much less it is at 1.
_CERTAIN, _RANGE = 6.2, 8.0
BUNDLED = "damage-detector"
# Share of a photo beyond which what was found is doubtful.
MUCH = 0.2
# Pixels of a tile: about 300 bytes each are needed.
_MOST = 2**22
# Arrays are padded to multiples of it, so that few programs serve photos of all sizes.
_GRID = 64


class DamageDetector:
    """Finds damage.

    Args:
      weights: of a detector.

    Attributes:
      model: its fields.
      variables: its parameters.
      provenance: how they were made.

    Raises:
      InputError: for weights of another kind of model.
    """

    def __init__(self, weights: Weights):
        if role_of(weights.model) != "detector":
            raise InputError(
                f"a {weights.model['architecture']} finds no damage; give the weights "
                "of a detector"
            )
        check_devices()
        self.variables, self.model = jax.device_put(weights.variables), weights.model
        self.provenance = weights.provenance

    @on_host
    def probability(
        self, image: Array, most: int = _MOST, progress: Progress | None = None
    ) -> Float32[np.ndarray, "{len(image)} {len(image[0])}"]:
        """How likely each pixel is damaged, from 0 to 1.

        Args:
          image: [H, W, 3], uint8 or float in [0, 1], of any size.
          most: pixels of a tile.
          progress: called as progress(done, total) after each tile.

        Raises:
          InputError: for anything else.
        """
        image = check_image(image)
        size, module = image.shape[:2], build(self.model)
        found = np.zeros(size, np.float32)
        tiling = _tiling(size, module.halo, module.step, most)
        counted = Counted(progress, tiling.count)
        for low, keep in tiling.places():
            read = window(low, (tiling.rows.read, tiling.columns.read))
            tile = _tile_probability(self.model, self.variables, image[read])
            kept = window(keep, (tiling.rows.core, tiling.columns.core))
            offset = [k - first for k, first in zip(keep, low, strict=True)]
            found[kept] = tile[window(offset, found[kept].shape)]
            counted.advance(1)
        return found

    def find(
        self,
        image: Array,
        sensitivity: float = SENSITIVITY,
        dilate: int = DILATE,
        progress: Progress | None = None,
    ) -> Bool[np.ndarray, "{len(image)} {len(image[0])}"]:
        """Where a photo is damaged; see `damaged`."""
        found = self.probability(image, progress=progress)
        return damaged(found, sensitivity, dilate)


@functools.cache
def bundled_detector() -> DamageDetector:
    """The detector that comes along."""
    return DamageDetector(read_weights(bundled.DETECTOR))


def damaged(
    probability: Float32[np.ndarray, "H W"],
    sensitivity: float = SENSITIVITY,
    dilate: int = DILATE,
) -> Bool[np.ndarray, "H W"]:
    """The mask of what is damaged, True = damaged.

    Args:
      probability: of damage, see `DamageDetector.probability`.
      sensitivity: from 0, only what is certain (a probability of 0.998), to 1,
        whatever may be damage (0.14). A mask contains those of lower sensitivities.
      dilate: what is found grows by a disk of this radius, in pixels.

    Raises:
      InputError: if one of them is out of range.
    """
    if not 0 <= sensitivity <= 1:
        raise InputError(
            f"sensitivity={sensitivity!r}: give a number from 0 (only what is certain) "
            "to 1 (whatever may be damage)"
        )
    if dilate < 0:
        raise InputError(f"dilate={dilate}: give a number of pixels, at least 0")
    least = 1 / (1 + math.exp(_RANGE * sensitivity - _CERTAIN))
    return dilated(probability >= least, dilate)


def found_damage(
    image: Array,
    sensitivity: float | None = None,
    dilate: int | None = None,
    warn: Callable[[str], object] = lambda remark: None,
    progress: Progress | None = None,
) -> Bool[np.ndarray, "H W"]:
    """The mask of a photo's damage, as the bundled detector finds it.

    Args:
      image: see `DamageDetector`.
      sensitivity, dilate: see `damaged`; None: `SENSITIVITY`, `DILATE`.
      warn: called with a remark if nothing is found, or more than photos have.
      progress: called as progress(done, total) from time to time.
    """
    sensitivity = SENSITIVITY if sensitivity is None else sensitivity
    dilate = DILATE if dilate is None else dilate
    found = bundled_detector().find(image, sensitivity, dilate, progress)
    share = float(found.mean())
    if not share:
        warn(
            f"no damage found; a --sensitivity above {sensitivity:g} finds fainter, "
            "and --mask takes a mask of your own"
        )
    elif share > MUCH:
        warn(
            f"{share:.0%} of the photo was taken for damage, more than a fifth; look "
            "at the mask (dear mask), paint on it, or give a --sensitivity below "
            f"{sensitivity:g}"
        )
    return found


def open_detector(name: str = BUNDLED) -> DamageDetector:
    """Opens the bundled detector, a weights file, or the one that a run trains.

    Raises:
      InputError: if there is none, or it is of another kind.
    """
    if name == BUNDLED:
        return bundled_detector()
    from dear_jax.inference.loading import find  # Which imports this.

    return DamageDetector(find(name).weights)


def _tiling(size: tuple[int, int], halo: int, step: int, most: int) -> Tiling:
    """The cheapest tiles of at most so many pixels, or the smallest."""
    ways = list(tilings(size, halo, step))
    small = (way for way in ways if way.read <= most)
    return next(small, None) or min(ways, key=lambda way: way.read)


def _tile_probability(
    model: dict, variables, tile: Num[np.ndarray, "H W 3"]
) -> Float32[np.ndarray, "H W"]:
    """The probabilities of a tile, as far as it has what they depend on."""
    height, width = size = tile.shape[:2]
    pads = [(0, -side % _GRID if side > _GRID else -side % 8) for side in size]
    padded = np.pad(tile, (*pads, (0, 0)))
    run = _program(freeze(model))
    return np.asarray(run(variables, padded, np.array(size, np.int32)))[:height, :width]


@functools.lru_cache(maxsize=4)
def _program(model: tuple):
    module = build(dict(model))

    def probability(variables, image, size):
        logits = module.apply(variables, to_floats(image)[None], size)
        return jax.nn.sigmoid(logits[0, :, :, 0])

    return compiled(probability)
