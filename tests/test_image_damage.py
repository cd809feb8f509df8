"""Of any damaged file there is a whole picture, or one line that says what is wrong."""

import os
import struct
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
    read,
    refusal,
    saved,
    tiff_of,
)
from PIL import Image

from dear_jax.errors import InputError, Unreadable
from dear_jax.images import exif
from dear_jax.images.encode import encode_png, encode_tiff
from dear_jax.images.io import read_image, read_photo
from dear_jax.images.masks import read_mask
from dear_jax.images.metadata import PNG_SIGNATURE, Metadata, read_png_chunks

NOISE = RNG.integers(0, 256, (20, 30, 3), np.uint8)
FLOATS = RNG.random((20, 30, 3), np.float32)
CARRIED = {"exif": b"Exif\0\0" + exif_block(6), "icc_profile": SRGB}
KEPT = Metadata(exif=exif.clean(exif_block()), icc_profile=SRGB, dpi=(300, 300))
FILES = {
    "png": encoded(NOISE, "PNG", **CARRIED),
    "palette": encoded(Image.fromarray(NOISE).quantize(9), "PNG", transparency=3),
    "png16": encode_png(DEEP, KEPT),
    "jpeg": encoded(NOISE, "JPEG", xmp=b"<x tiff:Orientation='3'/>", **CARRIED),
    "progressive": encoded(NOISE, "JPEG", progressive=True),
    "cmyk": encoded(Image.fromarray(NOISE).convert("CMYK"), "JPEG"),
    "webp": encoded(NOISE, "WEBP", **CARRIED),
    "lossless": encoded(NOISE, "WEBP", lossless=True),
    "tiff": encoded(NOISE, "TIFF", **CARRIED),
    "lzw": encoded(NOISE, "TIFF", compression="tiff_lzw"),
    "tiff16": encode_tiff(DEEP[..., :3], KEPT),
    "plain16": tiff_of(DEEP, ">", extra=1),
    "floats": tiff_of(FLOATS, turn=6),
    "deflated": cv2.imencode(".tiff", FLOATS)[1].tobytes(),
    "bmp": encoded(NOISE, "BMP"),
    "gif": encoded(NOISE, "GIF"),
    "ppm": encoded(NOISE, "PPM"),
    "grey": encoded(NOISE[..., 0], "PPM"),
}
VARIANTS = 30  # Of each file.


def damaged(data, rng):
    """A file cut short, or with bits turned, a header altered or bytes missing."""
    changed = bytearray(data)
    kind = rng.integers(5)
    where = int(rng.integers(len(data)))
    if kind == 0:
        return bytes(changed[:where])
    if kind == 1:
        for at in rng.integers(len(data), size=4):
            changed[at] ^= 1 << rng.integers(8)
    elif kind == 2:
        for at in rng.integers(min(len(data), 200), size=3):
            changed[at] = rng.integers(256)
    elif kind == 3:
        at = int(rng.integers(min(len(data), 200)))
        number = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF])
        changed[at : at + 4] = struct.pack("<I", number)
    else:
        del changed[where : where + int(rng.integers(1, 40))]
    return bytes(changed)


def whole_or_refused(data):
    """Whether a picture comes out, which then is checked to be one."""
    try:
        picture = read(data)
    except InputError as error:
        message = str(error)
        assert message.startswith("x: ") and "\n" not in message
        return False
    assert picture.pixels.dtype in (np.uint8, np.uint16)
    assert picture.pixels.shape == (*picture.size, 3) and min(picture.size) > 0
    if picture.alpha is not None:
        assert picture.alpha.shape == picture.size
        assert picture.alpha.dtype == picture.pixels.dtype
    if picture.metadata.exif is not None:
        exif.parse(picture.metadata.exif)
    return True


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_read_or_refused_in_one_line(name):
    assert whole_or_refused(FILES[name])
    rng = np.random.default_rng(2)
    for _ in range(VARIANTS):
        whole_or_refused(damaged(FILES[name], rng))


@pytest.mark.parametrize("name", ["png", "palette", "png16"])
def test_pngs_with_right_checksums_and_wrong_content_as_well(name):
    parts = list(read_png_chunks(FILES[name]))
    rng = np.random.default_rng(3)
    outcomes = set()
    for _ in range(60):
        altered = list(parts)
        which = int(rng.integers(len(parts)))
        kind, content = parts[which]
        content = bytearray(content)
        if kind == b"IDAT" and rng.integers(2):
            content = bytearray(zlib.decompress(content))
        if content:
            content[rng.integers(len(content))] = rng.integers(256)
        if kind == b"IDAT" and len(content) != len(parts[which][1]):
            content = zlib.compress(content)
        altered[which] = (kind, bytes(content))
        data = PNG_SIGNATURE
        for kind, content in altered:
            check = struct.pack(">I", zlib.crc32(kind + content))
            data += struct.pack(">I", len(content)) + kind + content + check
        outcomes.add(whole_or_refused(data))
    assert outcomes == {True, False}


