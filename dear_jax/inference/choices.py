"""Systems with several sets of weights, of which the size of the photo decides."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from dear_jax.inference.devices import Placed
from dear_jax.inference.restorer import Restorer
from dear_jax.weights import Weights


class RestorerOfChoices(Restorer):
    """The base of upscalers (by scale) and inpainters (by side).

    Args:
      choices: weights of one architecture; of two with one key, the last counts.
      key: what tells them apart.
      name: what to call the system.
      trained: whether the weights are.
    """

    def __init__(
        self,
        choices: Sequence[Weights],
        key: Callable[[Weights], Hashable],
        name: str,
        trained: bool,
    ):
        super().__init__(name, choices[-1].provenance, trained)
        self._choices = {key(weights): Placed(weights) for weights in choices}

    @property
    def variables(self) -> Any:
        """Of its only weights; may be replaced by others of the same shapes."""
        (placed,) = self._choices.values()
        return placed.variables

    @variables.setter
    def variables(self, variables: Any) -> None:
        ((key, placed),) = self._choices.items()
        self._choices = {key: placed.replaced(variables)}

    def facts(self) -> list:
        """See `Restorer.facts`."""
        every = sorted(self._choices.items())
        return [*super().facts(), [[key, placed.digest] for key, placed in every]]
