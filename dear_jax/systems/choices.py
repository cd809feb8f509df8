"""Systems with several sets of weights, of which the size of the photo decides."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from dear_jax.systems.restorer import Restorer
from dear_jax.weights import Weights, on_device


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
        self._choices = {key(weights): on_device(weights) for weights in choices}

    @property
    def variables(self) -> Any:
        """Of its only weights; may be replaced by others of the same shapes."""
        (weights,) = self._choices.values()
        return weights.variables

    @variables.setter
    def variables(self, variables: Any) -> None:
        ((key, weights),) = self._choices.items()
        self._choices = {key: weights._replace(variables=variables)}
