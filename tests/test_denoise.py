"""Laws of `denoise`: its default, what "auto" finds in a photo, and what is refused."""

import io

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_restorer

import dear_jax
from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.images import resize
from dear_jax.images.io import list_photos, read_image, read_photo
from dear_jax.images.jpeg_quality import quality_of_pixels, quality_of_tables
from dear_jax.inference.degradation import degradation_level, estimate_level
from dear_jax.inference.denoise import default_denoise, parse_denoise, settled_level
from dear_jax.inference.known import keep_known


def clean_photos(size: int = 96) -> list[np.ndarray]:
    """Bundled photos, reduced, which removes what noise they have."""
    paths = list_photos(bundled.PHOTOS)[:8]
    return [resize.bicubic(read_photo(path), (size, size)) for path in paths]


def noisy(image: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """With noise that is grey, as grain is."""
    noise = np.random.default_rng(seed).normal(0, sigma, (*image.shape[:2], 1))
    return np.rint(np.clip(image + noise, 0, 255)).astype(np.uint8)


def compressed(image: np.ndarray, quality: int, **options) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=quality, **options)
    return np.asarray(Image.open(file))


def level_of(image: np.ndarray, mask: np.ndarray | None = None, **options) -> float:
    mask = np.zeros(image.shape[:2], bool) if mask is None else mask
    return estimate_level(image, mask, **options)


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (8, 8), (64, 48), (200, 300)])
@pytest.mark.parametrize("value", [0, 117, 255])
def test_a_constant_photo_is_clean(size, value):
    assert level_of(np.full((*size, 3), value, np.uint8)) == 0


def test_clean_photos_are_nearly_clean():
    levels = [level_of(image) for image in clean_photos()]
    assert np.median(levels) < 0.02 and max(levels) < 0.15


def test_noise_raises_the_level():
    sigmas = (0, 3, 6, 12, 24)
    levels = np.array(
        [[level_of(noisy(image, s)) for s in sigmas] for image in clean_photos()]
    )
    assert (np.diff(levels, axis=1) > -0.01).all()
    assert (levels[:, -1] > levels[:, 0] + 0.25).all()


def test_the_level_is_near_the_true_one():
    found, true = [], []
    for i, image in enumerate(clean_photos(64)):
        sigma, quality = 2 + 1.4 * i, 45 + 6 * i
        found.append(level_of(compressed(noisy(image, sigma), quality)))
        true.append(degradation_level(0, sigma, quality))
    assert np.abs(np.subtract(found, true)).mean() < 0.1


@pytest.mark.parametrize("quality", [20, 45, 60, 75, 90])
def test_pixels_show_the_quality_at_which_they_were_compressed(quality):
    near = []
    for i, image in enumerate(clean_photos()):
        shown = compressed(noisy(image, 3), quality, subsampling=2 * (i % 2))
        known = np.ones(image.shape[:2], bool)
        near.append(abs(quality_of_pixels(shown, known) - quality) <= 2)
        assert quality_of_pixels(image, known) == 100
    # Small photos with much black or white, or next to no detail, may show nothing.
    assert np.mean(near) >= 0.7


@pytest.mark.parametrize("quality", [20, 35, 50, 75, 95])
def test_files_say_at_which_quality_they_were_compressed(quality, tmp_path):
    image = Image.fromarray(clean_photos()[0])
    image.save(tmp_path / "a.jpg", quality=quality)
    image.save(tmp_path / "a.png")
    picture = read_image(tmp_path / "a.jpg")
    assert abs(picture.quality - quality) < 1.5
    assert picture.quality == quality_of_tables(picture.metadata.jpeg.tables)
    assert read_image(tmp_path / "a.png").quality is None


def test_a_file_that_says_more_is_believed():
    image = noisy(clean_photos()[0], 4)
    levels = [level_of(image, quality=quality) for quality in (None, 95, 70, 30)]
    assert levels == sorted(levels) and levels[-1] > levels[0] + 0.1


def test_what_lies_under_the_mask_has_no_effect():
    image = compressed(noisy(clean_photos()[0], 6), 80)
    rng = np.random.default_rng(0)
    mask = np.zeros(image.shape[:2], bool)
    mask[20:40, 30:70] = mask[60:62] = True
    random = rng.integers(0, 256, image.shape, np.uint8)
    other = np.where(mask[..., None], random, image)
    assert level_of(other, mask) == level_of(image, mask) > 0.1
    spoilt = np.where(mask[..., None], np.nan, image / np.float32(255))
    assert level_of(spoilt, mask) == pytest.approx(level_of(image, mask), abs=1e-3)


def test_a_photo_of_which_nothing_is_known_counts_as_clean():
    image = noisy(clean_photos()[0], 20)
    assert level_of(image, np.ones(image.shape[:2], bool)) == 0


