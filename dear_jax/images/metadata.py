"""What an image file carries besides its pixels, as its restored photo may carry it on.

Damaged metadata are left out, and a remark says so; they spoil no pixel.
"""

import io
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from dear_jax.images import exif, xmp
from dear_jax.images.webp_quality import quality_of_webp, webp_chunks

RGB, GREY, CMYK = b"RGB ", b"GRAY", b"CMYK"  # ICC's names of kinds of colours.
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIG_TIFF = (b"II+\0", b"MM\0+")
_MAX_PAGES = 1000
_MAX_DPI = 50_000  # JPEG has 16 bits for them.
# Chunks of PNG that say what its colours mean -> their bytes.
_COLOUR_CHUNKS = {b"cHRM": 32, b"gAMA": 4, b"sRGB": 1, b"cICP": 4}
_SRGB_GAMMA = struct.pack(">I", 45_455)
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
# Keys of texts that other fields hold, or that show the photo as it was.
_NO_TEXTS = (b"XML:com.adobe.xmp", b"Raw profile type ", b"Thumb::")


class JpegTables(NamedTuple):
    """How finely a JPEG file was quantised.

    Attributes:
      tables: quantisation tables, 64 numbers each.
      subsampling: of the colours as Pillow numbers it, None if unusual.
      progressive: whether the file comes in ever finer scans.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: int | None
    progressive: bool


class Metadata(NamedTuple):
    """What goes from the file that was read to the file that is written.

    Attributes:
      icc_profile: ICC profile of the pixels, byte for byte.
      exif: EXIF data without thumbnail, their orientation 1; with the IPTC record.
      xmp: XMP packet, its orientation 1.
      dpi: pixels per inch, across and down.
      aspect: pixels per an unknown length, across and down, if the two differ.
      jpeg: the quantisation of a JPEG file.
      webp_quality: of a lossy WebP file, 0 to 100.
      png_chunks: (name, data) of the texts in a PNG file and of the chunks that say
        what its colours mean.
      comment: of a JPEG or GIF file; the texts of a PNG file, a line each.
      lossy: whether the file holds its pixels inexactly.
      remarks: sentences about what was left out or changed in reading.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    aspect: tuple[float, float] | None = None
    jpeg: JpegTables | None = None
    webp_quality: float | None = None
    png_chunks: tuple[tuple[bytes, bytes], ...] = ()
    comment: str = ""
    lossy: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def has_texts(self) -> bool:
        """Whether the chunks of a PNG file hold its texts."""
        return any(name in _TEXT_CHUNKS for name, _ in self.png_chunks)

    @property
    def unusual_gamma(self) -> bool:
        """Whether a PNG file says what its colours mean, and not by a profile."""
        chunks = dict(self.png_chunks)
        gamma = chunks.get(b"gAMA", _SRGB_GAMMA)
        plain = b"sRGB" in chunks or bool(self.icc_profile)
        return b"cICP" in chunks or gamma != _SRGB_GAMMA and not plain


def read_metadata(data: bytes, image: Image.Image | None, grey: bool) -> Metadata:
    """Returns the metadata of an image file.

    Args:
      data: the file's content.
      image: that, loaded; None for a TIFF that Pillow does not read.
      grey: whether its pixels are grey.
    """
    info = _tiff_info(data) if image is None else image.info
    remarks: list[str] = []
    profile = _profile(info, image, grey, remarks)
    aspect = _aspect(info)
    found = Metadata(
        icc_profile=profile,
        exif=_exif(data, image, remarks),
        xmp=_xmp(info, remarks),
        dpi=None if aspect else _dpi(info),
        aspect=aspect,
        jpeg=_jpeg_tables(image),
        webp_quality=quality_of_webp(data),
        png_chunks=_png_chunks(data, profile),
        comment=_comment(image),
        lossy=_is_lossy(data, image),
    )
    if _is_animated(image):
        remarks.append("of several pictures in the file the first was taken")
    return found._replace(remarks=tuple(remarks))


