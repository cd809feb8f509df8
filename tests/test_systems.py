"""Systems: found by name, honest about what they cannot, one interface for all."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny import SMALLEST, draw_like

import dear_jax
from configs import celebahq
from dear_jax.errors import InputError, NoWeights
from dear_jax.images import resize
from dear_jax.inference.loading import BASELINES, is_system, open_system
from dear_jax.models.registry import build, fields_of, init_shapes
from dear_jax.weights import FORMAT, Weights, write_weights


def weights_of(name: str, seed: int = 0, data: dict | None = None, **changes):
    fields = {**fields_of(name), **SMALLEST.get(name, {}), **changes}
    variables = draw_like(init_shapes(build(fields)), seed=seed)
    facts = {} if data is None else {"config": {"data": data}}
    return Weights(variables, fields, facts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights files of every model, with names that say nothing."""
    folder = tmp_path_factory.mktemp("weights")
    masked, clean = {"side": 8, "clean": 0.0}, {"side": 8, "clean": 1.0}
    files = [
        weights_of("edsr", scale=2),
        weights_of("edsr", scale=3),
        weights_of("elan", scale=2),
        weights_of("misf", data=masked),
        weights_of("misf", seed=1, data={"side": 32, "clean": 0.0}),
        weights_of("lama", data=masked),
        weights_of("lte", data=clean),
        weights_of("lte", seed=1, data=masked),
        weights_of("liif"),
        weights_of("liif", seed=1, data=masked),
    ]
    for i, weights in enumerate(files):
        write_weights(folder / f"{i}.safetensors", weights)
    return folder


def photo_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def mask_of(height: int, width: int, ratio: float = 0.3) -> np.ndarray:
    return np.random.default_rng(1).random((height, width)) < ratio


def test_the_paper_has_eighteen_baselines():
    assert len(set(BASELINES)) == len(BASELINES) == 18
    assert {"misf+elan", "elan+misf", "lama+bilinear", "lte", "liif"} < set(BASELINES)
    assert all(map(is_system, BASELINES))


@pytest.mark.parametrize("name", [*BASELINES, "classical", "telea+lte"])
def test_every_system_restores_any_photo(name, folder):
    system = open_system(name, folder)
    photo, mask = photo_of(13, 9), mask_of(13, 9)
    result = system(photo, mask, scale=2)
    assert result.shape == (26, 18, 3) and result.dtype == np.uint8
    floats = system(photo / np.float32(255), mask, scale=2)
    assert floats.dtype == np.float32 and np.isfinite(floats).all()
    assert floats.min() >= 0 and floats.max() <= 1


@pytest.mark.parametrize("name", ["misf", "telea", "bilinear", "edsr", "lte"])
def test_what_goes_out_is_new_and_uint8_or_float32(name, folder):
    system, photo = open_system(name, folder), photo_of(8, 8)
    scale = 2 if name in ("edsr", "lte") else 1
    for given, kind in ((photo, np.uint8), (photo / 255, np.float32)):
        result = system(given, scale=scale)
        assert result.dtype == kind and not np.shares_memory(result, given)


@pytest.mark.parametrize("name", ["misf+edsr", "elan+lama", "lte", "liif", "misf"])
def test_what_lies_under_the_mask_cannot_matter(name, folder):
    system = open_system(name, folder)
    photo, mask = photo_of(8, 12) / np.float32(255), mask_of(8, 12)
    other = np.where(mask[..., None], np.nan, photo)
    scale = 1 if name == "misf" else 2
    np.testing.assert_array_equal(
        system(photo, mask, scale=scale), system(other, mask, scale=scale)
    )


@pytest.mark.parametrize("name", ["misf", "lama", "telea"])
def test_inpainters_keep_known_pixels(name, folder):
    photo, mask = photo_of(11, 10), mask_of(11, 10)
    result = open_system(name, folder)(photo, mask)
    np.testing.assert_array_equal(result[~mask], photo[~mask])
    assert (result[mask] != photo[mask]).any()


