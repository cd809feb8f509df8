"""Photo files are written with all that was read; what they cannot hold is said."""

import io

import cv2
import numpy as np
import pytest
from image_files import DEEP, PIXELS, RNG, SRGB, encoded, exif_block, read
from PIL import Image, ImageCms, IptcImagePlugin, JpegImagePlugin
from PIL.PngImagePlugin import PngInfo

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.images import exif
from dear_jax.images.encode import encode_png, encode_tiff
from dear_jax.images.io import (
    FORMATS,
    SUFFIXES,
    ImageFile,
    check_output,
    list_photos,
    read_image,
    read_photo,
    write_image,
)
from dear_jax.images.metadata import JpegTables, Metadata

ALPHA = RNG.integers(0, 256, (5, 7), np.uint8)
EXIF = exif.clean(exif_block(6))
XMP = b"<x:xmpmeta>text</x:xmpmeta>"
FULL = Metadata(icc_profile=SRGB, exif=EXIF, xmp=XMP, dpi=(300.0, 150.0))


def written(path, picture):
    """What is read of a picture that was written, and the remarks on that."""
    remarks = write_image(path, picture)
    return read_image(path), remarks


def as_tags(block):
    """EXIF data as plain values, as another program reads them."""
    data = Image.Exif()
    data.load(block)
    return dict(data) | {tag: dict(data.get_ifd(tag)) for tag in (0x8769, 0x8825)}


def grey_profile():
    """A grey profile, made of the sRGB one: its space and its curve."""
    curve = b"curv\0\0\0\0\0\0\0\1\2\0\0\0"
    white = SRGB[SRGB.index(b"XYZ \0\0\0\0") :][:20]
    tags = b"\0\0\0\2" + b"kTRC" + (160).to_bytes(4) + len(curve).to_bytes(4)
    tags += b"wtpt" + (160 + len(curve)).to_bytes(4) + len(white).to_bytes(4)
    body = SRGB[4:16] + b"GRAY" + SRGB[20:128] + tags.ljust(32, b"\0") + curve + white
    return (len(body) + 4).to_bytes(4) + body


# Pixels


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".bmp", ".ppm"])
@pytest.mark.parametrize("grey", [False, True])
def test_eight_bits_come_back_exactly(suffix, grey, tmp_path):
    pixels = np.repeat(PIXELS[..., :1], 3, -1) if grey else PIXELS
    for alpha in (None, ALPHA) if suffix in (".png", ".tif", ".webp") else (None,):
        picture = ImageFile(pixels, alpha, grey)
        again, remarks = written(tmp_path / f"x{suffix}", picture)
        np.testing.assert_array_equal(again.pixels, pixels)
        np.testing.assert_array_equal(again.alpha, alpha)
        assert again.grey == (grey and suffix != ".webp") and not remarks


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("size", [(5, 7), (1, 1), (300, 400)])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_sixteen_bits_come_back_exactly(suffix, size, grey, with_alpha, tmp_path):
    # Smooth and noisy parts, so that every filter is best somewhere.
    y, x = np.indices(size)
    smooth = np.stack([150 * y, 60 * x, 65535 - 90 * (x + y)], -1)
    noise = RNG.integers(0, 65536, (*size, 3))
    pixels = np.where((x > 200)[..., None], noise, smooth).astype(np.uint16)
    pixels = np.repeat(pixels[..., :1], 3, -1) if grey else pixels
    alpha = noise[..., 0].astype(np.uint16) if with_alpha else None
    again, remarks = written(tmp_path / f"x{suffix}", ImageFile(pixels, alpha, grey))
    np.testing.assert_array_equal(again.pixels, pixels)
    np.testing.assert_array_equal(again.alpha, alpha)
    assert not remarks


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_other_programs_read_our_sixteen_bits(suffix, tmp_path):
    for count in (1, 3, 4):
        grey = count == 1
        pixels = DEEP[..., [0, 0, 0]] if grey else DEEP[..., :3]
        alpha = DEEP[..., 3] if count == 4 else None
        write_image(
            tmp_path / f"x{suffix}", ImageFile(pixels, alpha, grey, metadata=FULL)
        )
        theirs = cv2.imread(str(tmp_path / f"x{suffix}"), cv2.IMREAD_UNCHANGED)
        assert theirs.dtype == np.uint16
        ours = DEEP[..., 0] if grey else DEEP[..., [2, 1, 0, 3][:count]]
        np.testing.assert_array_equal(theirs, ours)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".ppm", ".gif"])
