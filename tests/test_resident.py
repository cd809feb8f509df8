"""Laws of examples made on the devices: they are those made on the host, to the bit."""

import jax
import ml_collections
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from prepared import assert_equal_batches, first

from dear_jax import bundled
from dear_jax.data import resident
from dear_jax.data.pipeline import training_batches
from dear_jax.data.resident import make_render
from dear_jax.data.sources import Photos
from dear_jax.errors import InputError
from dear_jax.images import resize
from dear_jax.images.io import list_photos, read_photo, write_photo

SIDE = 12


def settings(photos, **changes):
    return ml_collections.ConfigDict(
        {
            "photos": (str(photos),),
            "masks": "bundled",
            "skip_unreadable": False,
            "side": SIDE,
            "scale": (1.0, 4.5),
            "queries": 40,
            "clean": 0.2,
            "threads": 0,
            "workers": 0,
        }
        | changes
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The bundled photos, reduced to 56 x 64 pixels."""
    path = tmp_path_factory.mktemp("alike")
    for file in list_photos(bundled.PHOTOS):
        pixels = resize.bicubic(read_photo(file), (56, 64))
        write_photo(path / file.name, pixels)
    return path


def mesh_of(count):
    devices = jax.devices()[:count]
    types = (AxisType.Auto,)
    return jax.make_mesh((count,), ("data",), axis_types=types, devices=devices)


def rendered(data, devices=4, batch_size=8, count=2):
    """Batches as the loop has them, back on the host."""
    mesh = mesh_of(devices)
    split = NamedSharding(mesh, PartitionSpec("data"))
    render = make_render(data, mesh)
    batches = first(count, training_batches(data, batch_size, 3))
    return [jax.device_get(render(jax.device_put(batch, split))) for batch in batches]


def on_host(data, batch_size=8, count=2):
    host = ml_collections.ConfigDict(data.to_dict() | {"render": "host"})
    return first(count, training_batches(host, batch_size, 3))


KINDS = {
    "one scale": {"scale": (4.0, 4.0)},
    "any scale": {},
    "all orientations": {"augment": "dihedral"},
    "whole crops": {"scale": (2.5, 2.5), "queries": 0},
    "whole crops, all orientations": {
        "scale": (2.0, 2.0), "queries": 0, "augment": "dihedral",
    },
    "no enlargement": {"scale": (1.0, 1.0), "queries": 0},
    "more queries than pixels": {"scale": (1.0, 1.2), "queries": 200},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_rendered_examples_are_those_of_the_host(folder, kind):
    data = settings(folder, render="resident", **KINDS[kind])
    found, expected = rendered(data), on_host(data)
    assert_equal_batches(found, expected)
    for key, array in expected[0].items():
        assert found[0][key].dtype == array.dtype == np.float32


def test_four_devices_make_what_one_makes(folder):
    data = settings(folder, render="resident")
    assert_equal_batches(rendered(data, 4), rendered(data, 1))


def test_each_device_has_its_part_of_the_batch_and_all_photos(folder):
    data, mesh = settings(folder, render="resident"), mesh_of(4)
    render = make_render(data, mesh)
    split = NamedSharding(mesh, PartitionSpec("data"))
    batch = jax.device_put(next(training_batches(data, 8, 0)), split)
    for array in render(batch).values():
        assert {s.data.shape[0] for s in array.addressable_shards} == {2}
        assert array.sharding.is_equivalent_to(split, array.ndim)
    assert {s.data.shape for s in render._photos.addressable_shards} == {(7, 56, 64, 3)}


def test_batches_of_residents_are_a_few_numbers(folder):
    data = settings(folder, render="resident", scale=(4.0, 4.0))
    batch = next(training_batches(data, 8, 0))
    assert all(array.dtype != np.float32 for array in batch.values())
    numbers = 4 * (1 + 2 + 1 + 1 + data.queries) + SIDE**2
    assert sum(array.nbytes for array in batch.values()) == 8 * numbers


def test_the_host_renders_by_itself(folder):
    batch = {"image": 1}
    assert make_render(settings(folder), mesh_of(1))(batch) is batch


def test_photos_unlike_the_first_cannot_be_resident(folder, tmp_path):
    for file in sorted(folder.iterdir())[:2]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    write_photo(tmp_path / "odd.png", np.zeros((56, 63, 3), np.uint8))
    data = settings(tmp_path, render="resident")
    with pytest.raises(InputError, match=r"odd\.png: 63 x 56 .*data_prep .*--side 56"):
        make_render(data, mesh_of(1))


def test_photos_smaller_than_crops_cannot_be_resident(folder):
    data = settings(folder, render="resident", side=16)
    for refused in (make_render, lambda data, mesh: training_batches(data, 4, 0)):
        with pytest.raises(InputError, match=r"at least 72 x 72.*--side 72.*'host'"):
            refused(data, mesh_of(1))


class Device:
    """Tells how much memory there is."""

    def __init__(self, stats):
        self.memory_stats = lambda: stats

    def __str__(self):
        return "cuda:1"


def test_photos_that_devices_have_no_room_for_are_refused():
    free = Device({"bytes_limit": 3 * 2**30, "bytes_in_use": 2**30})
    resident.check_room((2, 2**14, 2**14, 3), [free, Device(None), Device({})])
    with pytest.raises(InputError, match=r"3\.0 GiB, and cuda:1 has 2\.0 GiB free"):
        resident.check_room((4, 2**14, 2**14, 3), [Device(None), free])


class Endless(Photos):
    """More photos than any machine has room for."""

    def __init__(self):
        pass

    def __len__(self):
        return 2**40

    def __getitem__(self, index):
        return np.zeros((56, 64, 3), np.uint8)


def test_photos_that_the_machine_has_no_room_for_are_refused():
    with pytest.raises(InputError, match=r"too little memory.*render='host'"):
        resident.load_photos(Endless(), 1, mesh_of(1))


def test_rendering_refuses_unknown_values(folder):
    with pytest.raises(InputError, match=r"config\.data\.render='cuda'"):
        make_render(settings(folder, render="cuda"), mesh_of(1))