@pytest.mark.parametrize("quality", [None, 70])
def test_flips_have_no_effect(quality):
    image = noisy(clean_photos()[1], 5)
    if quality:
        image = compressed(image, quality)
    level = level_of(image)
    others = [image[::-1], image[:, ::-1]]
    if not quality:  # The quantisers of rows and of columns differ.
        others.append(image.swapaxes(0, 1))
    for other in others:
        assert level_of(other) == pytest.approx(level, abs=0.01)


def test_floats_and_grey_levels_are_alike():
    image = compressed(noisy(clean_photos()[2], 5), 70)
    floats = image / np.float32(255)
    assert level_of(floats) == pytest.approx(level_of(image), abs=1e-3)


def test_large_photos_are_sampled():
    image = np.tile(noisy(clean_photos()[0], 8), (25, 20, 1))
    part = level_of(image[:96, :96])
    assert level_of(image) == pytest.approx(part, abs=0.1)


def test_the_default_is_auto_only_where_a_photo_is_enlarged_and_may_change():
    assert default_denoise(enlarged=True) == "auto"
    assert default_denoise(enlarged=False) == 0
    assert default_denoise(enlarged=True, keep_known=True) == 0
    assert default_denoise(enlarged=False, keep_known=True) == 0


def test_auto_is_zero_for_models_without_the_input():
    image = noisy(clean_photos()[0], 15)
    mask = np.zeros(image.shape[:2], bool)
    assert settled_level("auto", image, mask, False) == 0
    auto, clean = default_denoise(enlarged=True), default_denoise(enlarged=False)
    assert settled_level(auto, image, mask, True) == level_of(image) > 0.2
    assert settled_level(clean, image, mask, True) == 0
    assert settled_level(0.3, image, mask, False) == 0.3


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "much", "AUTO"])
def test_what_is_no_level_is_refused(text):
    with pytest.raises(InputError, match=f"--denoise {text}"):
        parse_denoise(text)


def test_every_way_to_restore_takes_numbers_auto_and_the_default():
    restorer = tiny_restorer("dear-lite", level_input=True)
    # Enough noise to show in so few pixels.
    images = np.stack([noisy(image, 30) for image in clean_photos(32)[:2]])
    masks = np.zeros(images.shape[:3], bool)
    masks[:, 4:9, 4:9] = True
    size = (40, 37)
    autos = [level_of(*pair) for pair in zip(images, masks, strict=True)]
    assert min(autos) > 0.1
    each = [
        restorer(image, mask, size=size, denoise=level)
        for image, mask, level in zip(images, masks, autos, strict=True)
    ]
    told = restorer.batch(images, masks, size, denoise=autos)
    np.testing.assert_allclose(np.stack(each).astype(int), told, atol=1)
    for denoise in ("auto", None, ["auto", autos[1]]):
        found = restorer.batch(images, masks, size, denoise=denoise)
        np.testing.assert_array_equal(found, told)
    image, mask = images[0], masks[0]
    for denoise in ("auto", None):
        found = restorer(image, mask, size=size, denoise=denoise)
        np.testing.assert_array_equal(found, each[0])
    # At the photo's own size it is taken as clean.
    same = restorer(image, mask)
    np.testing.assert_array_equal(same, restorer(image, mask, denoise=0.0))
    assert (same != restorer(image, mask, denoise="auto")).any()
    # Where known pixels are to be kept, too, in larger results as well.
    kept = restorer(image, mask, size=size, keep_known=True)
    clean = restorer(image, mask, size=size, denoise=0.0)
    np.testing.assert_array_equal(kept, keep_known(clean, image, mask))
    plan = restorer.plan(mask.shape, size)
    for options in ({"plan": plan}, {"denoise": "auto"}):
        encoded = restorer.encode(image, mask, **options)
        np.testing.assert_array_equal(restorer.render(encoded, size=size), each[0])


def test_denoise_that_means_nothing_is_refused_in_one_line():
    image = clean_photos(16)[0]
    restorer = tiny_restorer("dear-lite", level_input=True)
    for denoise in ("much", 1.5, -1, [0.1, 0.2], [0.1, "auto"]):
        with pytest.raises(InputError, match="denoise=") as refused:
            restorer(image, denoise=denoise)
        assert "\n" not in str(refused.value)
    for options in ({}, {"scale": 2}):
        with pytest.raises(InputError, match="denoise=0.3: changes known pixels"):
            restorer(image, denoise=0.3, keep_known=True, **options)
    classical = dear_jax.load("telea+bicubic")
    classical(image, denoise="auto")
    with pytest.raises(InputError, match="denoise="):
        classical(image, denoise=0.3)