def test_sixteen_bits_are_rounded_where_eight_are_held(suffix, tmp_path):
    grey = np.repeat(DEEP[..., :1], 3, -1)
    again, remarks = written(tmp_path / f"x{suffix}", ImageFile(grey, grey=True))
    assert again.bits == 8 and "its 16 were rounded" in remarks[0]
    np.testing.assert_allclose(again.pixels, grey / 257, atol=12)
    if suffix != ".jpg":
        np.testing.assert_array_equal(again.pixels, np.rint(grey / 257))


def test_webp_is_lossless_unless_the_photo_was_not(tmp_path):
    noise = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    for source, exact in (("PNG", True), ("WEBP", False), ("JPEG", False)):
        picture = read(encoded(noise, source))
        again, _ = written(tmp_path / "x.webp", picture)
        assert np.array_equal(again.pixels, picture.pixels) == exact
    picture = read(encoded(noise, "WEBP", lossless=True, exif=b"Exif\0\0" + EXIF))
    again, _ = written(tmp_path / "x.webp", picture)
    np.testing.assert_array_equal(again.pixels, noise)


# Quality of JPEG


@pytest.mark.parametrize("quality", [20, 75, 90])
def test_a_lossy_webp_is_written_as_coarsely_as_it_was(quality, tmp_path):
    pixels = read_photo(list_photos(bundled.PHOTOS)[0])
    picture = read(encoded(pixels, "WEBP", quality=quality))
    assert picture.metadata.webp_quality == pytest.approx(quality, abs=2)
    again, _ = written(tmp_path / "x.webp", picture)
    assert again.metadata.webp_quality == pytest.approx(quality, abs=3)
    lossless = read(encoded(PIXELS, "WEBP", lossless=True))
    assert lossless.metadata.webp_quality is None


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("quality", [1, 75, 98])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_jpeg_is_written_as_finely_as_it_was(mode, quality, subsampling, tmp_path):
    smooth = Image.fromarray(PIXELS).resize((64, 48)).convert(mode)
    data = encoded(
        smooth, "JPEG", quality=quality, subsampling=subsampling, progressive=True
    )
    first = Image.open(io.BytesIO(data))
    write_image(tmp_path / "x.jpg", read(data))
    second = Image.open(tmp_path / "x.jpg")
    assert second.quantization == first.quantization
    assert second.mode == mode and second.info["progressive"]
    sampling = JpegImagePlugin.get_sampling(second)
    assert sampling == JpegImagePlugin.get_sampling(first)


def test_a_jpeg_of_another_file_is_fine(tmp_path):
    smooth = np.asarray(Image.fromarray(PIXELS).resize((64, 48)))
    again, _ = written(tmp_path / "x.jpg", read(encoded(smooth, "PNG")))
    assert np.abs(again.pixels.astype(int) - smooth).mean() < 1.5
    assert again.metadata.jpeg.subsampling == 0


def test_tables_that_not_all_programs_read_are_not_kept():
    fine, coarse = [2] * 64, [300] * 64
    kept = [
        read(encoded(PIXELS, "JPEG", qtables=[t, t])).metadata for t in (fine, coarse)
    ]
    assert kept[0].jpeg.tables == (tuple(fine),) * 2 and kept[1].jpeg is None


# What files carry


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_what_was_carried_is_carried_on(suffix, kind, tmp_path):
    picture = ImageFile(DEEP[..., :3].astype(kind), metadata=FULL)
    again, remarks = written(tmp_path / f"x{suffix}", picture)
    assert again.metadata.icc_profile == SRGB and again.metadata.xmp == XMP
    assert as_tags(again.metadata.exif) == as_tags(EXIF)
    assert not again.metadata.remarks
    if suffix != ".webp":
        np.testing.assert_allclose(again.metadata.dpi, FULL.dpi, atol=0.02)
    rounded = kind == np.uint16 and suffix in (".jpg", ".webp")
    assert len(remarks) == rounded


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_pillow_sees_what_is_carried(suffix, tmp_path):
    write_image(tmp_path / f"x{suffix}", ImageFile(PIXELS, metadata=FULL))
    image = Image.open(tmp_path / f"x{suffix}")
    image.load()
    assert image.info["icc_profile"] == SRGB and image.info["xmp"] == XMP
    data = image.getexif()
    assert data[271] == "Maker" and data.get_ifd(0x8769)[0x927C] == b"maker's own notes"


