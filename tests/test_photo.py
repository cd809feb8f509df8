"""Files of every kind become the arrays a person would expect, or are refused by name.

A refusal is one line, with the file and what to do.
"""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from dear_jax.errors import InputError, Unreadable
from dear_jax.images import decoding, photo

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (5, 7, 3), np.uint8)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)


def saved(folder, image, name="x.png", **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(folder / name, **options)
    return folder / name


def refusal(read, path):
    """The message of a refusal, checked to be one line that begins with the file."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert message.count(str(path)) == 1
    return message


# Photos


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("1", "bmp"),
     ("1", "png"), ("RGB", "webp"), ("RGB", "ppm"), ("RGB", "gif"), ("RGB", "bmp"),
     ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "tif"), ("LAB", "tif")],
)  # fmt: skip
def test_a_photo_of_any_mode_is_rgb(mode, suffix, tmp_path):
    image = Image.fromarray(PICTURE).convert(mode)
    read = photo.read_photo(saved(tmp_path, image, f"x.{suffix}"))
    assert read.shape == (5, 7, 3) and read.dtype == np.uint8


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_print_colours_are_not_inverted(suffix, tmp_path):
    # Adobe writes JPEGs of CMYK inverted, TIFFs not.
    red = Image.new("RGB", (8, 8), (250, 10, 10)).convert("CMYK")
    read = photo.read_photo(saved(tmp_path, red, f"x.{suffix}"))
    assert np.abs(read.astype(int) - (250, 10, 10)).max() < 8


def test_colours_of_transparent_pixels_are_kept(tmp_path):
    alpha = np.where(GREY > 99, 0, 255).astype(np.uint8)
    colours = saved(tmp_path, np.dstack([PICTURE, alpha]), "rgba.png")
    np.testing.assert_array_equal(photo.read_photo(colours), PICTURE)
    grey = Image.fromarray(np.dstack([GREY, alpha]), "LA")
    np.testing.assert_array_equal(
        photo.read_photo(saved(tmp_path, grey, "la.png"))[..., 0], GREY
    )


def test_palettes_are_looked_up_also_with_transparency(tmp_path):
    image = Image.fromarray(PICTURE).quantize(16)
    expected = np.asarray(image.convert("RGB"))
    for options in ({}, {"transparency": 3}, {"transparency": bytes(range(16))}):
        read = photo.read_photo(saved(tmp_path, image, **options))
        np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_of_sixteen_bits_the_upper_eight_count(suffix, tmp_path):
    deep = RNG.integers(0, 65536, (5, 7), np.uint16)
    read = photo.read_photo(saved(tmp_path, deep, f"x.{suffix}"))
    np.testing.assert_array_equal(read[..., 1], deep >> 8)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_of_sixteen_bit_colours_the_upper_eight_count(suffix, tmp_path):
    import cv2

    deep = RNG.integers(0, 65536, (5, 7, 3), np.uint16)
    cv2.imwrite(str(tmp_path / f"x.{suffix}"), deep[..., ::-1])
    read = photo.read_photo(tmp_path / f"x.{suffix}")
    np.testing.assert_array_equal(read, deep >> 8)


def test_floats_are_rounded_to_grey_levels(tmp_path):
    levels = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    read = photo.read_photo(saved(tmp_path, levels, "x.tif"))
    np.testing.assert_array_equal(read[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize("values", [[0, 1.5], [-0.1, 1], [0.5, np.nan]])
def test_floats_of_another_range_are_refused(values, tmp_path):
    path = saved(tmp_path, np.array([values], np.float32), "x.tif")
    assert "save floats in [0, 1], or 8 bits" in refusal(photo.read_photo, path)


@pytest.mark.parametrize("values", [[0, 70_000], [-1, 300], [0, 255]])
def test_whole_numbers_of_other_ranges_are_refused(values, tmp_path):
    path = saved(tmp_path, np.array([values], np.int32), "x.tif")
    assert "save it with 8 bits" in refusal(photo.read_photo, path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("bits", [8, 16])
def test_photos_are_turned_upright(orientation, bits, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(PICTURE if bits == 8 else GREY.astype(np.uint16) << 8)
    path = saved(tmp_path, image, exif=exif)
    plain = Image.fromarray(PICTURE if bits == 8 else GREY)
    plain.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain).convert("RGB"))
    np.testing.assert_array_equal(photo.read_photo(path), expected)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_spoils_no_photo(tmp_path):
    path = saved(tmp_path, PICTURE, exif=b"Exif\0\0II*\0\xff\xff\xff\xff\xff")
    np.testing.assert_array_equal(photo.read_photo(path), PICTURE)
    path = saved(tmp_path, PICTURE, exif=b"nonsense")
    np.testing.assert_array_equal(photo.read_photo(path), PICTURE)


def test_uncompressed_photos_are_read_as_pillow_reads_them(tmp_path):
    plain = saved(tmp_path, PICTURE, "x.ppm").read_bytes()
    assert np.shares_memory(
        decoding.decode_photo(plain, "x"), np.frombuffer(plain, "u1")
    )
    unusual = [
        plain.replace(b"P6\n", b"P6 # made by hand\n"),
        plain + b"\n",
        plain.replace(b"\n255\n", b"\n254\n"),
    ]
    for data in (plain, *unusual):
        expected = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(decoding.decode_photo(data, "x"), expected)
    with pytest.raises(Unreadable, match="x: cannot be read"):
        decoding.decode_photo(plain[:-1], "x")


def test_of_an_animation_the_first_picture_counts(tmp_path):
    frames = [Image.new("RGB", (7, 5), colour) for colour in ("red", "lime", "blue")]
    for suffix in ("gif", "png", "webp"):
        options = {"save_all": True, "append_images": frames[1:], "lossless": True}
        path = saved(tmp_path, frames[0], f"x.{suffix}", **options)
        assert (photo.read_photo(path) == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (40, 20_000), (20_000, 1)])
def test_photos_of_odd_sizes_are_read(size, tmp_path):
    path = saved(tmp_path, np.full((*size, 3), 9, np.uint8))
    read = photo.read_photo(path)
    assert read.shape == (*size, 3) and (read == 9).all()


def test_more_pixels_than_any_photo_has_are_refused_unread(tmp_path):
    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b""))
    message = refusal(photo.read_photo, path)
    assert "400000000 pixels" in message and "reduce it first" in message


# Files that are no images


@pytest.mark.parametrize("read", [photo.read_photo, photo.read_mask])
def test_what_is_no_image_is_refused_with_the_remedy(read, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("Dear diary,\n")
    noise = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    jpeg = saved(tmp_path, noise, "torn.jpg").read_bytes()
    (tmp_path / "torn.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    for name, words in {
        "absent.png": "no such file; check its name",
        ".": "a folder; give one image file",
        "empty.png": "an empty file; copy it again",
        "text.png": "save it as PNG or JPEG",
        "torn.jpg": "truncated",
        "x" * 300: "make it readable",
    }.items():
        assert words in refusal(read, tmp_path / name)


@pytest.mark.skipif(os.name != "posix" or not os.getuid(), reason="root may read all")
def test_a_file_one_may_not_read_is_refused(tmp_path):
    path = saved(tmp_path, PICTURE)
    path.chmod(0)
    assert "Permission denied" in refusal(photo.read_photo, path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged TIFFs
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "gif", "webp", "bmp", "ppm"])
def test_damaged_bytes_never_end_in_another_error(suffix, tmp_path):
    data = saved(tmp_path, PICTURE, f"x.{suffix}").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = np.frombuffer(data, np.uint8)[: rng.integers(1, len(data) + 1)].copy()
        damaged[rng.integers(len(damaged), size=3)] = rng.integers(256, size=3)
        try:
            decoding.decode_photo(damaged.tobytes(), "x")
        except InputError as error:
            assert str(error).startswith("x: ")


# Masks


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GREY > 127),
        Image.fromarray(GREY),
        Image.fromarray(GREY).convert("P"),
        Image.fromarray(GREY).convert("RGB"),
        Image.fromarray(GREY).convert("RGBA"),
        Image.fromarray(GREY.astype(np.uint16) << 8),
    ],
    ids=["1-bit", "grey", "palette", "RGB", "RGBA", "16-bit"],
)
def test_in_masks_of_any_mode_the_lighter_half_is_missing(image, tmp_path):
    read = photo.read_mask(saved(tmp_path, image))
    assert read.dtype == bool
    np.testing.assert_array_equal(read, GREY > 127)


def test_masks_of_floats_split_at_one_half(tmp_path):
    values = np.array([[0, 0.4, 0.6, 1]], np.float32)
    read = photo.read_mask(saved(tmp_path, values, "x.tif"))
    assert read.tolist() == [[False, False, True, True]]


def test_grey_masks_survive_jpeg(tmp_path):
    mask = np.kron(RNG.random((4, 4)) < 0.5, np.ones((16, 16))).astype(bool)
    colours = np.repeat(mask[..., None], 3, -1) * np.uint8(255)
    read = photo.read_mask(saved(tmp_path, colours, "x.jpg", quality=30))
    np.testing.assert_array_equal(read, mask)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("value", [0, 255])
def test_masks_without_a_hole_and_with_nothing_else_are_read(mode, value, tmp_path):
    path = saved(tmp_path, Image.new("L", (3, 2), value).convert(mode))
    assert (photo.read_mask(path) == bool(value)).all()


def test_what_is_transparent_in_a_mask_is_not_missing(tmp_path):
    grey = np.array([[255, 255, 0, 0]], np.uint8)
    alpha = np.array([[255, 0, 255, 0]], np.uint8)
    mask = Image.fromarray(np.dstack([grey, alpha]), "LA")
    for image in (mask, mask.convert("RGBA")):
        read = photo.read_mask(saved(tmp_path, image))
        assert read.tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("paint", [(0, 0, 0), (255, 255, 255)])
def test_masks_of_transparency_alone_are_refused(paint, tmp_path):
    image = Image.new("RGBA", (4, 4), (*paint, 255))
    image.putpixel((1, 2), (*paint, 0))
    message = refusal(photo.read_mask, saved(tmp_path, image))
    assert "only its transparency varies" in message and "white where" in message


def test_coloured_masks_are_refused(tmp_path):
    red = Image.new("RGB", (4, 4))
    red.putpixel((1, 2), (255, 0, 0))
    for image in (red, red.convert("P"), Image.fromarray(PICTURE)):
        message = refusal(photo.read_mask, saved(tmp_path, image))
        assert "has colours; save a mask as white" in message


def test_masks_of_zeros_and_ones_are_refused(tmp_path):
    ones = (GREY > 127).astype(np.uint8)
    assert "save white as 255" in refusal(photo.read_mask, saved(tmp_path, ones))
    deep = saved(tmp_path, ones.astype(np.uint16))
    assert "save it with 8 bits" in refusal(photo.read_mask, deep)


# Folders


def test_photos_are_listed_by_path_through_subfolders_and_links(tmp_path):
    for name in ("b.png", "a/2.JPG", "a/1.png", "a-b/c.tif", "a/notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "in" / "a")
    (tmp_path / "in" / "a" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "folder.png").mkdir()
    (tmp_path / "in" / ".thumbs").mkdir()
    (tmp_path / "in" / ".thumbs" / "t.png").touch()
    (tmp_path / "in" / "a" / "._1.png").touch()
    listed = photo.list_photos(tmp_path / "in")
    names = [path.relative_to(tmp_path / "in").as_posix() for path in listed]
    assert names == ["a/1.png", "a/2.JPG", "a-b/c.tif", "b.png", "linked/1.png",
                     "linked/2.JPG"]  # fmt: skip


def test_a_folder_without_photos_or_none_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no image; expected files ending in"):
        photo.list_photos(tmp_path)
    with pytest.raises(InputError, match="no such folder; give a folder"):
        photo.list_photos(tmp_path / "absent")


def test_what_is_written_is_read_back(tmp_path):
    photo.write_photo(tmp_path / "new" / "x.png", PICTURE)
    np.testing.assert_array_equal(photo.read_photo(tmp_path / "new/x.png"), PICTURE)
    photo.write_photo(tmp_path / "m.png", GREY)
    np.testing.assert_array_equal(photo.read_mask(tmp_path / "m.png"), GREY > 127)


def test_bytes_are_decoded_as_files_are_read(tmp_path):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "PNG")
    np.testing.assert_array_equal(decoding.decode_photo(file.getvalue(), "x"), PICTURE)
