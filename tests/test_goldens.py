"""What the authors' code computes, ours computes.

Files of tests/goldens are made by `make_goldens.py`. Larger ones, MISF's among them,
are compared as well where they lie beside the checkout.
"""

import functools
from pathlib import Path

import parity
import pytest

SMALL = sorted((Path(__file__).parent / "goldens").glob("*.npz"))
LARGE = sorted((Path(__file__).parents[2] / "shared" / "golden").glob("*.npz"))


@pytest.mark.parametrize("path", SMALL + LARGE, ids=lambda path: path.stem)
def test_the_authors_answers_are_met(path):
    try:
        outcome = parity.check(path, None)
    except parity.Skipped as reason:
        pytest.skip(str(reason))
    for name, error, tolerance in outcome.comparisons:
        assert error <= tolerance, name
