"""Between fidelity and texture: exact at both ends, a straight line between them."""

import jax
import numpy as np
import pytest
from tiny import example, tiny_restorer

import dear_jax
from dear_jax import bundled
from dear_jax.cli.main import main
from dear_jax.errors import InputError
from dear_jax.images.io import read_photo, write_photo
from dear_jax.inference import loading as pretrained
from dear_jax.inference.loading import find_weights, open_system
from dear_jax.inference.texture import is_texture_of_another, mixed, texture_path
from dear_jax.weights import Weights, write_weights


def weights_of(seed: int, **changes) -> Weights:
    restorer = tiny_restorer("dear-lite", seed, **changes)
    return Weights(jax.device_get(restorer.variables), restorer.model, {"seed": seed})


FIDELITY, TEXTURE = weights_of(0), weights_of(1)


def equal(some, others) -> bool:
    pairs = zip(jax.tree.leaves(some), jax.tree.leaves(others), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def file(tmp_path):
    """A weights file with texture weights beside it."""
    file = tmp_path / "tiny.safetensors"
    write_weights(file, FIDELITY)
    write_weights(texture_path(file), TEXTURE)
    return file


def test_texture_weights_lie_beside_their_file(tmp_path, file):
    beside = tmp_path / "tiny-texture.safetensors"
    assert texture_path(file) == beside
    assert is_texture_of_another(beside) and not is_texture_of_another(file)
    file.unlink()
    assert not is_texture_of_another(beside)


def test_both_ends_are_their_files_to_the_bit(file):
    assert equal(dear_jax.load(file, texture=0).variables, FIDELITY.variables)
    assert equal(dear_jax.load(file, texture=1).variables, TEXTURE.variables)


def test_between_the_ends_weights_lie_on_a_straight_line(file):
    for t in (0.25, 0.5):
        found = dear_jax.load(file, texture=t).variables
        trees = map(jax.tree.leaves, (found, FIDELITY.variables, TEXTURE.variables))
        for mine, a, b in zip(*trees, strict=True):
            assert mine.dtype == np.float32
            expected = (1 - t) * np.float64(a) + t * np.float64(b)
            np.testing.assert_array_equal(mine, np.float32(expected))


def test_what_both_have_in_common_stays_to_the_bit():
    for t in (0.1, 0.37, 0.9):
        assert equal(mixed(FIDELITY, FIDELITY, t).variables, FIDELITY.variables)


def test_a_restorer_changes_its_texture_any_number_of_times(file):
    first = dear_jax.load(file)
    image, mask = (x[0] for x in example((12, 10))[:2])
    before = first(image, mask[..., 0], scale=2)
    middle = first.with_texture(0.7)
    assert not np.array_equal(middle(image, mask[..., 0], scale=2), before)
    for back in (middle.with_texture(0.2).with_texture(0), first):
        np.testing.assert_array_equal(back(image, mask[..., 0], scale=2), before)
    assert equal(middle.with_texture(0.5).variables, first.with_texture(0.5).variables)
    assert middle.facts() != first.facts()


def test_provenance_says_what_was_mixed(file):
    made = dear_jax.load(file, texture=0.5).provenance
    assert made == {"seed": 0, "texture": 0.5, "texture_weights": {"seed": 1}}
    assert dear_jax.load(file, texture=0).provenance == {"seed": 0}


@pytest.mark.parametrize("amount", [-0.1, 1.01, float("nan"), "much", None])
def test_what_is_no_number_from_0_to_1_is_refused(amount, file):
    for refuse in (
        lambda: dear_jax.load(file, texture=amount),
        lambda: dear_jax.load(file).with_texture(amount),
        lambda: dear_jax.load("telea").with_texture(amount),
    ):
        with pytest.raises(InputError, match="give a number from 0"):
            refuse()


def test_texture_without_its_file_is_refused_by_the_name_that_is_missing(file):
    texture_path(file).unlink()
    with pytest.raises(InputError, match="tiny-texture.safetensors: no such file"):
        dear_jax.load(file, texture=0.5)
    for system in ("telea", "telea+bicubic"):
        assert dear_jax.load(system, texture=0).with_texture(0)
        with pytest.raises(InputError, match=f"{system[:5]}.* has no texture weights"):
            dear_jax.load(system, texture=0.5)


def test_texture_weights_of_another_model_are_refused_by_field(file):
    other = weights_of(1, decoder_width=12)
    write_weights(texture_path(file), other)
    message = "tiny-texture.*decoder_width = 12, the fidelity weights 8"
    with pytest.raises(InputError, match=message):
        dear_jax.load(file, texture=0.5)


def test_a_bundled_model_has_its_texture_beside_it(file, monkeypatch):
    monkeypatch.setattr(pretrained.bundled, "WEIGHTS", file.parent)
    assert equal(dear_jax.load("tiny", texture=1).variables, TEXTURE.variables)
    assert equal(dear_jax.load("tiny").variables, FIDELITY.variables)


def test_a_folder_of_weights_counts_a_file_and_its_texture_once(file):
    clean = FIDELITY._replace(provenance={"config": {"data": {"clean": 0.0}}})
    write_weights(file, clean)
    write_weights(texture_path(file), TEXTURE._replace(provenance=clean.provenance))
    assert list(find_weights(file.parent, "dear-lite", True)) == ["tiny.safetensors"]
    system = open_system("dear-lite", file.parent)
    assert equal(system.with_texture(1).variables, TEXTURE.variables)


def test_the_list_of_models_shows_which_have_texture(file, monkeypatch, capsys):
    monkeypatch.setattr(bundled, "WEIGHTS", file.parent)
    assert main(["models"]) == 0
    told = capsys.readouterr().out
    assert "texture: --texture up to 1, tiny-texture.safetensors" in told
    assert "\n  tiny-texture" not in told


def test_the_command_takes_texture(file, monkeypatch, capsys):
    monkeypatch.chdir(file.parent)
    monkeypatch.setenv("DEAR_JAX_CACHE", "off")
    image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    write_photo("photo.png", image)
    flags = ["restore", "photo.png", "--scale", "2", "--model", file.name]
    assert main([*flags, "--texture", "0.5", "-o", "out.png"]) == 0
    restorer = dear_jax.load(file, texture=0.5)
    np.testing.assert_array_equal(read_photo("out.png"), restorer(image, scale=2))
    capsys.readouterr()
    assert main([*flags, "--texture", "2", "-o", "other.png"]) == 2
    assert "--texture 2: give a number from 0 to 1" in capsys.readouterr().err
    texture_path(file).unlink()
    assert main([*flags, "--texture", "1", "-o", "other.png"]) == 2
    assert "tiny-texture.safetensors: no such file" in capsys.readouterr().err