def test_a_round_trip_through_any_format_changes_nothing_twice(tmp_path):
    picture = ImageFile(PIXELS, ALPHA, metadata=FULL)
    for suffix in (".tif", ".png", ".tif", ".webp"):
        picture, _ = written(tmp_path / f"x{suffix}", picture)
    np.testing.assert_array_equal(picture.pixels, PIXELS)
    np.testing.assert_array_equal(picture.alpha, ALPHA)
    assert picture.metadata.icc_profile == SRGB and as_tags(
        picture.metadata.exif
    ) == as_tags(EXIF)


def test_either_byte_order_is_carried(tmp_path):
    data = Image.Exif()
    data.endian = ">"
    data[271] = "Maker"
    data[0x0112] = 3
    block = exif.clean(data.tobytes())
    assert block.startswith(b"MM")
    for picture in (ImageFile(PIXELS), ImageFile(DEEP[..., :3])):
        kept = Metadata(exif=block, icc_profile=SRGB, dpi=(72, 72))
        full = ImageFile(picture.pixels, metadata=kept)
        again, _ = written(tmp_path / "x.tif", full)
        np.testing.assert_array_equal(again.pixels, picture.pixels)
        assert as_tags(again.metadata.exif)[271] == "Maker"
        assert again.metadata.icc_profile == SRGB and again.metadata.dpi == (72, 72)


def test_exif_data_name_the_new_size(tmp_path):
    picture = read(encoded(PIXELS, "JPEG", exif=b"Exif\0\0" + exif_block()))
    larger = picture.with_pixels(np.zeros((20, 28, 3)))
    again, _ = written(tmp_path / "x.png", larger)
    inner = as_tags(again.metadata.exif)[0x8769]
    assert (inner[0xA002], inner[0xA003]) == (28, 20)


def test_profiles_of_grey_photos_go_to_grey_files_only(tmp_path):
    profile = grey_profile()
    ImageCms.ImageCmsProfile(io.BytesIO(profile))
    grey = np.repeat(PIXELS[..., :1], 3, -1)
    picture = ImageFile(grey, grey=True, metadata=Metadata(icc_profile=profile))
    for suffix in (".png", ".jpg", ".tif"):
        again, remarks = written(tmp_path / f"x{suffix}", picture)
        assert again.metadata.icc_profile == profile and not remarks
    again, remarks = written(tmp_path / "x.webp", picture)
    assert again.metadata.icc_profile is None and "of grey photos" in remarks[0]


def test_large_profiles_are_carried(tmp_path):
    size = len(SRGB) + 2_000_000
    profile = size.to_bytes(4) + SRGB[4:] + RNG.bytes(2_000_000)
    for suffix in (".png", ".jpg", ".tif"):
        picture = ImageFile(PIXELS, metadata=Metadata(icc_profile=profile))
        again, remarks = written(tmp_path / f"x{suffix}", picture)
        assert again.metadata.icc_profile == profile and not remarks


def test_chunks_that_say_what_colours_mean_are_carried_from_png_to_png(tmp_path):
    chunks = ((b"gAMA", (45455).to_bytes(4)), (b"cHRM", bytes(range(32))))
    data = encode_png(PIXELS, Metadata(png_chunks=(*chunks, (b"sRGB", b"\0"))))
    assert dict(read(data).metadata.png_chunks) == dict(chunks) | {b"sRGB": b"\0"}
    again, _ = written(tmp_path / "x.png", read(data))
    assert dict(again.metadata.png_chunks) == dict(chunks) | {b"sRGB": b"\0"}
    managed = encode_png(
        PIXELS, Metadata(icc_profile=SRGB, png_chunks=((b"sRGB", b"\0"),))
    )
    assert not read(managed).metadata.png_chunks  # Never both.


