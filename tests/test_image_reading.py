"""Image files of every kind are found, and read with all that they hold."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from image_files import (
    DEEP,
    PIXELS,
    RNG,
    SRGB,
    encoded,
    exif_block,
    print_profile,
    read,
    tiff_of,
)
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from dear_jax.errors import InputError, Unreadable
from dear_jax.images.decode import TURNS
from dear_jax.images.encode import encode_png
from dear_jax.images.io import (
    ImageFile,
    decode_photo,
    list_photos,
    read_image,
    read_photo,
    write_photo,
)
from dear_jax.images.masks import read_mask
from dear_jax.images.metadata import PNG_SIGNATURE, Metadata

GREY = PIXELS[..., 0]


# Pixels


@pytest.mark.parametrize(
    ("mode", "known"),
    [("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("LA", "PNG"),
     ("1", "PNG"), ("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "WEBP"),
     ("RGB", "TIFF"), ("L", "TIFF"), ("LA", "TIFF"), ("RGBA", "TIFF"), ("P", "TIFF"),
     ("1", "TIFF"), ("YCbCr", "TIFF"), ("RGB", "BMP"), ("1", "BMP"),
     ("RGB", "GIF"), ("RGB", "PPM"), ("L", "PPM"), ("CMYK", "JPEG"), ("LAB", "TIFF")],
)  # fmt: skip
def test_files_of_any_mode_are_rgb(mode, known):
    image = Image.fromarray(PIXELS).convert(mode)
    picture = read(encoded(image, known))
    assert picture.pixels.shape == (5, 7, 3) and picture.pixels.dtype == np.uint8
    if known not in ("JPEG", "WEBP") and mode != "LAB":
        np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))
    assert picture.grey == (mode in ("1", "L", "LA"))
    assert (picture.alpha is not None) == mode.endswith("A")
    assert picture.format == known and picture.bits == 8


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_the_last_channel(name, mode):
    image = Image.fromarray(PIXELS).convert(mode)
    alpha = RNG.integers(0, 256, (5, 7), np.uint8)
    image.putalpha(Image.fromarray(alpha))
    picture = read(encoded(image, name))
    np.testing.assert_array_equal(picture.alpha, alpha)
    colours = PIXELS if mode == "RGBA" else np.asarray(image)[..., [0, 0, 0]]
    np.testing.assert_array_equal(picture.pixels, colours)  # Of clear pixels, too.


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_pngs_of_sixteen_bits_keep_all_of_them(count):
    channels = DEEP[..., :count]
    picture = read(encode_png(channels, Metadata()))
    assert picture.grey == (count < 3) and picture.bits == 16
    np.testing.assert_array_equal(picture.pixels[..., 0], channels[..., 0])
    if count > 2:
        np.testing.assert_array_equal(picture.pixels, channels[..., :3])
    if count in (2, 4):
        np.testing.assert_array_equal(picture.alpha, channels[..., -1])
    else:
        assert picture.alpha is None


@pytest.mark.parametrize("known", ["png", "tiff"])
@pytest.mark.parametrize("count", [1, 3, 4])
def test_what_opencv_writes_in_sixteen_bits_is_read_in_full(known, count):
    channels = np.repeat(np.repeat(DEEP, 9, 0), 9, 1)[..., :count]
    swapped = channels[..., [2, 1, 0, 3][:count]] if count > 1 else channels
    read_back = read(cv2.imencode(f".{known}", swapped)[1].tobytes())
    held = [read_back.pixels, *([read_back.alpha[..., None]] if count == 4 else [])]
    expected = channels if count > 1 else channels[..., [0, 0, 0]]
    np.testing.assert_array_equal(np.concatenate(held, -1), expected)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extra", [None, 0, 2])
def test_tiffs_of_sixteen_bits_in_either_byte_order(order, extra):
    count = 3 if extra is None else 4
    picture = read(tiff_of(DEEP[..., :count], order, extra=extra))
    np.testing.assert_array_equal(picture.pixels, DEEP[..., :3])
    assert (picture.alpha is not None) == (extra == 2)  # 0 is some other channel.


def test_colours_that_alpha_multiplies_are_divided_again():
    alpha = RNG.integers(1, 65536, (5, 7, 1)).astype(np.uint16)
    multiplied = np.rint(DEEP[..., :3] * (alpha / 65535)).astype(np.uint16)
    picture = read(tiff_of(np.concatenate([multiplied, alpha], -1), extra=1))
    again = np.rint(picture.pixels * (alpha / 65535))
    np.testing.assert_array_equal(again, multiplied)
    np.testing.assert_array_equal(picture.alpha, alpha[..., 0])


def test_where_white_is_zero_grey_counts_from_white():
    for kind in (np.uint8, np.uint16):
        grey = DEEP[..., :1].astype(kind)
        picture = read(tiff_of(grey, white_is_zero=True))
        np.testing.assert_array_equal(
            picture.pixels[..., :1], np.iinfo(kind).max - grey
        )


def test_tiffs_of_sixteen_bits_with_channels_apart_are_refused():
    with pytest.raises(Unreadable, match="x: .*save it interleaved"):
        read(tiff_of(DEEP[..., :3], apart=True))


@pytest.mark.parametrize("count", [1, 3, 4])
@pytest.mark.parametrize("turn", [1, 3, 6])
def test_floats_are_taken_as_sixteen_bits(count, turn):
    channels = DEEP[..., :count]
    floats = channels.astype(np.float32) / np.float32(65535)
    picture = read(tiff_of(floats, extra=2 if count == 4 else None, turn=turn))
    expected = channels if count > 1 else channels[..., [0, 0, 0]]
    expected = np.rot90(expected, {1: 0, 3: 2, 6: -1}[turn])
    np.testing.assert_array_equal(picture.pixels, expected[..., :3])
    assert "floats" in picture.metadata.remarks[0]


def test_grey_floats_are_rounded_to_grey_levels():
    levels = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    photo = decode_photo(encoded(levels, "TIFF"), "x")
    np.testing.assert_array_equal(photo[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize("values", [[0, 1.5], [-0.1, 1], [0.5, np.nan]])
@pytest.mark.parametrize("count", [1, 3])
def test_floats_of_another_range_are_refused(values, count):
    floats = np.array(values, np.float32).reshape(1, 2, 1).repeat(count, -1)
    with pytest.raises(Unreadable, match=r"x: floats from .*; save floats in \[0, 1\]"):
        read(tiff_of(floats))


@pytest.mark.parametrize("values", [[0, 70_000], [-1, 300], [0, 255]])
def test_whole_numbers_of_other_ranges_are_refused(values):
    with pytest.raises(Unreadable, match="save it with 8 bits"):
        read(encoded(np.array([values], np.int32), "TIFF"))


@pytest.mark.parametrize(
    ("bits", "kind", "count"),
    [(1, 0, 1), (2, 0, 1), (4, 0, 1), (8, 0, 1), (16, 0, 1), (8, 2, 3), (16, 2, 3)],
)
def test_a_single_transparent_colour_becomes_alpha(bits, kind, count):
    values = RNG.integers(0, 2**bits, (5, 8, count))
    colour = values[2, 3]
    if bits < 8:
        digits = (values[..., 0, None] >> np.arange(bits)[::-1]) & 1
        rows = np.packbits(digits.reshape(5, -1).astype(np.uint8), -1)
    else:
        rows = values.astype(f">u{bits // 8}").reshape(5, -1).view(np.uint8)
    body = np.concatenate([np.zeros((5, 1), np.uint8), rows], -1).tobytes()
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", 8, 5, bits, kind, 0, 0, 0),
        b"tRNS": struct.pack(f">{count}H", *colour),
        b"IDAT": zlib.compress(body),
        b"IEND": b"",
    }
    data = PNG_SIGNATURE
    for name, content in parts.items():
        check = struct.pack(">I", zlib.crc32(name + content))
        data += struct.pack(">I", len(content)) + name + content + check
    picture = read(data)
    clear = (values == colour).all(-1)
    top = 65535 if bits == 16 else 255
    np.testing.assert_array_equal(picture.alpha, np.where(clear, 0, top))
    assert picture.grey == (count == 1)
    levels = np.rint(values * (top / (2**bits - 1)))
    np.testing.assert_array_equal(picture.pixels, levels + np.zeros(3))


def test_palettes_with_transparency_become_alpha():
    image = Image.fromarray(PIXELS).quantize(16)
    for given in (3, bytes(range(16))):
        picture = read(encoded(image, transparency=given))
        indices = np.asarray(image)
        table = np.full(16, 255) if given == 3 else np.arange(16)
        table[3] = 0 if given == 3 else 3
        np.testing.assert_array_equal(picture.alpha, table[indices])
        np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))


def test_the_name_does_not_decide_the_format(tmp_path):
    (tmp_path / "x.jpg").write_bytes(encoded(PIXELS, "PNG"))
    picture = read_image(tmp_path / "x.jpg")
    assert picture.format == "PNG"
    np.testing.assert_array_equal(picture.pixels, PIXELS)


def test_uncompressed_photos_are_read_as_pillow_reads_them():
    plain = encoded(PIXELS, "PPM")
    assert np.shares_memory(decode_photo(plain, "x"), np.frombuffer(plain, "u1"))
    unusual = [
        plain.replace(b"P6\n", b"P6 # made by hand\n"),
        plain + b"\n",
        plain.replace(b"\n255\n", b"\n254\n"),
    ]
    for data in (plain, *unusual):
        expected = np.asarray(Image.open(io.BytesIO(data)))
        np.testing.assert_array_equal(decode_photo(data, "x"), expected)
    with pytest.raises(Unreadable, match="x: cannot be read"):
        decode_photo(plain[:-1], "x")


@pytest.mark.parametrize("size", [(1, 1), (40, 20_000), (20_000, 1)])
def test_photos_of_odd_sizes_are_read(size):
    pixels = read(encoded(np.full((*size, 3), 9, np.uint8))).pixels
    assert pixels.shape == (*size, 3) and (pixels == 9).all()


def test_of_several_pictures_the_first_is_taken_and_that_is_said():
    frames = [Image.new("RGB", (7, 5), colour) for colour in ("red", "lime")]
    for known in ("GIF", "PNG", "WEBP", "TIFF"):
        options = {} if known == "TIFF" else {"lossless": True}
        data = encoded(frames[0], known, save_all=True, append_images=frames[1:],
                       **options)  # fmt: skip
        picture = read(data)
        assert (picture.pixels == (255, 0, 0)).all()
        assert "first" in picture.metadata.remarks[0]
        assert not read(encoded(frames[0], known)).metadata.remarks


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("deep", [True, False])
def test_a_thumbnail_before_the_photo_is_passed_over(marked, deep):
    full = Image.fromarray(np.repeat(np.repeat(PIXELS, 9, 0), 9, 1))
    small = Image.fromarray(PIXELS)
    tags = {254: 1} if marked else {}
    data = encoded(small, "TIFF", save_all=True, append_images=[full], tiffinfo=tags)
    if deep:
        values = [np.asarray(x).astype(np.uint16) * 257 for x in (small, full)]
        data = cv2.imencodemulti(".tiff", [v[..., ::-1] for v in values])[1].tobytes()
    picture = read(data)
    assert picture.size == (45, 63) and picture.bits == (16 if deep else 8)
    assert any("thumbnail" in remark for remark in picture.metadata.remarks)


def test_large_tiffs_have_exif_data_or_no_remark():
    plain = encoded(PIXELS, "TIFF", big_tiff=True)
    assert plain[:4] == b"II+\0" and not read(plain).metadata.remarks
    described = encoded(PIXELS, "TIFF", big_tiff=True, tiffinfo={315: "An artist"})
    kept = read(described).metadata
    assert b"An artist" in kept.exif and not kept.remarks


@pytest.mark.parametrize("top", [65_535, 1023])
def test_deep_ppms_keep_their_bits(top):
    values = RNG.integers(0, top + 1, (5, 7, 3))
    head = b"P6 # a comment\n7 5\n%d\n" % top
    picture = read(head + values.astype(">u2").tobytes())
    assert picture.bits == 16
    np.testing.assert_allclose(picture.pixels, values * (65_535 / top), atol=0.51)


@pytest.mark.parametrize("known", ["AVIF", "JPEG2000", "TGA", "PCX", "QOI"])
def test_what_pillow_reads_is_read(known, tmp_path):
    pixels = np.repeat(np.repeat(PIXELS, 4, 0), 4, 1)
    (tmp_path / "photo").write_bytes(encoded(pixels, known))
    picture = read_image(tmp_path / "photo")
    assert picture.size == (20, 28)
    if known != "AVIF":  # With losses, in colours of half the size.
        np.testing.assert_array_equal(picture.pixels, pixels)


@pytest.mark.parametrize(
    "head, package",
    [(b"\0\0\0\x18ftypheic", "pillow-heif"), (b"\xff\x0a\0", "pillow-jxl-plugin")],
)
def test_what_needs_a_package_names_it(head, package, monkeypatch):
    for name in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Unreadable, match=rf"needs {package}; pip install 'dear_jax\["):
        read(head + bytes(100))


# What they carry


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations_give_the_same_upright_pixels(orientation):
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    turn = TURNS.get(back)
    photo = Image.fromarray(PIXELS)
    lying = photo if turn is None else photo.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    deep = np.asarray(lying).astype(np.uint16) * 256 + 7
    block = exif.tobytes()[6:]
    files = [
        encoded(lying, "PNG", exif=exif),
        encoded(lying, "TIFF", exif=exif),
        encoded(lying, "TIFF", exif=exif, compression="tiff_lzw"),
        encoded(lying, "WEBP", exif=exif, lossless=True),
        encode_png(deep, Metadata(exif=block)),
        tiff_of(deep, turn=orientation),
        tiff_of(np.asarray(lying) / np.float32(255), turn=orientation),
    ]
    for data in files:
        picture = read(data)
        expected = PIXELS.astype(picture.pixels.dtype)
        if picture.bits == 16:
            floats = picture.metadata.remarks
            expected = expected * np.uint16(257) if floats else expected * 256 + 7
        np.testing.assert_array_equal(picture.pixels, expected)
    grey = read(encoded(np.ascontiguousarray(deep[..., 0]), "PNG", exif=exif))
    np.testing.assert_array_equal(grey.pixels[..., 0], GREY.astype(np.uint16) * 256 + 7)
    jpeg = encoded(lying.resize((64, 64)), "JPEG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg)))
    np.testing.assert_array_equal(read(jpeg).pixels, np.asarray(expected))


def test_xmp_turns_a_photo_without_exif_and_then_says_it_is_upright():
    packet = b'<x:xmpmeta tiff:Orientation="6">text</x:xmpmeta>'
    picture = read(encoded(PIXELS, "WEBP", xmp=packet, lossless=True))
    np.testing.assert_array_equal(picture.pixels, np.rot90(PIXELS, -1))
    assert picture.metadata.xmp == packet.replace(b'"6"', b'"1"')


@pytest.mark.parametrize("known", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_what_a_file_carries_is_found(known):
    dpi = {} if known == "WEBP" else {"dpi": (300, 150)}
    block = b"Exif\0\0" + exif_block(6)
    kept = read(encoded(PIXELS, known, icc_profile=SRGB, exif=block, **dpi)).metadata
    assert kept.icc_profile == SRGB and not kept.remarks
    exif = Image.Exif()
    exif.load(kept.exif)
    assert (exif[271], exif[315], exif[0x0112]) == ("Maker", "An artist", 1)
    assert exif.get_ifd(0x8769)[0x9003] == "2020:02:20 20:20:20"
    assert exif.get_ifd(0x8825)[1] == "N"
    if dpi:
        np.testing.assert_allclose(kept.dpi, (300, 150), atol=0.02)
    else:
        assert kept.dpi is None


def test_the_thumbnail_goes_and_all_else_of_the_exif_data_stays():
    block = exif_block(8)
    thumbnail = block[block.index(b"\xff\xd8\xff") :]
    kept = read(encoded(PIXELS, "JPEG", exif=b"Exif\0\0" + block)).metadata
    assert thumbnail not in kept.exif and b"\xff\xd8\xff" not in kept.exif
    assert b"maker's own notes" in kept.exif


def test_exif_data_in_the_text_of_a_png_are_found():
    text = PngInfo()
    digits = (b"Exif\0\0" + exif_block()).hex()
    text.add_text("Raw profile type exif", f"\nexif\n{len(digits) // 2}\n{digits}")
    assert b"An artist" in read(encoded(PIXELS, pnginfo=text)).metadata.exif


@pytest.mark.parametrize("known", ["PNG", "JPEG", "WEBP"])
def test_damaged_exif_data_are_left_out_and_the_pixels_stay(known):
    plain = read(encoded(PIXELS, known, lossless=True)).pixels
    for damaged in (b"nonsense", exif_block()[:60], b"II*\0\xff\xff\xff\xff"):
        data = encoded(PIXELS, known, lossless=True, exif=b"Exif\0\0" + damaged)
        picture = read(data)
        np.testing.assert_array_equal(picture.pixels, plain)
        assert picture.metadata.exif is None
        assert "EXIF" in picture.metadata.remarks[0]


@pytest.mark.parametrize(
    "profile",
    [b"nonsense", SRGB[:100], SRGB[:36] + b"none" + SRGB[40:],
     SRGB[:16] + b"CMYK" + SRGB[20:], SRGB[:128] + b"\xff" * (len(SRGB) - 128)],
    # A profile has the time it was made in it; names of tests have to stay.
    ids=["nonsense", "cut", "unsigned", "of inks", "tables"],
)  # fmt: skip
def test_profiles_that_are_damaged_or_of_other_colours_are_left_out(profile):
    kept = read(encoded(PIXELS, icc_profile=profile)).metadata
    assert kept.icc_profile is None and "colour profile" in kept.remarks[0]
    assert read(encoded(GREY, icc_profile=SRGB)).metadata.icc_profile is None


@pytest.mark.parametrize("known", ["JPEG", "TIFF"])
def test_print_colours_go_by_their_profile_which_then_is_gone(known):
    inks = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    plain = read(encoded(inks, known))
    assert np.abs(plain.pixels.astype(int) - (0, 255, 255)).max() < 8
    managed = read(encoded(inks, known, icc_profile=print_profile()))
    assert managed.pixels.max() < 8  # Of this profile every ink is black.
    white = read(encoded(Image.new("CMYK", (8, 8)), known, icc_profile=print_profile()))
    assert white.pixels.min() > 247
    for picture in (plain, managed, white):
        assert picture.metadata.icc_profile is None
        assert "CMYK" in picture.metadata.remarks[0] and not picture.grey


def test_what_was_compressed_with_losses_is_known():
    noise = np.repeat(np.repeat(PIXELS, 9, 0), 9, 1)
    for known, options, lossy in (
        ("JPEG", {}, True), ("WEBP", {}, True), ("WEBP", {"lossless": True}, False),
        ("PNG", {}, False), ("TIFF", {"compression": "jpeg"}, True),
        ("TIFF", {"compression": "tiff_lzw"}, False),
    ):  # fmt: skip
        assert read(encoded(noise, known, **options)).metadata.lossy == lossy


# Changing what was read


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_floats_give_back_the_same_pixels(kind):
    top = np.iinfo(kind).max
    levels = np.linspace(0, top, 3 * 2**14).astype(kind).reshape(128, 128, 3)
    picture = ImageFile(levels)
    floats = picture.floats()
    assert floats.dtype == np.float32 and floats.min() == 0 and floats.max() == 1
    np.testing.assert_array_equal(picture.with_pixels(floats).pixels, levels)
    np.testing.assert_array_equal(picture.with_pixels(levels).pixels, levels)
    assert picture.image.dtype == (np.uint8 if kind == np.uint8 else np.float32)


def test_other_bits_are_rounded():
    deep = np.arange(65536, dtype=np.uint16).reshape(128, 512, 1).repeat(3, -1)
    eight = ImageFile(PIXELS).with_pixels(deep).pixels
    np.testing.assert_array_equal(eight, np.rint(deep / 257))
    sixteen = ImageFile(deep).with_pixels(PIXELS).pixels
    np.testing.assert_array_equal(sixteen, PIXELS * np.uint16(257))


def test_grey_pictures_stay_grey():
    grey = ImageFile(np.repeat(PIXELS[..., :1], 3, -1), grey=True)
    np.testing.assert_array_equal(grey.with_pixels(grey.pixels).pixels, grey.pixels)
    other = grey.with_pixels(PIXELS).pixels
    np.testing.assert_allclose(other[..., 0], PIXELS.mean(-1), atol=0.5)
    assert (other == other[..., :1]).all()


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_transparency_is_resized_along(kind):
    top = np.iinfo(kind).max
    alpha = np.zeros((5, 7), kind)
    alpha[:, 3:] = top
    picture = ImageFile(DEEP[..., :3].astype(kind), alpha)
    assert picture.with_pixels(picture.pixels).alpha is alpha
    larger = picture.with_pixels(np.zeros((20, 28, 3), kind))
    assert larger.alpha.shape == (20, 28) and larger.alpha.dtype == kind
    assert (larger.alpha[:, :8] == 0).all() and (larger.alpha[:, 18:] == top).all()
    assert picture.with_pixels(np.zeros((20, 28, 3)), opaque=True).alpha is None


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
    listed = list_photos(tmp_path / "in")
    names = [path.relative_to(tmp_path / "in").as_posix() for path in listed]
    assert names == ["a/1.png", "a/2.JPG", "a-b/c.tif", "b.png", "linked/1.png",
                     "linked/2.JPG"]  # fmt: skip


def test_a_folder_without_photos_or_none_at_all_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no image; expected files ending in"):
        list_photos(tmp_path)
    with pytest.raises(InputError, match="no such folder; give a folder"):
        list_photos(tmp_path / "absent")


def test_what_is_written_is_read_back(tmp_path):
    write_photo(tmp_path / "new" / "x.png", PIXELS)
    np.testing.assert_array_equal(read_photo(tmp_path / "new/x.png"), PIXELS)
    write_photo(tmp_path / "m.png", PIXELS[..., 0])
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), PIXELS[..., 0] > 127)
