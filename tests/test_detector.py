"""The damage detector: what turns the photo turns the result; tiles are the whole."""

import itertools

import cv2
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from rounding import assert_close

from dear_jax.errors import InputError
from dear_jax.inference import damage
from dear_jax.inference.damage import DamageDetector, damaged
from dear_jax.models.detector.detector import Detector
from dear_jax.models.detector.inputs import HATS, seen, top_hats
from dear_jax.models.detector.levels import doubled, halved, levels_of
from dear_jax.models.detector.turning import TURNS, TurnConv, turned, turned_taps
from dear_jax.models.registry import build, fields_of, init_variables
from dear_jax.training.objectives import DamageObjective
from dear_jax.weights import Weights

# Convolutions one after the other, and how large their logits become.
LAYERS, SIZE = 8, 10

FLIPS = {
    "upside down": lambda x: x[::-1],
    "left to right": lambda x: x[:, ::-1],
    "transposed": lambda x: x.swapaxes(0, 1),
}


def photo(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


@pytest.fixture(scope="module")
def detector() -> DamageDetector:
    """One with random weights, half of whose probabilities lie between 0.1 and 0.9."""
    fields = {**fields_of("damage-detector"), "widths": (1, 1, 2), "depths": (1, 2)}
    variables = init_variables(build(fields), 3)
    found = DamageDetector(Weights(variables, fields, {}))
    logits = found.probability(photo((40, 40)))
    logits = np.log(logits / (1 - logits))
    params = variables["params"]
    for head in (params[f"head_{level}"] for level in range(3)):
        head["kernel"] = head["kernel"] * 2 / logits.std()
    params["bias"] = (params["bias"] - logits.mean()) * 2 / logits.std()
    return DamageDetector(Weights(variables, fields, {}))


# The network.


@pytest.mark.parametrize("size", [(32, 32), (33, 18), (31, 45), (6, 7), (1, 1)])
@pytest.mark.parametrize("flip", FLIPS)
def test_flips_and_transposes_commute_at_any_size(detector, flip, size):
    turn, image = FLIPS[flip], photo(size)
    found = detector.probability(turn(image))
    assert_close(found, turn(detector.probability(image)), LAYERS, SIZE)


def test_a_photo_in_a_larger_array_is_that_photo():
    model = Detector((1, 2, 2), (1, 1))
    image = jax.random.uniform(jax.random.key(0), (1, 21, 14, 3))
    variables = model.init(jax.random.key(1), image)
    large = jnp.full((1, 40, 24, 3), 0.7).at[:, :21, :14].set(image)
    found = model.apply(variables, large, (21, 14))
    assert_close(found[:, :21, :14], model.apply(variables, image), LAYERS, SIZE)


@pytest.mark.parametrize("lifts", [True, False])
def test_kernels_are_one_kernel_in_all_flips_and_transposes(lifts):
    x = jax.random.normal(jax.random.key(0), (1, 9, 9, 3 if lifts else 2 * TURNS))
    layer = TurnConv(2, lifts=lifts)
    variables = layer.init(jax.random.key(1), x)
    params, y = variables["params"], layer.apply(variables, x)
    ways = list(itertools.product((False, True), repeat=3))
    turns = 1 if lifts else TURNS
    kernel = np.asarray(params["kernel"]).reshape(3, 3, turns, -1, 2)
    number = np.arange(9).reshape(3, 3)
    inputs = x.reshape(1, 9, 9, -1, turns)
    for g, way in enumerate(ways):
        expected = jnp.zeros((1, 9, 9, 2))
        for h, other in enumerate(ways[:turns]):
            # The kernel's turn h meets the input's turn g h.
            both = turned(turned(number, other), way)
            (k,) = (i for i, w in enumerate(ways) if (turned(number, w) == both).all())
            taps = np.stack(
                [
                    [turned(kernel[:, :, h, i, o], way) for o in range(2)]
                    for i in range(kernel.shape[3])
                ]
            )
            expected += lax.conv_general_dilated(
                inputs[..., k if turns > 1 else 0],
                taps.transpose(2, 3, 0, 1),
                (1, 1),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        assert_close(y.reshape(1, 9, 9, 2, TURNS)[..., g], expected, 2)


def test_each_tap_stands_once_in_each_turned_copy():
    for turns in (1, TURNS):
        for taps in np.moveaxis(turned_taps(3, turns), -1, 0):
            assert sorted(taps.ravel()) == list(range(9 * turns))


def test_top_hats_are_opencvs_and_stay_inside():
    image = np.random.default_rng(0).random((1, 21, 26, 3)).astype(np.float32)
    inside = jnp.zeros((1, 32, 40, 1)).at[:, :21, :26].set(1)
    large = jnp.full((1, 32, 40, 3), 0.5).at[:, :21, :26].set(image)
    found = [hat[0, ..., 0] for hat in top_hats(large, inside)]
    grey, kinds = image[0].mean(-1), (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)
    expected = [
        cv2.morphologyEx(grey, kind, np.ones((side, side), np.uint8))
        for side in HATS
        for kind in kinds
    ]
    for hat, one in zip(found, expected, strict=True):
        assert_close(hat[:21, :26], one)
        assert not hat[21:].any() and not hat[:, 26:].any()


def test_what_stands_out_is_relative_to_its_neighbourhood():
    image = np.random.default_rng(0).random((60, 70, 3)).astype(np.float32)
    whole, half = levels_of(jnp.asarray(image)[None], (60, 70), 2)
    found = np.asarray(seen(image[None], whole, half, 17))[0]
    hats = np.concatenate(top_hats(image[None], whole.inside), -1)[0]

    def mean(x: np.ndarray) -> np.ndarray:
        """Of the pairs of pixels around each pixel's own."""
        return x[30 - 16 : 30 + 18, 34 - 16 : 34 + 18].mean((0, 1))

    # The mean of the neighbourhood is subtracted first, each pixel's own.
    usual = mean(hats) + 0.006
    assert_close(found[30, 34, 3:7], 0.3 * hats[30, 34] / usual, 20, 5)
    assert_close(found[30, 34, 7], np.log(usual.sum()) + 2, 20, 5)
    ratio = found[30, 34, :3] / (image[30, 34] - mean(image))
    assert np.ptp(ratio) < 1e-3
    assert 1 / 0.33 < ratio[0] < 1 / 0.25  # Of random numbers.


def test_what_is_outside_is_not_seen():
    image = np.random.default_rng(0).random((1, 40, 45, 3)).astype(np.float32)
    large = jnp.full((1, 48, 48, 3), 0.5).at[:, :40, :45].set(image)
    found = seen(large, *levels_of(large, (40, 45), 2), 17)
    assert not found[:, 40:].any() and not found[:, :, 45:].any()
    dark = large.at[:, 40:].set(0).at[:, :, 45:].set(0)
    assert (seen(dark, *levels_of(dark, (40, 45), 2), 17) == found).all()


@pytest.mark.parametrize("side", [8, 7, 2, 1])
def test_halving_and_doubling_prefer_no_side(side):
    x = jax.random.normal(jax.random.key(0), (1, side + side % 2, 4, 1))
    x = x.at[:, side:].set(0)
    size, short = jnp.array([side, 4]), -(-side // 2)
    turn = lambda x, n: x.at[:, :n].set(x[:, :n][:, ::-1])  # noqa: E731
    small = halved(x, size)
    assert_close(
        halved(turn(x, side), size)[:, :short], small[:, :short][:, ::-1], 1e-6
    )
    large = doubled(small, size)[:, :side]
    again = doubled(turn(small, short), size)[:, :side]
    assert_close(again, large[:, ::-1], 3)


def test_widths_and_depths_go_together():
    with pytest.raises(InputError, match="give one for each of the 2 levels"):
        build({**fields_of("damage-detector"), "widths": (1, 2, 2)})


def test_the_default_is_small():
    variables = init_variables(build(fields_of("damage-detector")), 0)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) < 1_000_000


# The loss.


class Constant(nn.Module):
    """A model whose logits are its variables."""

    def __call__(self, image):
        return self.get_variable("params", "logits")


def loss(logits, target, **fields) -> jax.Array:
    batch = {"image": jnp.zeros((1,)), "damage": jnp.asarray(target, jnp.float32)}
    variables = {"params": {"logits": jnp.asarray(logits, jnp.float32)}}
    return DamageObjective(**fields).loss(Constant(), variables, batch)[0]


def test_an_undamaged_photo_counts_in_the_loss():
    logits, target = jnp.linspace(-2, 2, 8).reshape(2, 2, 2, 1), np.zeros((2, 2, 2, 1))
    for dice in (0.0, 0.3):
        gradient = jax.grad(lambda x: loss(x, target, dice=dice))(logits)  # noqa: B023
        assert (gradient > 0).all()
    expected = np.mean(np.log1p(np.exp(np.linspace(-2, 2, 8))))
    assert_close(loss(logits, target, dice=0.0), expected)


def test_damage_that_does_not_show_counts_for_neither():
    logits, target = np.array([1.0, -1.0, 3.0]), np.array([1.0, 0.5, 0.0])
    gradient = jax.grad(loss)(jnp.asarray(logits), target)
    assert gradient[1] == 0 and gradient[0] < 0 < gradient[2]


def test_damaged_pixels_weigh_as_much_as_is_said():
    given = {"logits": np.zeros(4), "target": [1, 0, 0, 0], "dice": 0.0}
    single = loss(**given, damaged=1.0)
    assert_close(loss(**given, damaged=5.0), 2 * single)


def test_the_second_term_is_the_overlap_of_all_photos_together():
    target = np.array([1.0, 1.0, 0.0, 0.0])
    for right, dice in ((target, 1.0), (1 - target, 1 / 5)):
        logits = 60 * (2 * right - 1)
        terms = [loss(logits, target, damaged=1.0, dice=d) for d in (0.0, 1.0)]
        assert_close(terms[1] - terms[0], 1 - dice, size=60)


# Whole photos.


@pytest.mark.parametrize("size", [(75, 66), (24, 130), (61, 9)])
def test_tiles_are_the_whole(detector, size):
    image = photo(size)
    whole = detector.probability(image)
    assert 0.1 < whole.std()
    for most in (48 * 48, 0):
        assert_close(detector.probability(image, most), whole, LAYERS, SIZE)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_photos_may_be_bytes_or_floats(detector, dtype):
    image = photo((20, 17))
    given = image if dtype == np.uint8 else (image / 255).astype(dtype)
    assert_close(detector.probability(given), detector.probability(image), LAYERS, SIZE)


def test_a_mask_contains_those_of_lower_sensitivities(detector):
    found = detector.probability(photo((50, 50)))
    masks = [
        damaged(found, s, dilate) for dilate in (0, 2) for s in np.linspace(0, 1, 11)
    ]
    for low, high in itertools.pairwise(masks[:11]):
        assert (low <= high).all()
    assert not masks[0].all() and masks[10].any()
    assert all((a <= b).all() for a, b in zip(masks[:11], masks[11:], strict=True))


@pytest.mark.parametrize("sensitivity", [-0.1, 1.5, float("nan")])
def test_another_sensitivity_is_refused(sensitivity):
    with pytest.raises(InputError, match="sensitivity=.*give a number from 0"):
        damaged(np.zeros((4, 4), np.float32), sensitivity)


def test_photos_with_none_or_too_much_are_said(monkeypatch, detector):
    monkeypatch.setattr(damage, "bundled_detector", lambda: detector)
    for level, said in ((0.0, "no damage found"), (1.0, "100% of the photo was taken")):
        flat = lambda image, **_: np.full(image.shape[:2], level, np.float32)  # noqa: B023,E731
        monkeypatch.setattr(detector, "probability", flat)
        remarks = []
        damage.found_damage(photo((8, 8)), warn=remarks.append)
        assert len(remarks) == 1 and said in remarks[0]


def test_weights_of_another_model_are_refused():
    fields = {**fields_of("edsr"), "width": 4, "blocks": 1}
    with pytest.raises(InputError, match="a edsr finds no damage|edsr finds no damage"):
        DamageDetector(Weights({}, fields, {}))