def test_texts_are_carried_from_png_to_png(tmp_path):
    text = PngInfo()
    text.add_text("Title", "An old photo")
    text.add_itxt("Author", "François", "fr", "Auteur")
    text.add_text("Comment", "long " * 100, zip=True)
    text.add_text("Thumb::URI", "file:///photo.png")
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    picture = read(encoded(PIXELS, pnginfo=text))
    write_image(tmp_path / "x.png", picture)
    again = Image.open(tmp_path / "x.png").text
    expected = {"Title": "An old photo", "Author": "François", "Comment": "long " * 100}
    assert {key: again[key] for key in again if ":" not in key} == expected
    assert again["Author"].lang == "fr" and "Thumb::URI" not in again
    assert read_image(tmp_path / "x.png").metadata.xmp == XMP


def test_iptc_records_are_carried_as_each_format_holds_them(tmp_path):
    iptc = b"\x1c\2\x69\0\x05Title" + b"\x1c\2\x50\0\2Me"
    for block in (EXIF, None):
        tiff = encode_tiff(PIXELS, Metadata(exif=exif.with_iptc(block, iptc)))
        picture = read(tiff)
        for suffix in (".jpg", ".png", ".jpg", ".tif", ".jpg"):
            picture, remarks = written(tmp_path / f"x{suffix}", picture)
            assert not remarks
            assert exif.without_iptc(picture.metadata.exif)[1] == iptc
        with Image.open(tmp_path / "x.jpg") as image:
            assert IptcImagePlugin.getiptcinfo(image)[2, 0x69] == b"Title"
            assert (271 in image.getexif()) == (block is not None)
            assert 33723 not in image.getexif()


@pytest.mark.parametrize("aspect", [(2, 1), (59, 54), (1.5, 1.25)])
def test_pixels_that_are_not_square_stay_so(aspect, tmp_path):
    picture = ImageFile(PIXELS, metadata=Metadata(exif=EXIF, aspect=aspect))
    for suffix in (".png", ".jpg", ".tif", ".png"):
        picture, _ = written(tmp_path / f"x{suffix}", picture)
        found = picture.metadata
        assert found.aspect[0] / found.aspect[1] == pytest.approx(aspect[0] / aspect[1])
        assert found.dpi is None
    square, _ = written(tmp_path / "x.jpg", ImageFile(PIXELS))
    assert square.metadata.aspect is None


def test_comments_are_carried_as_each_format_holds_them(tmp_path):
    comment = "An old photo, Zürich"
    picture = read(encoded(PIXELS, "JPEG", comment=comment.encode()))
    assert picture.metadata.comment == comment
    for suffix in (".jpg", ".png", ".gif", ".jpg", ".tif"):
        write_image(tmp_path / f"x{suffix}", picture)
        with Image.open(tmp_path / f"x{suffix}") as image:
            held = image.info.get("comment") or image.info.get("Comment")
            held = held or image.tag_v2[270].encode("latin-1")
        assert (held.decode() if isinstance(held, bytes) else held) == comment
    _, remarks = written(tmp_path / "x.webp", picture)
    assert remarks == ["WebP does not hold its comment or texts: left out"]


def test_texts_of_a_png_become_the_comment_of_a_jpeg(tmp_path):
    text = PngInfo()
    text.add_text("Title", "Anna")
    text.add_text("Comment", "At home")
    picture = read(encoded(PIXELS, pnginfo=text))
    again, remarks = written(tmp_path / "x.jpg", picture)
    assert again.metadata.comment == "Title: Anna\nAt home" and not remarks


def test_a_gamma_and_the_shape_of_pixels_do_not_get_lost_silently(tmp_path):
    gamma = Metadata(png_chunks=((b"gAMA", (100_000).to_bytes(4)),))
    picture = read(encode_png(PIXELS, gamma))
    _, remarks = written(tmp_path / "x.jpg", picture)
    assert "gamma" in remarks[0]
    assert not written(tmp_path / "x.png", picture)[1]
    wide = ImageFile(PIXELS, metadata=Metadata(aspect=(2, 1)))
    assert "not square" in written(tmp_path / "x.webp", wide)[1][0]