def test_two_stages_are_the_two_systems_in_turn(folder):
    photo, mask = photo_of(9, 8), mask_of(9, 8)
    misf, edsr = (open_system(name, folder) for name in ("misf", "edsr"))
    fill_first, enlarge_first = (
        open_system(name, folder)(photo, mask, scale=2)
        for name in ("misf+edsr", "edsr+misf")
    )
    np.testing.assert_array_equal(fill_first, edsr(misf(photo, mask), scale=2))
    black = np.where(mask[..., None], np.uint8(0), photo)
    expected = misf(edsr(black, scale=2), resize.nearest(mask, (18, 16)))
    np.testing.assert_array_equal(enlarge_first, expected)


def test_an_inpainter_takes_the_weights_trained_nearest_in_size(folder):
    system = open_system("misf", folder)
    assert system.remark((8, 8), (8, 8)) == ""
    assert "trained at 8 x 8, used at 12 x 12" in system.remark((12, 12), (12, 12))
    assert "trained at 32 x 32" in system.remark((24, 24), (24, 24))
    small, large = photo_of(8, 8), photo_of(32, 32)
    for photo, seed in ((small, 0), (large, 1)):
        mask = mask_of(*photo.shape[:2])
        weights = weights_of("misf", seed=seed)
        expected = jax.jit(build(weights.model).apply)(
            weights.variables,
            np.where(mask[..., None], 0, photo / np.float32(255))[None],
            mask[None, ..., None].astype(np.float32),
        )
        found = system(photo, mask)[mask].astype(np.float32) / 255
        np.testing.assert_allclose(found, np.clip(expected[0], 0, 1)[mask], atol=0.003)


def test_an_upscaler_refuses_scales_it_has_no_weights_for(folder):
    edsr = open_system("edsr", folder)
    assert edsr(photo_of(5, 4), scale=3).shape == (15, 12, 3)
    for scale in (1, 1.5, 4):
        with pytest.raises(NoWeights, match="edsr has weights for x2, x3 only"):
            edsr(photo_of(5, 4), scale=scale)
    with pytest.raises(NoWeights, match="elan has weights for x2 only"):
        open_system("elan+misf", folder)(photo_of(5, 4), mask_of(5, 4), scale=3)


def test_an_upscaler_takes_the_scale_that_fits_best(folder):
    """One pixel to three: two would do as well, within the rounding of sizes."""
    edsr = open_system("edsr", folder)
    assert edsr.remark((1, 1), (3, 3)) == edsr.remark((1, 1), (2, 2)) == ""


def test_rounded_sizes_are_met_and_said(folder):
    edsr = open_system("edsr", folder)
    assert edsr(photo_of(43, 43), size=(128, 128)).shape == (128, 128, 3)
    assert edsr.remark((43, 43), (129, 129)) == ""
    assert "129 x 129 brought to 128 x 128" in edsr.remark((43, 43), (128, 128))


def test_alone_on_damaged_photos_in_two_stages_on_clean_ones(folder):
    """The two LTE differ by their seed; so must what they answer."""
    photo, mask = photo_of(8, 8), mask_of(8, 8)
    for stage, seed in (("lte", 1), ("telea+lte", 0)):
        system = open_system(stage, folder)
        chosen = system if seed else system.second
        expected = weights_of("lte", seed=seed).variables
        same = jax.tree.map(np.array_equal, chosen.variables, expected)
        assert all(jax.tree.leaves(same))
        assert system(photo, mask, scale=2).shape == (16, 16, 3)


def test_lte_is_told_no_scale_beyond_its_largest(folder):
    """At x8 each answer must be that of a network asked with the cell of x4."""
    system = open_system("telea+lte", folder).second
    photo = photo_of(6, 6) / np.float32(255)
    module = build(system.model)
    from dear_jax.models.dear.coordinates import pixel_centres

    queries = pixel_centres((48, 48)).reshape(1, -1, 2)
    cell = np.full_like(queries, 2 / 24)
    blank = np.zeros((1, 6, 6, 1), np.float32)
    colours, _ = module.apply(system.variables, photo[None], blank, queries, cell)
    expected = np.clip((colours + 1) / 2, 0, 1).reshape(48, 48, 3)
    np.testing.assert_allclose(system(photo, scale=8), expected, atol=1e-5)


