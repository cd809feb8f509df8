"""What a file carries besides its pixels, in the state in which it may go on.

Whatever is damaged is left out, and a remark says so; nothing here spoils a picture.
"""

import struct

from PIL import Image, JpegImagePlugin

from dear_jax.images import exif, profiles
from dear_jax.images.directories import Damaged, parse
from dear_jax.images.picture import JpegQuality, Kept
from dear_jax.images.png import chunks

_PROFILE, _XMP = 34675, 700
_RESOLUTION, _UNIT = (282, 283), 296
_INCHES = {2: 1.0, 3: 2.54}  # TIFF's units of resolution -> how many to the inch.
_MOST_DPI = 50_000  # JPEG has 16 bits for them.
_FINE = frozenset(range(1, 256))
_COLOUR_CHUNKS = {b"cHRM": 32, b"gAMA": 4, b"sRGB": 1, b"cICP": 4}


def carried(data: bytes, image: Image.Image | None, grey: bool) -> Kept:
    """What goes along with the pixels of a file.

    Args:
      data: the file's content.
      image: that, loaded; None for a TIFF that Pillow does not read.
      grey: whether its pixels are grey.
    """
    info = _of_tiff(data) if image is None else image.info
    remarks: list[str] = []
    profile = _profile(info, image, grey, remarks)
    found = Kept(
        profile=profile,
        exif=_exif(data, image, remarks),
        xmp=_xmp(info),
        dpi=_dpi(info),
        lossy=_is_lossy(data, image),
    )
    if image is None:
        return found._replace(remarks=tuple(remarks))
    if _more_pictures(image):
        remarks.append("of several pictures in the file the first was taken")
    return found._replace(
        jpeg=_jpeg(image),
        colour_chunks=_colour_chunks(data, image, profile is not None),
        remarks=tuple(remarks),
    )


def _profile(
    info: dict, image: Image.Image | None, grey: bool, remarks: list[str]
) -> bytes | None:
    profile = info.get("icc_profile")
    if image is not None and image.mode == "CMYK":
        managed = profiles.screen_colours(Image.new("CMYK", (1, 1)), profile)
        how = "by way of its profile" if managed else "roughly, for no profile says how"
        remarks.append(f"CMYK was made into RGB, {how}")
        return None
    if not profile:
        return None
    space = profiles.GREY if grey else profiles.RGB
    if profiles.fits(profile, space):
        return profile
    remarks.append("its colour profile is damaged or of other colours: left out")
    return None


def _exif(data: bytes, image: Image.Image | None, remarks: list[str]) -> bytes | None:
    try:
        if image is None or image.format == "TIFF":
            return exif.of_tiff(data)
        block = image.info.get("exif") or _written_out(image.info)
        if not block:
            return None
        return exif.cleaned(block)
    except (Damaged, ValueError, TypeError, AttributeError, struct.error):
        remarks.append("its EXIF data cannot be read: left out")
        return None


def _written_out(info: dict) -> bytes:
    """EXIF data as ImageMagick writes them into the text of a PNG: in digits."""
    text = info.get("Raw profile type exif", "")
    return bytes.fromhex("".join(text.split("\n")[3:]))


def _xmp(info: dict) -> bytes | None:
    packet = info.get("xmp")
    if isinstance(packet, str):
        packet = packet.encode(errors="replace")
    return exif.upright_xmp(packet) if isinstance(packet, bytes) and packet else None


def _dpi(info: dict) -> tuple[float, float] | None:
    try:
        across, down = (float(number) for number in info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    sensible = all(1 <= number <= _MOST_DPI for number in (across, down))
    return (across, down) if sensible else None


def _jpeg(image: Image.Image) -> JpegQuality | None:
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    tables = image.quantization
    if image.mode not in ("L", "RGB") or list(tables) != list(range(len(tables))):
        return None
    # Coarser numbers are allowed, but not in files that all programs read.
    if not tables or not all(set(t) <= _FINE and len(t) == 64 for t in tables.values()):
        return None
    sampling = JpegImagePlugin.get_sampling(image)
    return JpegQuality(
        tables=tuple(tuple(table) for table in tables.values()),
        subsampling=None if sampling < 0 else sampling,
        progressive=bool(image.info.get("progressive")),
    )


def _is_lossy(data: bytes, image: Image.Image | None) -> bool:
    if image is not None and image.format == "WEBP":
        return not _is_lossless_webp(data)
    if image is not None and image.format == "TIFF":
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return isinstance(image, JpegImagePlugin.JpegImageFile)


def _is_lossless_webp(data: bytes) -> bool:
    at = 12
    while at + 8 <= len(data) and data[at : at + 4] not in (b"VP8 ", b"ANMF"):
        if data[at : at + 4] == b"VP8L":
            return True
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8 + length + length % 2
    return False


def _colour_chunks(
    data: bytes, image: Image.Image, has_profile: bool
) -> tuple[tuple[bytes, bytes], ...]:
    if image.format != "PNG":
        return ()
    found: dict[bytes, bytes] = {}
    for name, content in chunks(data):
        if name == b"IDAT":
            break
        if _COLOUR_CHUNKS.get(name) == len(content):
            found.setdefault(name, content)
    if has_profile:
        found.pop(b"sRGB", None)  # Either may be there, never both.
    return tuple(found.items())


def _more_pictures(image: Image.Image) -> bool:
    if image.format == "MPO":  # A photo with its previews, or seen by the other eye.
        return False
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # A second picture that is damaged.
        return True


def _of_tiff(data: bytes) -> dict:
    """What Pillow would tell of a TIFF file, but by `directories`."""
    order, tags = parse(data)
    info = {}
    for tag, name in ((_PROFILE, "icc_profile"), (_XMP, "xmp")):
        if tag in tags:
            info[name] = bytes(tags[tag].data)
    try:
        (unit,) = struct.unpack_from(order + "H", tags[_UNIT].data)
        pairs = [struct.unpack(order + "2I", tags[tag].data) for tag in _RESOLUTION]
        info["dpi"] = [_INCHES[unit] * above / below for above, below in pairs]
    except (KeyError, struct.error, ZeroDivisionError):
        pass
    return info
