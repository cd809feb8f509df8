"""Of JPEG files that lack their end what is there is read, and the rest is missing."""

import io

import numpy as np
import pytest
from image_files import encoded
from PIL import Image

from dear_jax.errors import Unreadable
from dear_jax.images.io import decode_image
from dear_jax.images.salvage import is_cut_short

RNG = np.random.default_rng(0)
# Smooth and noisy, so that all frequencies are there; no side a multiple of 16.
PHOTO = np.kron(RNG.integers(0, 256, (9, 11, 3)), np.ones((9, 9, 1)))[:75, :93]
PHOTO = (0.8 * PHOTO + RNG.integers(0, 50, PHOTO.shape)).astype(np.uint8)


def cut(share: float, **options) -> tuple[bytes, np.ndarray]:
    """A file of which that share is left, and its pixels before."""
    data = encoded(PHOTO, "JPEG", quality=85, **options)
    return data[: round(share * len(data))], np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_what_is_known_is_right_and_the_rest_ends_with_the_file(share, subsampling):
    data, whole = cut(share, subsampling=subsampling)
    salvaged = decode_image(data, "x", salvage=True)
    lacking = salvaged.lacking
    np.testing.assert_array_equal(salvaged.pixels[~lacking], whole[~lacking])
    # Little more than the bytes that are gone.
    assert 0 < lacking.mean() < 1 - share + 0.35
    assert lacking[-1, -1] and not lacking[0].all()
    assert "its end is missing" in salvaged.metadata.remarks[0]


def test_a_progressive_file_is_there_as_a_whole_once_it_has_detail():
    data, whole = cut(0.75, progressive=True)
    salvaged = decode_image(data, "x", salvage=True)
    assert not salvaged.lacking.any() and "coarser" in salvaged.metadata.remarks[0]
    assert np.abs(salvaged.pixels.astype(int) - whole).mean() < 8
    # Where it ends within the first scan of detail some blocks have their means only.
    early = (cut(share, progressive=True)[0] for share in np.arange(0.1, 0.6, 0.02))
    parts = [decode_image(data, "x", salvage=True).lacking.mean() for data in early]
    assert parts == sorted(parts, reverse=True) and any(0 < part < 1 for part in parts)


def test_a_file_that_lacks_its_last_two_bytes_lacks_no_pixel():
    data = encoded(PHOTO, "JPEG")
    salvaged = decode_image(data[:-2], "x", salvage=True)
    assert not salvaged.lacking.any()
    np.testing.assert_array_equal(salvaged.pixels, decode_image(data, "x").pixels)


def test_what_is_missing_turns_with_the_photo():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PHOTO, "JPEG", exif=exif)
    lacking = decode_image(data[: len(data) * 2 // 3], "x", salvage=True).lacking
    assert lacking.shape == (93, 75)
    assert lacking[:, 0].all() and not lacking[:, -1].all()


def test_without_being_asked_it_is_refused_with_the_remedy():
    data, _ = cut(0.6)
    with pytest.raises(Unreadable, match="x: cut short.*--salvage reads"):
        decode_image(data, "x")


def test_whole_files_and_others_are_not_cut_short():
    data = encoded(PHOTO, "JPEG")
    assert not is_cut_short(data) and is_cut_short(data[:-2])
    assert not is_cut_short(data + b"more") and not is_cut_short(encoded(PHOTO, "PNG"))
    assert not is_cut_short(data[:40]) and not is_cut_short(b"")
    whole = decode_image(data, "x", salvage=True)
    assert whole.lacking is None and not whole.metadata.remarks