def read_png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields names and data of the chunks of a PNG file, as far as they are whole."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def read_tiff_tags(data: bytes) -> Mapping[int, Any]:
    """Returns the values of the tags in the first directory of a TIFF file.

    Raises:
      SyntaxError, OSError, struct.error: if it is damaged.
    """
    for _, tags in read_tiff_pages(data):
        return tags
    return {}


def read_tiff_pages(data: bytes) -> Iterator[tuple[int, Mapping[int, Any]]]:
    """Yields place and tags of the directories of a TIFF file, one a page.

    Raises:
      SyntaxError, OSError, struct.error: if one is damaged.
    """
    file, seen = io.BytesIO(data), set()
    tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
    place = tags.next
    while place and place not in seen and len(seen) < _MAX_PAGES:
        seen.add(place)
        file.seek(place)
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        tags.load(file)
        yield place, tags
        place = tags.next


def cmyk_to_srgb(image: Image.Image, profile: Any) -> Image.Image | None:
    """Returns a CMYK image in sRGB by its profile; None if that does not fit it."""
    if not _profile_fits(profile, CMYK):
        return None
    from PIL import ImageCms

    try:
        return ImageCms.profileToProfile(
            image,
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
        )
    except ImageCms.PyCMSError:
        return None


def _profile_fits(profile: Any, space: bytes) -> bool:
    """Whether it is an ICC profile, whole and of a kind of colours.

    With any other, programs would show false colours or refuse the file.
    """
    if not isinstance(profile, bytes) or len(profile) < 128:
        return False
    if profile[36:40] != b"acsp" or profile[16:20] != space:
        return False
    from PIL import ImageCms

    try:
        ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ValueError, TypeError):
        return False
    return True


def _profile(
    info: dict, image: Image.Image | None, grey: bool, remarks: list[str]
) -> bytes | None:
    profile = info.get("icc_profile")
    if image is not None and image.mode == "CMYK":
        managed = cmyk_to_srgb(Image.new("CMYK", (1, 1)), profile)
        how = "by way of its profile" if managed else "roughly, for no profile says how"
        remarks.append(f"CMYK was made into RGB, {how}")
        return None
    if not profile:
        return None
    if _profile_fits(profile, GREY if grey else RGB):
        return profile
    remarks.append("its colour profile is damaged or of other colours: left out")
    return None


def _exif(data: bytes, image: Image.Image | None, remarks: list[str]) -> bytes | None:
    try:
        if image is not None and data[:4] in _BIG_TIFF:
            return exif.from_tiff(_small_block(image.getexif()))
        if image is None or image.format == "TIFF":
            return exif.from_tiff(data)
        block = image.info.get("exif") or _raw_profile(image.info, "exif")
        block = exif.clean(block) if block else None
    except (exif.Damaged, ValueError, TypeError, AttributeError, struct.error):
        remarks.append("its EXIF data cannot be read: left out")
        block = None
    iptc = image.info.get("photoshop", {}).get(0x0404) if image else None
    return exif.with_iptc(block, iptc) if iptc else block


def _small_block(large: Image.Exif) -> bytes:
    """EXIF data of a BigTIFF, whose places have 64 bits, with places of 32."""
    small = Image.Exif()
    small.update(dict(large))
    for inner in (exif.EXIF_IFD, exif.GPS_IFD):
        small.get_ifd(inner).update(large.get_ifd(inner))
    return small.tobytes().removeprefix(b"Exif\0\0")


def _raw_profile(info: dict, kind: str) -> bytes:
    """Metadata as ImageMagick writes them into the text of a PNG: in hex digits."""
    text = info.get(f"Raw profile type {kind}", "")
    return bytes.fromhex("".join(text.split("\n")[3:]))


def _xmp(info: dict, remarks: list[str]) -> bytes | None:
    packet = info.get("xmp")
    if isinstance(packet, str):
        packet = packet.encode(errors="replace")
    if not isinstance(packet, bytes) or not packet:
        return None
    packet, others = xmp.without_other_pictures(xmp.upright(packet))
    if others:
        remarks.append(f"its {others} went, for they show the photo as it was")
    return packet


