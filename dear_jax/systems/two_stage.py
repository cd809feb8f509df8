"""Two stages in either order: fill the holes, then enlarge; or enlarge, then fill.

The ways that the paper compares itself with (Sec. 3). The first stage hands a photo
of the input's kind to the second: choice: uint8 for uint8, as two programs would.
"""

import numpy as np

from dear_jax import resize
from dear_jax.systems.restorer import Restorer


class TwoStage(Restorer):
    """An inpainter and an upscaler, one after the other.

    Attributes:
      first, second: the stages.
      inpaint_first: whether the inpainter is the first.
    """

    def __init__(self, name: str, first: Restorer, second: Restorer, inpaint_first):
        provenance = {first.name: first.provenance, second.name: second.provenance}
        super().__init__(name, provenance, first.trained and second.trained)
        self.files = first.files + second.files
        self.first, self.second = first, second
        self.inpaint_first = inpaint_first

    def check(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        """Raises InputError if its upscaler cannot."""
        upscaler = self.second if self.inpaint_first else self.first
        upscaler.check(source, target)

    def remark(self, source: tuple[int, int], target: tuple[int, int]) -> str:
        """The remarks of its stages."""
        inpainter, upscaler = self.first, self.second
        at = source
        if not self.inpaint_first:
            inpainter, upscaler, at = upscaler, inpainter, target
        remarks = inpainter.remark(at, at), upscaler.remark(source, target)
        return "; ".join(filter(None, remarks))

    def restore(
        self, image: np.ndarray, mask: np.ndarray, target: tuple[int, int]
    ) -> np.ndarray:
        """See `Restorer.restore`."""
        return self.stages(image, mask, target)[1]

    def stages(
        self, image: np.ndarray, mask: np.ndarray, target: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The results of both stages; arguments as those of `restore`.

        In the second order the photo is enlarged with its holes black, the mask by
        nearest neighbour.
        """
        if self.inpaint_first:
            between = self.first(image, mask)
            return between, self.second(between, size=target)
        shown = np.where(mask[..., None], image.dtype.type(0), image)
        between = self.first(shown, size=target)
        return between, self.second(between, resize.nearest(mask, target))
