"""Batches of several sides: which, how many photos, and that nothing else matters."""

import jax
import numpy as np
import pytest
from prepared import assert_equal_batches, first
from tiny import tiny_config

from dear_jax.data import sides
from dear_jax.data.pipeline import training_batches
from dear_jax.data.resident import make_render
from dear_jax.errors import InputError
from dear_jax.images.io import write_photo
from dear_jax.training.check import check_split
from dear_jax.training.step import make_mesh


def several(side=(8, 12, 16), **changes):
    """The data of a tiny run."""
    data = tiny_config().data
    with data.ignore_type():
        data.side = side
        data.update(changes)
    return data


def batches_of(data, count, start=0, process=(0, 1), size=4):
    return first(count, training_batches(data, size, 3, start, process))


@pytest.mark.parametrize(
    ("side", "size", "expected"),
    [
        (16, 8, {16: 8}),
        ((48, 64, 96), 8, {48: 8, 64: 4, 96: 2}),
        ((48, 64, 96), 16, {48: 16, 64: 8, 96: 4}),
        ((8, 800), 4, {8: 4, 800: 1}),
        ((64, 32), 4, {64: 4, 32: 4}),
    ],
)
def test_a_batch_of_larger_photos_has_no_more_pixels(side, size, expected):
    assert sides.batch_sizes(several(side), size) == expected


def test_photos_and_queries_of_each_batch_are_those_of_its_side():
    data = several()
    for number, batch in enumerate(batches_of(data, 12)):
        side = sides.side_of_batch(data, 3, number)
        size = sides.batch_sizes(data, 4)[side]
        assert batch["image"].shape == (size, side, side, 3)
        assert batch["colours"].shape == (size, data.queries * 4 // size, 3)


def test_sides_come_as_often_as_their_weights_say():
    data = several((8, 12), side_weights=(3.0, 1.0))
    drawn = [sides.side_of_batch(data, 0, number) for number in range(2000)]
    assert abs(drawn.count(8) / 2000 - 0.75) < 0.03
    assert sides.mean_batch_size(data, 8) == 0.75 * 8 + 0.25 * 2


@pytest.mark.parametrize("how", [{"threads": 3}, {"workers": 2}])
def test_batches_of_several_sides_do_not_depend_on_how_they_are_read(how):
    whole = batches_of(several(), 6)
    batches = training_batches(several(**how), 4, 3)
    assert_equal_batches(first(6, batches), whole)
    if hasattr(batches, "close"):
        batches.close()


def test_several_sides_resume_anywhere():
    whole = batches_of(several(), 8)
    for start in (1, 5):
        assert_equal_batches(batches_of(several(), 8 - start, start), whole[start:])


def test_parts_of_processes_are_batches_of_several_sides():
    data = several((8, 11))
    parts = [batches_of(data, 5, 0, (i, 2)) for i in (0, 1)]
    together = [
        {key: np.concatenate([part[key] for part in both]) for key in both[0]}
        for both in zip(*parts, strict=True)
    ]
    assert_equal_batches(together, batches_of(data, 5))


def test_every_side_must_be_split_over_processes_and_devices():
    with pytest.raises(InputError, match="side 12: 1, no .* 2 processes"):
        training_batches(several(), 4, 3, 0, (0, 2))
    config = tiny_config()
    config.data = several()
    with pytest.raises(InputError, match=r"side 12: 1, not .* 2 parts.*batch_size"):
        check_split(config, make_mesh(4, jax.devices()[:2]))


def test_examples_of_several_sides_are_the_same_wherever_they_are_made(tmp_path):
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (80, 90, 3), np.uint8)
        write_photo(tmp_path / f"{i}.png", pixels)
    data = several(photos=(str(tmp_path),))
    host = batches_of(data, 6)
    data.render = "resident"
    place = make_render(data, make_mesh(4, jax.devices()[:1]))
    rendered = [
        {key: np.asarray(value) for key, value in place(batch).items()}
        for batch in batches_of(data, 6)
    ]
    assert_equal_batches(rendered, host)
