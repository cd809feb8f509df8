"""Weights files give back what was written, or say what is wrong."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny import tiny_restorer

import dear_jax
from dear_jax.errors import InputError
from dear_jax.models.registry import build
from dear_jax.weights import Weights, read_weights, write_weights


@pytest.fixture(scope="module")
def weights():
    restorer = tiny_restorer("dear-lite")
    return Weights(restorer.variables, restorer.model, {"terms": "none"})


def leaves(weights: Weights) -> list[np.ndarray]:
    return jax.tree.leaves(weights.variables)


def test_float32_weights_come_back_to_the_bit(weights, tmp_path):
    write_weights(tmp_path / "w.safetensors", weights)
    again = read_weights(tmp_path / "w.safetensors")
    for a, b in zip(leaves(again), leaves(weights), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.provenance == weights.provenance
    assert build(again.model) == build(weights.model)


def test_the_same_weights_are_the_same_bytes(weights, tmp_path):
    files = [tmp_path / f"{i}.safetensors" for i in range(6)]
    for file in files:
        write_weights(file, weights)
    assert len({file.read_bytes() for file in files}) == 1


def test_bfloat16_weights_are_within_its_rounding(weights, tmp_path):
    write_weights(tmp_path / "w.safetensors", weights, dtype="bfloat16")
    again = read_weights(tmp_path / "w.safetensors")
    for a, b in zip(leaves(again), leaves(weights), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=2**-8)


def test_a_flipped_bit_is_noticed(weights, tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, weights)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="its hash differs"):
        read_weights(path)


def test_changed_terms_are_noticed(weights, tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, weights)
    path.write_bytes(path.read_bytes().replace(b"none", b"free"))
    with pytest.raises(InputError, match="its hash differs"):
        read_weights(path)


def test_weights_that_do_not_fit_their_model_are_refused(weights, tmp_path):
    wider = {**weights.model, "decoder_width": 9}
    write_weights(tmp_path / "w.safetensors", weights._replace(model=wider))
    with pytest.raises(InputError, match="does not fit its model: params/decoder"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    "field, value, says",
    [
        ("architecture", ["lte"], r"architecture = \['lte'\]; choose from"),
        ("decoder_width", "x", "decoder_width = 'x'; give a whole number"),
    ],
)
def test_fields_that_make_no_sense_are_named_with_their_file(
    weights, tmp_path, field, value, says
):
    path = tmp_path / "w.safetensors"
    write_weights(path, weights._replace(model={**weights.model, field: value}))
    for read in (read_weights, dear_jax.load):
        with pytest.raises(InputError, match=f"w.safetensors: model field {says}"):
            read(path)


@pytest.mark.parametrize("content", [b"", b"hello, I am a text", b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused_by_name(content, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="w.safetensors"):
        read_weights(path)


def test_foreign_safetensors_are_refused(tmp_path):
    save_file({"x": np.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="written by dear_jax"):
        read_weights(tmp_path / "w.safetensors")


def test_an_interrupted_write_keeps_the_old_file(weights, tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    write_weights(path, weights)
    before = path.read_bytes()

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_weights(path, weights._replace(provenance={"terms": "other"}))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
