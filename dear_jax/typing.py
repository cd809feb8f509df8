"""Types of signatures. Shapes are jaxtyping's: `Float[Array, "B H W C"]`.

Sizes of one name are equal within a call: B photos of H x W pixels with C channels, Q
queries; h x w is the size of a result. The tests check all of them as they run.
"""

from typing import Any, TypeAlias

import jax
import numpy as np
from jaxtyping import Num

# What the compiled functions take and models are called with.
Array: TypeAlias = jax.Array | np.ndarray

# (H, W) of a photo inside of larger arrays; may be traced.
Size: TypeAlias = Num[Array, "2"] | tuple

# An `ml_collections.ConfigDict`, whose fields no type checker knows.
Config: TypeAlias = Any