def _comment(image: Image.Image | None) -> str:
    """The comment of a JPEG or GIF file, or the texts of a PNG file, line by line."""
    if image is None:
        return ""
    if isinstance(image, PngImagePlugin.PngImageFile):
        texts = {
            key: text
            for key, text in image.text.items()
            if not key.encode(errors="replace").startswith(_NO_TEXTS)
        }
        lines = [t if k == "Comment" else f"{k}: {t}" for k, t in texts.items()]
        return "\n".join(lines)
    comment = image.info.get("comment", b"")
    if isinstance(comment, bytes):
        try:
            comment = comment.decode()
        except UnicodeDecodeError:
            comment = comment.decode("latin-1")
    return comment.rstrip("\0")


def _dpi(info: dict) -> tuple[float, float] | None:
    try:
        across, down = (float(number) for number in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    plausible = all(1 <= number <= _MAX_DPI for number in (across, down))
    return (across, down) if plausible else None


def _aspect(info: dict) -> tuple[float, float] | None:
    pair = info.get("aspect")  # Of PNG.
    if info.get("jfif_unit") == 0:
        pair = info["jfif_density"]
    elif "resolution" in info and "dpi" not in info:  # Of TIFF, without a unit.
        pair = info["resolution"]
    try:
        across, down = (float(number) for number in pair or (1, 1))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    different = across > 0 and down > 0 and 1e-3 < abs(across / down - 1) < 1e3
    return (across, down) if different else None


def _jpeg_tables(image: Image.Image | None) -> JpegTables | None:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    tables = image.quantization
    if image.mode not in ("L", "RGB") or list(tables) != list(range(len(tables))):
        return None
    # Coarser numbers are allowed, but not in files that all programs read.
    if not tables or not all(len(t) == 64 for t in tables.values()):
        return None
    if not all(1 <= number <= 255 for t in tables.values() for number in t):
        return None
    sampling = JpegImagePlugin.get_sampling(image)
    return JpegTables(
        tables=tuple(tuple(table) for table in tables.values()),
        subsampling=None if sampling < 0 else sampling,
        progressive=bool(image.info.get("progressive")),
    )


def _is_lossy(data: bytes, image: Image.Image | None) -> bool:
    if image is not None and image.format == "WEBP":
        return not _is_lossless_webp(data)
    if image is not None and image.format in ("AVIF", "HEIF", "JXL", "JPEG2000"):
        return True  # Or nearly always.
    if image is not None and image.format == "TIFF":
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return isinstance(image, JpegImagePlugin.JpegImageFile)


def _is_lossless_webp(data: bytes) -> bool:
    for name, _ in webp_chunks(data):
        if name in (b"VP8L", b"VP8 ", b"ANMF"):
            return name == b"VP8L"
    return False


def _png_chunks(data: bytes, profile: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    if not data.startswith(PNG_SIGNATURE):
        return ()
    colours: dict[bytes, bytes] = {}
    texts = []
    for name, content in read_png_chunks(data):
        if _COLOUR_CHUNKS.get(name) == len(content):
            colours.setdefault(name, content)
        elif name in _TEXT_CHUNKS and not content.startswith(_NO_TEXTS):
            texts.append((name, content))
    if profile:
        colours.pop(b"sRGB", None)  # Either may be there, never both.
    return (*colours.items(), *texts)


def _is_animated(image: Image.Image | None) -> bool:
    # An MPO is a photo with its previews, or as seen by the other eye.
    if image is None or image.format == "MPO":
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # A second picture that is damaged.
        return True


def _tiff_info(data: bytes) -> dict:
    """What Pillow's `info` would hold of a TIFF file."""
    tags = read_tiff_tags(data)
    info = {"icc_profile": tags.get(34675), "xmp": tags.get(700)}
    inches = {2: 1.0, 3: 2.54}.get(tags.get(296, 1))
    if inches:
        info["dpi"] = [inches * (tags.get(tag) or 0) for tag in (282, 283)]
    return info