def test_xmp_names_the_new_size_of_photo_and_panorama(tmp_path):
    packet = (
        b'<r tiff:ImageWidth="7" tiff:ImageLength=\'5\' GPano:FullPanoWidthPixels="70"'
        b' GPano:CroppedAreaTopPixels="3"><GPano:CroppedAreaImageHeightPixels>5'
        b"</GPano:CroppedAreaImageHeightPixels></r>"
    )
    picture = read(encoded(PIXELS, "WEBP", xmp=packet, lossless=True))
    larger = picture.with_pixels(np.zeros((10, 21, 3), np.uint8)).metadata.xmp
    for text in (
        b'Width="21"', b"Length='10'", b'FullPanoWidthPixels="210"',
        b'CroppedAreaTopPixels="6"', b"HeightPixels>10<",
    ):  # fmt: skip
        assert text in larger
    assert picture.with_pixels(PIXELS).metadata.xmp == packet


def test_gain_maps_and_videos_go_and_are_no_longer_announced():
    packet = (
        b'<d hdrgm:Version="1.0" GCamera:MotionPhoto="1" dc:title="A">'
        b"<Container:Directory><rdf:Seq><rdf:li>x</rdf:li></rdf:Seq>"
        b"</Container:Directory></d>"
    )
    kept = read(encoded(PIXELS, "WEBP", xmp=packet, lossless=True)).metadata
    assert kept.xmp == b'<d dc:title="A"></d>'
    assert "gain map and video" in kept.remarks[0]


@pytest.mark.parametrize("suffix", [".bmp", ".ppm", ".gif"])
def test_what_a_format_cannot_hold_is_said(suffix, tmp_path):
    _, remarks = written(tmp_path / f"x{suffix}", ImageFile(PIXELS, metadata=FULL))
    told = " ".join(remarks)
    for name in ("colour profile", "EXIF data", "XMP data"):
        assert f"holds no {name}: left out" in told


def test_what_is_too_long_for_a_jpeg_is_left_out_and_that_is_said(tmp_path):
    order, tags = exif.parse(EXIF)
    tags[exif.EXIF_IFD].inner[0x927C] = exif.Value(7, bytes(70_000))
    kept = FULL._replace(exif=exif.pack(tags, order), xmp=XMP + bytes(66_000))
    again, remarks = written(tmp_path / "x.jpg", ImageFile(PIXELS, metadata=kept))
    assert again.metadata.exif is None and again.metadata.xmp is None
    assert len(remarks) == 2 and "no EXIF data of 7" in remarks[0]
    again, remarks = written(tmp_path / "x.png", ImageFile(PIXELS, metadata=kept))
    assert again.metadata.xmp == kept.xmp and not remarks


# Refusals


def test_every_format_that_is_written_is_read():
    assert set(FORMATS) <= SUFFIXES


@pytest.mark.parametrize("name", ["x", "x.heic", "x.png.txt"])
def test_other_suffixes_are_refused(name, tmp_path):
    with pytest.raises(InputError, match="no format that can be written; use .png"):
        write_image(tmp_path / name, ImageFile(PIXELS))


def test_alpha_that_hides_nothing_is_no_hindrance(tmp_path):
    picture = ImageFile(PIXELS, np.full((5, 7), 255, np.uint8))
    assert not picture.transparent and ImageFile(PIXELS, ALPHA).transparent
    again, remarks = written(tmp_path / "x.bmp", picture)
    np.testing.assert_array_equal(again.pixels, PIXELS)
    assert again.alpha is None and not remarks


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".ppm"])
def test_transparency_is_never_lost_silently(suffix, tmp_path):
    with pytest.raises(InputError, match="no transparency.*; write PNG"):
        write_image(tmp_path / f"x{suffix}", ImageFile(PIXELS, ALPHA))
    assert not list(tmp_path.iterdir())


def test_photos_larger_than_a_format_are_refused_before_the_work():
    for name in ("x.jpg", "x.webp", "x.gif"):
        with pytest.raises(InputError, match="70000 x 10 pixels.*write PNG or TIFF"):
            check_output(name, size=(10, 70_000))
    assert check_output("x.png", size=(10, 70_000)) == "PNG"
    wide = ImageFile(np.zeros((1, 16_384, 3), np.uint8))
    with pytest.raises(InputError, match="WebP holds 16383 a side"):
        write_image("x.webp", wide)


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"before")
    broken = Metadata(jpeg=JpegTables(((1, 2, 3),), None, False))
    with pytest.raises(InputError, match="x.jpg: cannot be written as JPEG"):
        write_image(tmp_path / "x.jpg", ImageFile(PIXELS, metadata=broken))
    assert (tmp_path / "x.jpg").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.jpg"]
