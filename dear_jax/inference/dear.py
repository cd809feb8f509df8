"""DEAR as a system: photos and pictures of any size, in the memory there is."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Num

from dear_jax.inference import encoding, rendering
from dear_jax.inference.plan import Plan, fits, make_plan, plan_holes
from dear_jax.inference.progress import Advance
from dear_jax.inference.query import QueryRestorer
from dear_jax.inference.rendering import View


class DearRestorer(QueryRestorer):
    """Completes and enlarges photos with DEAR; see `QueryRestorer`."""

    @property
    def takes_denoise(self) -> bool:
        """See `Restorer.takes_denoise`."""
        return self.model["level_input"]

    def plan(
        self,
        source: tuple[int, int],
        target: tuple[int, int],
        max_memory: float | None = None,
    ) -> Plan:
        """See `Restorer.plan`."""
        return make_plan(self.model, source, target, max_memory)

    def plan_holes(
        self, mask: Bool[np.ndarray, "H W"], max_memory: float | None = None
    ) -> Plan:
        """See `Restorer.plan_holes`."""
        return plan_holes(self.model, mask, max_memory)

    def _fits(self, plan: Plan) -> bool:
        """See `QueryRestorer._fits`."""
        parts = [part for _, part in plan.windows] or [plan]
        return all(fits(part, self.model) for part in parts)

    def _encode(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        levels: Float32[np.ndarray, " B"],
        plan: Plan,
        advance: Advance,
    ) -> tuple[Any, Float[jax.Array, "B h w 1"] | None]:
        return encoding.encode(self._placed, images, masks, levels, plan, advance)

    def _render(
        self,
        maps: Any,
        source: tuple[int, int],
        view: View,
        kind: np.dtype,
        advance: Advance,
    ) -> Num[np.ndarray, "B {view.size[0]} {view.size[1]} 3"]:
        return rendering.render(self._placed, maps, source, view, kind, advance)
