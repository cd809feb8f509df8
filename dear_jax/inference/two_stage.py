"""Two stages in either order: fill the holes, then enlarge; or enlarge, then fill.

The ways that the paper compares itself with (Sec. 3). The first stage hands a photo
of the input's kind to the second: choice: uint8 for uint8, as two programs would.
"""

import numpy as np
from jaxtyping import Bool, Float32, Num

from dear_jax.images import resize
from dear_jax.inference.restorer import Restorer


class TwoStage(Restorer):
    """An inpainter and an upscaler, one after the other.

    Attributes:
      first, second: the stages.
      inpaint_first: whether the inpainter is the first.
    """

    def __init__(
        self, name: str, first: Restorer, second: Restorer, inpaint_first: bool
    ):
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
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        target: tuple[int, int],
        levels: Float32[np.ndarray, " B"] | None = None,
    ) -> Num[np.ndarray, "B {target[0]} {target[1]} 3"]:
        """See `Restorer.restore`."""
        return self.stages(images, masks, target)[1]

    def stages(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        target: tuple[int, int],
    ) -> tuple[Num[np.ndarray, "B h w 3"], Num[np.ndarray, "B _ _ 3"]]:
        """The results of both stages; arguments as those of `restore`.

        In the second order the photos are enlarged with their holes black, the masks
        by nearest neighbour.
        """
        blank = np.zeros_like(masks)
        if self.inpaint_first:
            between = self.first.restore(images, masks, masks.shape[1:])
            return between, self.second.restore(between, blank, target)
        shown = np.where(masks[..., None], images.dtype.type(0), images)
        between = self.first.restore(shown, blank, target)
        enlarged = np.stack([resize.nearest(mask, target) for mask in masks])
        return between, self.second.restore(between, enlarged, target)

    def facts(self) -> list:
        """See `Restorer.facts`."""
        stages = [self.first.fingerprint(), self.second.fingerprint()]
        return [*super().facts(), self.inpaint_first, stages]
