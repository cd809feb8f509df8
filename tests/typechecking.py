"""Checks the annotations of `dear_jax` while the tests run.

pytest's option `--jaxtyping-packages=dear_jax,typechecking.check`, see pyproject.toml,
decorates every function of the library by `check`.
"""

from collections.abc import Callable

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

# Whole numbers are floats, as they are to other type checkers.
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable) -> Callable:
    """`beartype`, but for what Flax annotates in ways that cannot be checked."""
    try:
        return _checked(function)
    except BeartypeDecorHintException:
        return function
