"""What the authors' code computes, ours computes.

Files of tests/goldens are made by `make_goldens.py`. Larger ones, MISF's among them,
are compared as well where they lie beside the checkout.
"""

from pathlib import Path

import parity
import pytest

from dear_jax.models.registry import ARCHITECTURES

SMALL = sorted((Path(__file__).parent / "goldens").glob("*.npz"))
LARGE = sorted((Path(__file__).parents[2] / "shared" / "golden").glob("*.npz"))
# These take longer than all the others together.
SLOW = ("big-lama", "lama-fourier", "metrics", "pixelfilter", "resize")


def marked(path: Path):
    slow = path in LARGE and path.stem.startswith(SLOW)
    marks = [pytest.mark.slow] if slow else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [*map(marked, SMALL + LARGE)])
def test_the_authors_answers_are_met(path):
    try:
        outcome = parity.check(path, None)
    except parity.Skipped as reason:
        pytest.skip(str(reason))
    for name, error, tolerance in outcome.comparisons:
        assert error <= tolerance, name


def test_every_system_whose_code_may_be_run_has_a_file():
    # Of dear and misf no code may be run; the detector is our own.
    systems = ARCHITECTURES.keys() - {"dear", "misf", "detector"}
    assert systems <= {path.stem.split("_")[0] for path in SMALL}


@pytest.mark.parametrize(
    "name, key",
    [
        ("edsr_x4", "tail.0.2.bias"),
        ("elan", "body.1.modules_gmsa.gmsa_1.project_inp.1.running_mean"),
        ("lama", "model.5.conv2.ffc.convg2g.fu.bn.bias"),
        ("liif", "imnet.layers.0.weight"),
        ("lte", "phase.weight"),
    ],
)
def test_one_weight_of_the_other_sign_is_noticed(name, key):
    (path,) = (path for path in SMALL if path.stem == name)
    meta, arrays = parity.read(path)
    arrays[f"param/{key}"].flat[-1] *= -1
    outcome = parity.compare(meta, arrays, None)
    assert any(error > tolerance for _, error, tolerance in outcome.comparisons)
