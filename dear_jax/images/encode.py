"""Encoding of channels and metadata as image files.

Channels are uint8 or uint16: C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
PNG and TIFF files are complete here, with 16 bits and all metadata, which Pillow does
not write; its files are used where they suffice.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt, UInt8, UInt16
from PIL import Image

from dear_jax.images import exif
from dear_jax.images.exif import Directory, Value, long, rational, short
from dear_jax.images.metadata import PNG_SIGNATURE, Metadata

_ZLIB_LEVEL = 4  # 6 takes twice the time to save one byte in fifty.
_PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # By the number of channels.
_PNG_HEADER_END = len(PNG_SIGNATURE) + 25
_PNG_ROWS = 64  # Compressed at once.
_INCH = 0.0254  # Metres.
_TIFF_STRIP = 1 << 18  # Bytes of rows in one strip, about.
_DEFLATE, _DIFFERENCES, _UNMULTIPLIED_ALPHA = 8, 2, 2
_WITHOUT_UNIT, _PER_INCH = 1, 2
_STRIP_OFFSETS = 273


def encode_png(channels: UInt[np.ndarray, "H W C"], metadata: Metadata) -> bytes:
    """Returns a PNG file of 8 or 16 bits."""
    if channels.dtype == np.uint8:
        data = _pillow(channels, "PNG", compress_level=_ZLIB_LEVEL)
    else:
        data = _png_of_16_bits(channels)
    # What describes the pixels comes before them.
    described = b"".join(_chunk(*chunk) for chunk in _metadata_chunks(metadata))
    return data[:_PNG_HEADER_END] + described + data[_PNG_HEADER_END:]


def _metadata_chunks(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    yield from metadata.png_chunks
    # A PNG file's own texts are among its chunks.
    if metadata.comment and not metadata.has_texts:
        yield b"iTXt", b"Comment\0\0\0\0\0" + metadata.comment.encode()
    if metadata.icc_profile:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc_profile)
    if metadata.dpi:
        per_metre = (round(number / _INCH) for number in metadata.dpi)
        yield b"pHYs", struct.pack(">IIB", *per_metre, 1)
    elif metadata.aspect:
        yield b"pHYs", struct.pack(">IIB", *_whole_numbers(metadata.aspect), 0)
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.xmp:
        yield b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp


def _png_of_16_bits(channels: UInt16[np.ndarray, "H W C"]) -> bytes:
    height, width, count = channels.shape
    kind = _PNG_COLOUR_TYPES[count]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    packer = zlib.compressobj(_ZLIB_LEVEL)
    above = np.zeros((1, 2 * width * count), np.uint8)
    packed = []
    for top in range(0, height, _PNG_ROWS):
        rows = channels[top : top + _PNG_ROWS].astype(">u2")
        rows = rows.reshape(len(rows), -1).view(np.uint8)
        packed.append(packer.compress(_filtered(rows, above, 2 * count)))
        above = rows[-1:]
    packed.append(packer.flush())
    # One chunk holds less than 2^31 bytes.
    pixels = [b"".join(packed[i : i + 1024]) for i in range(0, len(packed), 1024)]
    body = [_chunk(b"IHDR", header), *(_chunk(b"IDAT", part) for part in pixels)]
    return PNG_SIGNATURE + b"".join(body) + _chunk(b"IEND", b"")


def _filtered(
    rows: UInt8[np.ndarray, "N n"], above: UInt8[np.ndarray, "1 n"], step: int
) -> bytes:
    """Rows of bytes, each by that of PNG's filters that leaves the smallest numbers.

    Args:
      rows: of n bytes.
      above: the row before.
      step: bytes of one pixel.
    """
    up = np.concatenate([above, rows[:-1]])
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    mean = ((left.astype(np.uint16) + up) // 2).astype(np.uint8)
    # PNG's numbers of the filters by difference from left, above and their mean.
    choices = np.stack([rows - left, rows - up, rows - mean])
    sizes = np.abs(choices.view(np.int8).astype(np.int16)).sum(-1, dtype=np.int64)
    best = sizes.argmin(0)
    numbers = (best + 1).astype(np.uint8)[:, None]
    return np.concatenate([numbers, choices[best, np.arange(len(rows))]], 1).tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def encode_tiff(channels: UInt[np.ndarray, "H W C"], metadata: Metadata) -> bytes:
    """Returns a TIFF file of 8 or 16 bits: strips of differences, deflated.

    Raises:
      struct.error: if it would have more than 2^32 bytes.
    """
    order, described = exif.to_tiff(metadata.exif) if metadata.exif else ("<", {})
    rows = max(1, _TIFF_STRIP // channels[0].nbytes)
    tops = range(0, len(channels), rows)
    strips = [_tiff_strip(channels[top : top + rows], order) for top in tops]
    described = _description(metadata) | described
    tags = described | _layout_tags(channels, order) | _metadata_tags(metadata, order)
    tags[278] = long(order, rows)
    tags[279] = long(order, *map(len, strips))
    tags[_STRIP_OFFSETS] = long(order, *[0] * len(strips))
    # The directory's length does not depend on where the strips are.
    start = len(exif.pack(tags, order))
    offsets = np.cumsum([start, *map(len, strips)])[:-1]
    tags[_STRIP_OFFSETS] = long(order, *map(int, offsets))
    return exif.pack(tags, order) + b"".join(strips)


def _tiff_strip(rows: UInt[np.ndarray, "H W C"], order: str) -> bytes:
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    ordered = differences.astype(f"{order}u{rows.dtype.itemsize}")
    return zlib.compress(ordered.tobytes(), _ZLIB_LEVEL)


def _layout_tags(channels: UInt[np.ndarray, "H W C"], order: str) -> Directory:
    height, width, count = channels.shape
    tags = {
        256: long(order, width),
        257: long(order, height),
        258: short(order, *[8 * channels.dtype.itemsize] * count),
        259: short(order, _DEFLATE),
        262: short(order, 2 if count > 2 else 1),
        274: short(order, 1),
        277: short(order, count),
        284: short(order, 1),
        317: short(order, _DIFFERENCES),
        339: short(order, *[1] * count),
    }
    if count in (2, 4):
        tags[338] = short(order, _UNMULTIPLIED_ALPHA)
    return tags


def _metadata_tags(metadata: Metadata, order: str) -> Directory:
    tags = {}
    if metadata.dpi:
        tags[282] = rational(order, metadata.dpi[0])
        tags[283] = rational(order, metadata.dpi[1])
        tags[296] = short(order, _PER_INCH)
    elif metadata.aspect:
        tags[282] = rational(order, metadata.aspect[0])
        tags[283] = rational(order, metadata.aspect[1])
        tags[296] = short(order, _WITHOUT_UNIT)
    if metadata.icc_profile:
        tags[34675] = Value(7, metadata.icc_profile)
    if metadata.xmp:
        tags[700] = Value(1, metadata.xmp)
    return tags


def _description(metadata: Metadata) -> Directory:
    """A comment as the tag ImageDescription."""
    if not metadata.comment:
        return {}
    return {270: Value(2, metadata.comment.replace("\0", " ").encode() + b"\0")}


def _encode_jpeg(channels: UInt8[np.ndarray, "H W C"], metadata: Metadata) -> bytes:
    options: dict[str, Any] = {"quality": 95, "subsampling": 0}
    if metadata.jpeg is not None:
        # Pillow's -1 leaves to libjpeg what the tables do not say.
        sampling = metadata.jpeg.subsampling
        options = {
            "qtables": [list(table) for table in metadata.jpeg.tables],
            "subsampling": -1 if sampling is None else sampling,
            "progressive": metadata.jpeg.progressive,
        }
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    if metadata.comment:
        options["comment"] = metadata.comment.encode()
    block, iptc = exif.without_iptc(metadata.exif) if metadata.exif else (b"", b"")
    if block:
        options["exif"] = b"Exif\0\0" + block
    if iptc:
        options["extra"] = _photoshop_segment(iptc)
    options |= {"xmp": metadata.xmp, "icc_profile": metadata.icc_profile}
    data = _pillow(channels, "JPEG", **options)
    if metadata.aspect and data[6:11] == b"JFIF\0":
        aspect = struct.pack(">BHH", 0, *_whole_numbers(metadata.aspect))
        data = data[:13] + aspect + data[18:]
    return data


def _photoshop_segment(iptc: bytes) -> bytes:
    """The segment of a JPEG file that holds an IPTC record."""
    content = b"Photoshop 3.0\0" + b"8BIM\4\4\0\0" + struct.pack(">I", len(iptc))
    content += iptc + b"\0" * (len(iptc) % 2)
    return b"\xff\xed" + struct.pack(">H", len(content) + 2) + content


def _whole_numbers(aspect: tuple[float, float]) -> tuple[int, int]:
    """A ratio in numbers of 16 bits."""
    if all(number == int(number) < 65_536 for number in aspect):
        return int(aspect[0]), int(aspect[1])
    return round(1000 * min(aspect[0] / aspect[1], 65.0)) or 1, 1000


def _encode_webp(channels: UInt8[np.ndarray, "H W C"], metadata: Metadata) -> bytes:
    options: dict[str, Any] = {"lossless": True, "exact": True}
    if metadata.lossy:
        quality = metadata.webp_quality
        options = {"quality": 95 if quality is None else round(quality)}
    if metadata.exif:
        options["exif"] = metadata.exif
    if metadata.xmp:
        options["xmp"] = metadata.xmp
    return _pillow(channels, "WEBP", icc_profile=metadata.icc_profile, **options)


def _encode_bmp(channels: UInt8[np.ndarray, "H W C"], metadata: Metadata) -> bytes:
    return _pillow(channels, "BMP", **({"dpi": metadata.dpi} if metadata.dpi else {}))


def _pillow(channels: UInt8[np.ndarray, "H W C"], known: str, **options: Any) -> bytes:
    file = io.BytesIO()
    plain = channels[..., 0] if channels.shape[2] == 1 else channels
    Image.fromarray(plain).save(file, known, **options)
    return file.getvalue()


ENCODERS: dict[str, Callable[[np.ndarray, Metadata], bytes]] = {
    "PNG": encode_png,
    "JPEG": _encode_jpeg,
    "WebP": _encode_webp,
    "TIFF": encode_tiff,
    "BMP": _encode_bmp,
    "GIF": lambda channels, metadata: _pillow(
        channels, "GIF", comment=metadata.comment.encode()
    ),
    "PPM": lambda channels, metadata: _pillow(channels, "PPM"),
}
