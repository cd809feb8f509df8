"""dear_jax: complete and enlarge small, damaged photographs (SuperInpaint).

    restorer = dear_jax.load()
    completed = restorer(image, mask, scale=6)

`load` and `Restorer` are imported on first use, so that `import dear_jax` costs
next to nothing.
"""

import importlib
from typing import TYPE_CHECKING

from dear_jax.errors import InputError

if TYPE_CHECKING:
    from dear_jax.pretrained import load
    from dear_jax.systems.restorer import Restorer

__version__ = "0.1.0"
__all__ = ["InputError", "Restorer", "__version__", "load"]

_HOMES = {"load": "pretrained", "Restorer": "systems.restorer"}


def __getattr__(name: str):
    if name in _HOMES:
        module = importlib.import_module(f"dear_jax.{_HOMES[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'dear_jax' has no attribute {name!r}")
