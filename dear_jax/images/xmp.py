"""XMP packets, byte for byte but for what would be wrong of a restored photo.

Properties are attributes, `tiff:Orientation="6"`, or elements,
`<tiff:Orientation>6</tiff:Orientation>`; prefixes are taken to be the usual ones.
"""

import re

# Adobe's and ISO's gain maps, Google's photos with videos, depth and several pictures.
_OTHERS = {
    rb"hdrgm": "gain map",
    rb"GainMap": "gain map",
    rb"GCamera:M": "video",
    rb"MotionPhoto": "video",
    rb"GDepth": "depth map",
}
_NAMESPACES = rb"(?:hdrgm|GDepth|GImage|Container|Item|GContainer)"
_DIRECTORY = rb"<(G?Container:Directory)\b.*?</\1>"
_NAMES = _NAMESPACES + rb":\w+|GCamera:(?:MotionPhoto|MicroVideo)\w*"
# Sides of the photo, and of the panorama that it is part of, in its pixels.
_WIDTHS = rb"tiff:ImageWidth|exif:PixelXDimension"
_HEIGHTS = rb"tiff:ImageLength|exif:PixelYDimension"
_ACROSS = (
    rb"GPano:(?:CroppedAreaImageWidth|FullPanoWidth|CroppedAreaLeft|InitialViewX)\w*"
)
_DOWN = (
    rb"GPano:(?:CroppedAreaImageHeight|FullPanoHeight|CroppedAreaTop|InitialViewY)\w*"
)


def upright(packet: bytes) -> bytes:
    """Returns an XMP packet whose orientation, if it names one, is 1."""
    return _with_numbers(packet, rb"tiff:Orientation", lambda number: 1)


def with_size(packet: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """Returns the packet of a photo that was enlarged; sizes are (H, W)."""
    down, across = (b / a for a, b in zip(old, new, strict=True))
    for names, settle in (
        (_WIDTHS, lambda number: new[1]),
        (_HEIGHTS, lambda number: new[0]),
        (_ACROSS, lambda number: round(number * across)),
        (_DOWN, lambda number: round(number * down)),
    ):
        packet = _with_numbers(packet, names, settle)
    return packet


def without_other_pictures(packet: bytes) -> tuple[bytes, str]:
    """Takes out what announces further pictures in the file, which get lost.

    Returns:
      The packet, and what it announced, such as "gain map and video"; "" for nothing.
    """
    found = dict.fromkeys(name for key, name in _OTHERS.items() if key in packet)
    if not found:
        return packet, ""
    packet = re.sub(_DIRECTORY, b"", packet, flags=re.DOTALL)
    packet = re.sub(rb"<(" + _NAMES + rb")\b[^>]*>[^<]*</\1>", b"", packet)
    packet = re.sub(rb"<(?:" + _NAMES + rb")\b[^>]*/>", b"", packet)
    packet = re.sub(rb"\s(?:" + _NAMES + rb")=(\"[^\"]*\"|'[^']*')", b"", packet)
    return packet, " and ".join(found)


def _with_numbers(packet: bytes, names: bytes, settle) -> bytes:
    """Changes the whole numbers that properties of these names have."""

    def changed(match: re.Match) -> bytes:
        return match[1] + str(settle(int(match[2]))).encode()

    pattern = rb"((?:" + names + rb")(?:=[\"']|>))(\d{1,9})(?!\d)"
    return re.sub(pattern, changed, packet)
