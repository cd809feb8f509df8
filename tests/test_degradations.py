"""Degraded training examples: deterministic, in range, and off when they are off."""

import dataclasses
import hashlib

import ml_collections
import numpy as np
import pytest
from prepared import assert_equal_batches, first
from tiny import tiny_config

from configs import quickstart
from dear_jax import bundled
from dear_jax.data import pipeline, settings
from dear_jax.data.degradations import degraded, toned
from dear_jax.data.examples import Chooser, MakeExample
from dear_jax.data.masks import open_masks
from dear_jax.errors import InputError
from dear_jax.images import resize
from dear_jax.images.io import list_photos, read_photo


def ranges(**changes):
    """The ranges of configs/quickstart.py, all examples degraded."""
    data = quickstart.base().data
    data.degrade.share = 1.0
    return dataclasses.replace(settings.degradations(data), **changes)


def conditioned(**changes):
    """The data of a tiny run in which everything happens."""
    shares = {"degrade.share": 0.5, "damage.share": 0.25, "clean": 0.25}
    changes = {f"data.{key}": value for key, value in (shares | changes).items()}
    return tiny_config(**changes).data


@pytest.fixture(scope="module")
def crop():
    """A piece of a bundled photo, 96 x 96."""
    path = list_photos(bundled.PHOTOS)[0]
    whole = read_photo(path)
    return np.ascontiguousarray(resize.bicubic(whole, (128, 128))[16:112, 16:112])


def made(crop, seed=0, **changes):
    rng = np.random.default_rng(seed)
    return degraded(crop, resize.bicubic(crop, (48, 48)), ranges(**changes), rng)


# Of batches 1 and 2, made before there were degradations, damage and several sides.
FROZEN = {
    "queries": ({}, "0e02d868f58ccb42", "b5383283018a15cf"),
    "whole": (
        {"queries": 0, "scale": (2.0, 2.0), "masks": "lama", "augment": "dihedral"},
        "529d6244ced54da7",
        "97f30b17f77ac08f",
    ),
    "clean": (
        {"masks": "bundled", "clean": 0.5, "side": 24},
        "402257d89b769c02",
        "406b5e33d7faf650",
    ),
}


@pytest.mark.parametrize("name", FROZEN)
def test_batches_without_conditions_are_what_they_always_were(name):
    changes, content, mark = FROZEN[name]
    fields = {"photos": ("bundled",), "masks": "generated", "skip_unreadable": False,
              "side": 16, "scale": (1.0, 4.5), "queries": 64, "threads": 0,
              "workers": 0}  # fmt: skip
    off = {key: quickstart.base().data[key].to_dict() for key in ("degrade", "damage")}
    for more in ({}, off | {"side_weights": ()}):
        data = ml_collections.ConfigDict(fields | changes | more)
        digest = hashlib.sha256()
        for batch in first(2, pipeline.training_batches(data, 4, 7, 1)):
            for key in sorted(batch.keys() - {"clean", "level"}):
                digest.update(key.encode() + np.ascontiguousarray(batch[key]).tobytes())
        assert digest.hexdigest()[:16] == content
        assert pipeline.fingerprint(data, 7, 4) == mark


def test_an_undegraded_example_is_its_own_clean_one():
    (batch,) = first(1, pipeline.training_batches(tiny_config().data, 4, 0))
    np.testing.assert_array_equal(batch["clean"], batch["image"])
    assert batch["level"].dtype == np.float32 and not batch["level"].any()


@pytest.mark.parametrize("how", [{"threads": 3}, {"workers": 2}])
def test_conditioned_batches_do_not_depend_on_how_they_are_read(how):
    whole = first(4, pipeline.training_batches(conditioned(), 4, 0))
    batches = pipeline.training_batches(conditioned(**how), 4, 0)
    assert_equal_batches(first(4, batches), whole)
    if hasattr(batches, "close"):
        batches.close()
    resumed = pipeline.training_batches(conditioned(), 4, 0, start=2)
    assert_equal_batches(first(2, resumed), whole[2:])


def test_shares_are_those_of_all_examples(crop):
    data = conditioned(masks="generated", **{"damage.joined": 0.0})
    chooser = Chooser(open_masks("generated"), 16, (1.0, 1.0), 1, clean=0.25)
    make = MakeExample(chooser, settings.degradations(data), settings.damages(data))
    degraded_ones = intact = damaged = to_find = 0
    for seed in range(600):
        example = make.random_map(crop, np.random.default_rng(seed))
        degraded_ones += example["level"] > 0
        intact += not example["mask"].any()
        # The irregular masks miss all of 1 to 60 %, and change no pixel.
        plain = example["level"] == 0
        damaged += plain and not np.array_equal(example["image"], example["clean"])
        to_find += example["damage"].any()
    assert abs(to_find / 600 - 0.25) < 0.06
    assert abs(intact / 600 - 0.25) < 0.06
    assert abs(damaged / (600 - degraded_ones) - 0.25) < 0.07
    # Few draws skip all steps, and then they are not degraded.
    assert 0.42 < degraded_ones / 600 < 0.56