@pytest.mark.parametrize("name", [n for n in FILES if n != "gif"])
def test_files_that_lack_their_second_half_are_refused(name):
    with pytest.raises(Unreadable):
        read(FILES[name][: len(FILES[name]) // 2])


def test_headers_alone_take_no_memory():
    # As many pixels as Pillow would make room for.
    header = bytearray(FILES["png"])
    struct.pack_into(">II", header, 16, 13_000, 13_000)
    struct.pack_into(">I", header, 29, zlib.crc32(header[12:29]))
    with pytest.raises(Unreadable, match="x: cut short"):
        read(bytes(header))
    white = np.full((2000, 3000), 255, np.uint8)  # Packed as well as can be.
    assert (read(encoded(white, "PNG", compress_level=9)).pixels == 255).all()


def test_more_pixels_than_any_photo_has_are_refused_unread():
    many = np.zeros((1, 1, 3), np.float32)
    for data in (FILES["png"], tiff_of(many), FILES["bmp"], FILES["tiff16"]):
        order, at = {
            b"\x89P": (">", (16, 20)),
            b"BM": ("<", (18, 22)),
            b"II": ("<", (18, 30)),
        }[data[:2]]
        large = bytearray(data)
        for where in at:
            struct.pack_into(order + "I", large, where, 30_000)
        if order == ">":
            struct.pack_into(">I", large, 29, zlib.crc32(large[12:29]))
        with pytest.raises(Unreadable, match="x: too large.*reduce it first"):
            read(bytes(large))


@pytest.mark.parametrize(
    "data",
    [b"", b"Dear diary,\n", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
     b"P6\n0 5\n255\n", b"P6\n5 0\n255\n", b"GIF89a\0\0\0\0\0\0\0;", b"II*\0",
     b"II*\0\xff\xff\xff\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"BM"],
)  # fmt: skip
def test_what_is_no_photo_is_refused(data):
    with pytest.raises(Unreadable):
        read(data)


@pytest.mark.parametrize("read", [read_image, read_photo, read_mask])
def test_what_is_no_image_is_refused_with_the_remedy(read, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("Dear diary,\n")
    noise = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    jpeg = saved(tmp_path, noise, "torn.jpg").read_bytes()
    (tmp_path / "torn.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    for name, kind, words in (
        ("absent.png", InputError, "no such file; check its name"),
        (".", InputError, "a folder; give one image file"),
        ("x" * 300, InputError, "make it readable"),
        ("empty.png", Unreadable, "an empty file; copy it again"),
        ("text.png", Unreadable, "save it as PNG or JPEG"),
        ("torn.jpg", Unreadable, "cut short, its end is missing"),
    ):
        assert words in refusal(read, tmp_path / name, kind)


@pytest.mark.skipif(os.name != "posix" or not os.getuid(), reason="root may read all")
def test_a_file_one_may_not_read_is_refused(tmp_path):
    path = saved(tmp_path, PIXELS)
    path.chmod(0)
    assert "Permission denied" in refusal(read_photo, path)


def test_damaged_exif_data_spoil_no_floats():
    data = tiff_of(FLOATS)
    planes = struct.pack("<HHIHH", 284, 3, 1, 1, 0)
    outside = struct.pack("<HHII", exif.EXIF_IFD, 4, 1, 10**6)
    assert planes in data
    picture = read(data.replace(planes, outside))
    np.testing.assert_array_equal(picture.pixels, read(data).pixels)
    assert "its EXIF data cannot be read: left out" in picture.metadata.remarks


# Directories of tagged values


@pytest.mark.parametrize("order", ["<", ">"])
def test_directories_come_back_as_they_were(order):
    value = exif.Value
    inner = {1: value(2, b"N\0"), 2: exif.long(order, 1, 2, 3)}
    tags = {
        271: value(2, b"odd length\0"),
        274: exif.short(order, 6),
        282: exif.rational(order, 72.5),
        exif.EXIF_IFD: value(4, b"", {7: value(7, b"abc")}),
        exif.GPS_IFD: value(4, b"", inner),
    }
    again_order, again = exif.parse(exif.pack(tags, order))
    assert again_order == order

    def plain(found):
        return {
            tag: plain(v.inner) if v.inner is not None else (v.kind, bytes(v.data))
            for tag, v in found.items()
        }

    assert plain(again) == plain(tags)


def test_values_that_share_bytes_cannot_fill_the_memory():
    # Each of many tags claims the whole block.
    count = 2000
    size = 10 + 12 * count + 4
    head = b"II*\0" + struct.pack("<IH", 8, count)
    entries = (struct.pack("<HHII", tag, 7, size, 0) for tag in range(count))
    block = head + b"".join(entries) + bytes(4)
    with pytest.raises(exif.Damaged):
        exif.parse(block)
    endless = {exif.EXIF_IFD: exif.Value(4, struct.pack("<I", 8))}
    with pytest.raises(exif.Damaged):
        exif.parse(exif.pack(endless, "<"))


def test_exif_data_without_content_are_none_and_not_damaged():
    assert exif.clean(b"Exif\0\0") is None
    picture = read(encoded(PIXELS, "PNG"))
    assert picture.metadata == Metadata()
