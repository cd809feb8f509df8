"""Writing photo files with all that they carry; the suffix says in which format.

PNG and TIFF hold everything, of 8 and 16 bits. WebP holds all but 16 bits and dots per
inch, and is lossless unless the photo came from a lossy file. JPEG is written as finely
as the JPEG that was read, else at quality 95. BMP, PPM and GIF hold little more than
the pixels; of what is left out `write_picture` tells.
"""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from dear_jax.errors import InputError
from dear_jax.files import replacing
from dear_jax.images import exif, png, tiff
from dear_jax.images.picture import Kept, Picture, with_bits

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP", ".tif": "TIFF",
    ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".ppm": "PPM",
}  # fmt: skip
_DEEP = ("PNG", "TIFF")
_TRANSPARENT = ("PNG", "TIFF", "WebP", "GIF")
_LONGEST = {"JPEG": 65_500, "WebP": 16_383, "GIF": 65_535}  # Pixels of a side.
_ALL = {"profile", "exif", "xmp"}
# What a format holds of what it would be wrong to leave out silently.
_HOLDS = {"PNG": _ALL, "TIFF": _ALL, "JPEG": _ALL, "WebP": _ALL,
          "BMP": set(), "GIF": set(), "PPM": set()}  # fmt: skip
_NAMES = {"profile": "colour profile", "exif": "EXIF data", "xmp": "XMP data"}
# Bytes of each that a JPEG file holds; profiles are dealt to 255 segments.
_JPEG_HOLDS = {"exif": 65_527, "xmp": 65_504, "profile": 255 * 65_519}


def check_output(
    path: str | Path, alpha: bool = False, size: tuple[int, int] | None = None
) -> str:
    """The format in which `path` will be written, told before there is a picture.

    Args:
      path: of the file; need not exist.
      alpha: whether the picture has transparent pixels.
      size: of the picture, (h, w), if known.

    Raises:
      InputError: if its suffix names no format, or one that cannot hold such a picture.
    """
    known = FORMATS.get(Path(path).suffix.lower())
    if known is None:
        raise InputError(
            f"{path}: ends in no format that can be written; use {' '.join(FORMATS)}"
        )
    if alpha and known not in _TRANSPARENT:
        raise InputError(
            f"{path}: {known} holds no transparency, which the photo has; write PNG, "
            "WebP or TIFF"
        )
    longest = _LONGEST.get(known)
    if size is not None and longest and max(size) > longest:
        raise InputError(
            f"{path}: {size[1]} x {size[0]} pixels, {known} holds {longest} a side; "
            "write PNG or TIFF"
        )
    return known


def write_picture(path: str | Path, picture: Picture) -> list[str]:
    """Writes a picture; an existing file is replaced whole, or stays as it was.

    Returns:
      Sentences about what the file could not hold.

    Raises:
      InputError: as `check_output`, or if the file cannot be written.
    """
    known = check_output(path, picture.transparent, picture.size)
    if known not in _TRANSPARENT:
        picture = replace(picture, alpha=None)
    try:
        kept, remarks = _held(picture, known)
        data = _ENCODERS[known](_channels(picture, known), kept)
    except MemoryError:
        raise InputError(
            f"{path}: too little memory to write it; free some, or choose a smaller "
            "size"
        ) from None
    except (OSError, ValueError, OverflowError, struct.error) as error:
        raise InputError(
            f"{path}: cannot be written as {known} ({error}); write PNG"
        ) from None
    if picture.bits > 8 and known not in _DEEP:
        remarks.append(f"{known} holds 8 bits: its 16 were rounded")
    if known == "GIF" and (picture.alpha is not None or not picture.grey):
        remarks.append("GIF holds 256 colours, one of them transparent: others changed")
    with replacing(path) as partial:
        partial.write_bytes(data)
    return remarks


def _held(picture: Picture, known: str) -> tuple[Kept, list[str]]:
    """What the format holds of what goes along, and remarks on the rest."""
    kept, remarks = picture.kept, []
    if kept.exif is not None:
        kept = kept._replace(exif=exif.sized(kept.exif, *picture.size))
    for what, name in _NAMES.items():
        content = getattr(kept, what)
        if content is None:
            continue
        if what not in _HOLDS[known]:
            remarks.append(f"{known} holds no {name}: left out")
        elif known == "JPEG" and len(content) > _JPEG_HOLDS[what]:
            remarks.append(f"JPEG holds no {name} of {len(content)} bytes: left out")
        else:
            continue
        kept = kept._replace(**{what: None})
    if picture.grey and kept.profile and _in_colours(picture, known):
        kept = kept._replace(profile=None)
        remarks.append(f"{known} holds no colour profile of grey photos: left out")
    return kept, remarks


def _in_colours(picture: Picture, known: str) -> bool:
    """Whether the file has colours even if the picture has none."""
    if known == "TIFF":  # Hardly anything reads grey with transparency in 16 bits.
        return picture.bits > 8 and picture.alpha is not None
    return known == "WebP"


def _channels(picture: Picture, known: str) -> np.ndarray:
    """Channels [H, W, 1 to 4] of a picture, of the bits that the format holds."""
    grey = picture.grey and not _in_colours(picture, known)
    channels = picture.pixels[..., :1] if grey else picture.pixels
    if picture.alpha is not None:
        channels = np.concatenate([channels, picture.alpha[..., None]], -1)
    return channels if known in _DEEP else with_bits(channels, 8)


def _jpeg(channels: np.ndarray, kept: Kept) -> bytes:
    options = {"quality": 95, "subsampling": 0}
    if kept.jpeg is not None:
        # Pillow's -1 leaves to libjpeg what the tables do not say.
        sampling = -1 if kept.jpeg.subsampling is None else kept.jpeg.subsampling
        options = {
            "qtables": [list(table) for table in kept.jpeg.tables],
            "subsampling": sampling,
            "progressive": kept.jpeg.progressive,
        }
    if kept.dpi:
        options["dpi"] = kept.dpi
    if kept.exif:
        options["exif"] = b"Exif\0\0" + kept.exif
    return _saved(channels, "JPEG", xmp=kept.xmp, icc_profile=kept.profile, **options)


def _webp(channels: np.ndarray, kept: Kept) -> bytes:
    options = {"quality": 95} if kept.lossy else {"lossless": True, "exact": True}
    if kept.exif:
        options["exif"] = kept.exif
    if kept.xmp:
        options["xmp"] = kept.xmp
    return _saved(channels, "WEBP", icc_profile=kept.profile, **options)


def _bmp(channels: np.ndarray, kept: Kept) -> bytes:
    return _saved(channels, "BMP", **({"dpi": kept.dpi} if kept.dpi else {}))


def _gif(channels: np.ndarray, kept: Kept) -> bytes:
    return _saved(channels, "GIF")


def _ppm(channels: np.ndarray, kept: Kept) -> bytes:
    return _saved(channels, "PPM")


def _saved(channels: np.ndarray, known: str, **options) -> bytes:
    file = io.BytesIO()
    plain = channels[..., 0] if channels.shape[2] == 1 else channels
    Image.fromarray(plain).save(file, known, **options)
    return file.getvalue()


_ENCODERS: dict[str, Callable[[np.ndarray, Kept], bytes]] = {
    "PNG": png.encode,
    "JPEG": _jpeg,
    "WebP": _webp,
    "TIFF": tiff.encode,
    "BMP": _bmp,
    "GIF": _gif,
    "PPM": _ppm,
}