def test_levels_cover_the_range_and_follow_the_degradation(crop):
    clean = resize.bicubic(crop, (48, 48)).astype(float)
    found = [made(crop, seed) for seed in range(200)]
    levels = np.array([level for _, level in found])
    errors = np.array([np.abs(image - clean).mean() for image, _ in found])
    assert 0 <= levels.min() < 0.1 and 0.7 < levels.max() <= 1
    assert np.corrcoef(levels, errors)[0, 1] > 0.6


def test_noise_is_as_strong_as_its_level_says(crop):
    only_noise = {"blur": (0.0, 0.0), "quality": (100, 100), "noise": (12.0, 12.0)}
    deviations = []
    for seed in range(60):
        image, level = made(np.full_like(crop, 128), seed, **only_noise)
        # Otherwise no noise, salt and pepper, or a shrink.
        if np.isclose(level, 0.5 / 3**0.5):
            deviations.append(image.astype(float).std())
    # JPEG takes some of the colour's.
    assert len(deviations) > 25 and max(deviations) < 13
    assert 10.5 < np.median(deviations)


def test_tone_keeps_grey_grey_and_greys_by_its_shares(crop):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        grey = toned(crop, ranges(grey=1.0, sepia=0.0), rng)
        assert np.ptp(grey, axis=2).max() == 0
        sepia = toned(crop, ranges(grey=0.0, sepia=1.0, faded=0.0), rng).astype(int)
        assert (sepia[..., 0] >= sepia[..., 1]).all()
        assert (sepia[..., 1] >= sepia[..., 2]).all()
        plain = ranges(grey=0.0, sepia=0.0, faded=0.0)
        np.testing.assert_array_equal(toned(crop, plain, rng), crop)


def test_the_target_has_the_tone_of_the_input(crop):
    tone = ranges(grey=1.0, sepia=0.0, blur=(0, 0), noise=(0, 0), quality=(100, 100))
    chooser = Chooser(open_masks("none"), 48, (2.0, 2.0), 0)
    example = MakeExample(chooser, tone).random_map(crop, np.random.default_rng(0))
    assert np.ptp(example["target"], axis=2).max() == 0
    reduced = resize.bicubic(
        np.rint(255 * example["target"]).astype(np.uint8), (48, 48)
    )
    np.testing.assert_array_equal(np.rint(255 * example["clean"]), reduced)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"degrade.share": 1.5}, r"degrade\.share=1\.5: must lie in \[0, 1\]"),
        ({"degrade.blur": (0.0, 3.0)}, r"degrade\.blur=\(0\.0, 3\.0\).*<= 2\.6"),
        ({"degrade.noise": (5.0, 1.0)}, r"degrade\.noise=.*low <= high <= 24"),
        ({"degrade.quality": (10, 90)}, r"degrade\.quality=.*20 <= low"),
        ({"damage.kinds": ("rust",)}, r"damage\.kinds=\('rust',\): choose from 'dust'"),
        ({"damage.area": (0.0, 0.1, 0.2)}, r"damage\.area=.*0 < low <= typical"),
        ({"damage.share": 0.8}, r"damage\.share=0\.8, config\.data\.clean=0\.25"),
        ({"render": "resident"}, r"degrade\.share=0\.5: .*config.data.render='host"),
        ({"render": "resident", "degrade.share": 0.0},
         r"damage\.share=0\.25: .*'resident' makes no such.*render='host'"),
    ],
)  # fmt: skip
def test_unusable_conditions_are_named(changes, named):
    with pytest.raises(InputError, match=named):
        pipeline.training_batches(conditioned(**changes), 4, 0)


def test_the_fingerprint_changes_with_the_conditions():
    marks = [
        pipeline.fingerprint(conditioned(**changes), 0, 4)
        for changes in ({}, {"degrade.share": 0.4}, {"degrade.blur": (0.0, 2.0)},
                        {"damage.share": 0.2}, {"damage.kinds": ("dust",)},
                        {"damage.joined": 0.5}, {"degrade.share": 0.0})
    ]  # fmt: skip
    assert len(set(marks)) == len(marks)