def test_without_weights_the_way_to_them_is_named(tmp_path):
    with pytest.raises(NoWeights, match="run_train.py.*:misf.*dear_jax.convert"):
        dear_jax.load("misf+bicubic", weights=tmp_path)
    with pytest.raises(NoWeights, match="lte trained on damaged photos.*:lte$"):
        dear_jax.load("lte", weights=tmp_path)
    with pytest.raises(NoWeights, match="lte trained on clean.*:lte,input=clean, or"):
        dear_jax.load("telea+lte", weights=tmp_path)


@pytest.mark.parametrize(
    "argument, system", [("lte", "lte"), ("lte,input=clean", "telea+lte")]
)
def test_what_is_trained_as_advised_is_found(argument, system, tmp_path):
    data = celebahq.get_config(argument).data.to_dict()
    write_weights(tmp_path / "w.safetensors", weights_of("lte", data=data))
    assert open_system(system, tmp_path).trained


def test_two_files_that_could_be_meant_are_refused_by_name(tmp_path):
    for name in ("a", "b"):
        write_weights(tmp_path / f"{name}.safetensors", weights_of("edsr", scale=2))
    with pytest.raises(InputError, match="a.safetensors and b.safetensors.*for x2"):
        open_system("edsr", tmp_path)


def test_variants_are_told_apart_whatever_their_widths(tmp_path):
    write_weights(tmp_path / "a.safetensors", weights_of("edsr", scale=2))
    full = {"residual_scale": 0.1, "scale": 3}
    write_weights(tmp_path / "b.safetensors", weights_of("edsr", **full))
    assert open_system("edsr-baseline", tmp_path).files == ("a.safetensors",)
    assert open_system("edsr-full", tmp_path).files == ("b.safetensors",)
    assert open_system("edsr", tmp_path).files == ("a.safetensors", "b.safetensors")


def test_other_files_in_the_folder_do_not_matter(tmp_path):
    write_weights(tmp_path / "edsr.safetensors", weights_of("edsr", scale=2))
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    save_file({"x": np.zeros(1)}, tmp_path / "foreign.safetensors")
    header = {"format": FORMAT, "model": "[]", "provenance": "{}", "sha256": ""}
    save_file({"x": np.zeros(1)}, tmp_path / "odd.safetensors", metadata=header)
    assert open_system("edsr", tmp_path).files == ("edsr.safetensors",)
    with pytest.raises(InputError, match="odd.safetensors: damaged"):
        dear_jax.load(tmp_path / "odd.safetensors")


def test_a_perceptual_network_is_no_system(tmp_path):
    assert not is_system("lpips-vgg16")
    with pytest.raises(InputError, match="neither a bundled model"):
        dear_jax.load("lpips-vgg16", weights=tmp_path)


def test_weights_are_in_memory_once(folder):
    first, second = (open_system(n, folder) for n in ("misf+bilinear", "bilinear+misf"))
    places = [
        [
            leaf.unsafe_buffer_pointer()
            for weights in system._choices.values()
            for leaf in jax.tree.leaves(weights.variables)
        ]
        for system in (first.first, second.second)
    ]
    assert places[0] == places[1]


def test_random_weights_are_marked(tmp_path):
    system = open_system("telea+edsr", tmp_path, 2)
    assert not system.trained
    assert system(photo_of(4, 4), mask_of(4, 4), scale=2).shape == (8, 8, 3)
    assert open_system("telea+bicubic", tmp_path, 2).trained
    with pytest.raises(NoWeights, match="whole numbers only, not x1.5"):
        open_system("edsr", tmp_path, 1.5)


@pytest.mark.parametrize("name", ["misf+lama", "edsr+elan", "bicubic+lte"])
def test_stages_that_do_not_go_together_are_refused(name, folder):
    with pytest.raises(InputError, match="one stage must fill holes"):
        open_system(name, folder)


def test_an_inpainter_alone_does_not_enlarge(folder):
    with pytest.raises(InputError, match=r"misf fills holes.*'misf\+bicubic'"):
        open_system("misf", folder)(photo_of(8, 8), mask_of(8, 8), scale=2)


def test_a_weights_file_of_any_role_is_a_system(folder):
    photo, mask = photo_of(8, 8), mask_of(8, 8)
    for i, scale in ((0, 2), (3, 1), (8, 3)):
        system = dear_jax.load(folder / f"{i}.safetensors")
        assert system(photo, mask, scale=scale).shape == (8 * scale, 8 * scale, 3)
