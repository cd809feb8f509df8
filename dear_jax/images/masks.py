"""Masks of what is missing of a photo: from a file, boxes, a colour or transparency.

In masks True = missing; boxes are (x, y, width, height) in pixels from
the upper left corner; colours RGB in 8 bits, of whatever depth the photo is.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from dear_jax.errors import InputError, Unreadable
from dear_jax.images import resize
from dear_jax.images.decode import decode, upper_bits
from dear_jax.images.io import ImageFile, read_bytes

Box = tuple[int, int, int, int]
Colour = tuple[int, int, int]

# Distances from a colour in every channel, in 8-bit levels. JPEG moves even plain
# areas: of thin magenta holes 32 finds 86 % at quality 75. More would take dark parts
# of photos for black. Around holes colours at half size leave a tint: of what is within
# 6 pixels 14 % is off by 24 levels after a dilation by 2, 3 % after one by 4.
_NEAR, _NEAR_LOSSY, _TINTED = 2, 32, 4
_SAME_SHAPE = 0.01  # Ratios of sides that differ by less come from rounded sizes.
_COLOURED = 64  # Levels between channels of coloured masks; JPEG moves grey ones less.

_MUCH = 0.6  # Share of a photo beyond which the rest says little about it.
# Of 300 irregular masks with up to 60 % holes none has as much of its border missing.
_SUSPICIOUS, _BORDER = 0.4, 0.8
_LOOKED_AT = 1_000_000  # Pixels, about.
_PLAIN = 2  # Levels; paint varies by less, in lossy files by some times as much.


def read_mask(path: str | Path) -> Bool[np.ndarray, "H W"]:
    """Reads a mask, True = missing; see `decode_mask`.

    Raises:
      InputError: if the file is missing, empty or not a mask that can be read.
    """
    return decode_mask(read_bytes(path), path)


def decode_mask(data: bytes, name: str | Path) -> Bool[np.ndarray, "H W"]:
    """Returns the mask in the bytes of an image file; light is missing.

    Light is above half of the range; what is transparent counts as black.

    Args:
      data: the file's content.
      name: of the file, for messages.

    Raises:
      Unreadable: if it is damaged or no image, or one that may not mean what it
        shows: with colours, with values 0 and 1 only, or only transparency that varies.
      InputError: if memory or open files do not suffice.
    """
    channels = upper_bits(decode(data, name), name)
    values = channels[..., 0] if channels.shape[2] == 1 else _grey(channels, name)
    if values.max() == 1:
        raise Unreadable(f"{name}: its values are 0 and 1; save white as 255")
    return values > 127


def find_mask(
    image: ImageFile,
    mask_path: str | Path | None = None,
    box: Box | Sequence[Box] | None = None,
    colour: Colour | None = None,
    alpha: bool = False,
    invert: bool = False,
    dilate: int = 0,
    warn: Callable[[str], None] = lambda remark: None,
) -> Bool[np.ndarray, "{image.size[0]} {image.size[1]}"]:
    """Finds what is missing of a photo, from one source or none.

    Args:
      image: the photo.
      mask_path: image file, white = missing, see `read_mask`; of another size but the
        photo's shape it is resized by nearest neighbour.
      box: one box or several; parts outside the photo do not count.
      colour: all pixels of it are missing, within 2 levels, or within 32 if the
        file is lossy; those that blend with it at borders are not, see `dilate`.
      alpha: pixels are missing that are less than half opaque.
      invert: what the source leaves is missing instead.
      dilate: holes grow by a disk of this radius, in pixels, after all else.
      warn: called with each remark on the source.

    Returns:
      The mask; all False without a source.

    Raises:
      InputError: for several sources, a source that does not fit the photo, or
        `invert` or `dilate` without any.
    """
    given = [mask_path is not None, box is not None, colour is not None, bool(alpha)]
    if sum(given) > 1:
        raise InputError(
            "a mask file, boxes, a colour and transparency all say what is missing; "
            "give one of them"
        )
    if dilate < 0:
        raise InputError(f"dilate={dilate}: give a number of pixels, at least 0")
    if not any(given):
        if invert or dilate:
            what = "invert" if invert else f"dilate={dilate}"
            raise InputError(
                f"{what}: nothing says what is missing; give a mask file, a box, a "
                "colour or transparency too"
            )
        return np.zeros(image.size, bool)
    if mask_path is not None:
        mask = _from_file(mask_path, image.size, warn)
        if image.turned:
            warn(
                "the photo is turned by its EXIF orientation, and its mask taken to be "
                "of the photo as it is shown; if it was drawn on the photo as it is "
                "stored, turn it as well, or save the photo upright"
            )
    elif box is not None:
        mask = _from_boxes(box, image.size)
    elif colour is not None:
        mask = _from_colour(image, colour, dilate, warn)
    else:
        mask = _from_alpha(image)
    mask = ~mask if invert else mask
    if colour is None and not mask.any():
        warn("nothing of the photo is marked as missing")
    return dilated(mask, dilate)


def mask_remarks(mask: Bool[np.ndarray, "H W"], image: ImageFile) -> list[str]:
    """Returns sentences on what is odd about a mask; usually none.

    That is more than 60 % missing, or signs that white and black are swapped: what
    would be known is one plain colour, or the photo's border is missing and what
    would be known lies within. A legitimate mask may look so too.
    """
    if not mask.any():
        return []
    share = float(mask.mean())
    percent = f"{round(100 * share)} % of the photo is missing"
    if share == 1:
        return ["all of the photo is missing; if not, --invert-mask swaps the mask"]
    signs = _signs_of_inversion(mask, image)
    if signs:
        advice = f"the mask looks inverted: {signs}; --invert-mask swaps it"
        return [f"{percent}, and {advice}" if share > _MUCH else advice]
    if share > _MUCH:
        return [
            f"{percent}, too much to be filled well; if the mask is white where the "
            "photo is good, --invert-mask swaps it"
        ]
    return []


def dilated(mask: Bool[np.ndarray, "H W"], radius: int) -> Bool[np.ndarray, "H W"]:
    """Adds all pixels whose centres are at most `radius` from a missing one's."""
    if radius == 0 or not mask.any():
        return mask
    import cv2  # Takes its time.

    known = np.logical_not(mask).astype(np.uint8)
    far = cv2.distanceTransform(known, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squares of distances are whole numbers: half a one is far from all of them.
    return far <= np.sqrt(radius**2 + 0.5)


def parse_box(text: str) -> Box:
    """Returns the box that "x,y,width,height" says.

    Raises:
      InputError: if it says none.
    """
    parts = re.split(r"\s*,\s*", text.strip())
    if len(parts) != 4 or not all(re.fullmatch(r"[+-]?\d{1,9}", p) for p in parts):
        raise InputError(
            f"box {text!r}: give x,y,width,height in whole pixels, such as 10,20,64,48"
        )
    x, y, width, height = map(int, parts)
    if width < 1 or height < 1:
        raise InputError(f"box {text!r}: {width} x {height} is empty; give at least 1")
    return x, y, width, height


def parse_colour(text: str) -> Colour:
    """Returns the colour RGB that "#ff00ff", "#f0f" or a name such as "magenta" says.

    Raises:
      InputError: if it says none.
    """
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text.strip())[:3]
    except ValueError:
        raise InputError(
            f"colour {text!r}: give it as '#ff00ff' or by name, such as magenta"
        ) from None


def _from_file(
    path: str | Path, size: tuple[int, int], warn: Callable[[str], None]
) -> Bool[np.ndarray, "{size[0]} {size[1]}"]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of damage that spoils no pixel.
        mask = read_mask(path)
    if mask.shape == size:
        return mask
    sides = f"{_sides(mask.shape)}, the photo {_sides(size)}"
    ratio = mask.shape[1] * size[0] / (mask.shape[0] * size[1])
    if abs(ratio - 1) <= _SAME_SHAPE:
        warn(f"the mask is {sides}: resized to it by nearest neighbour")
        return resize.nearest(mask, size)
    remedy = "give a mask of the photo's size"
    if mask.shape == size[::-1]:
        remedy = "turn it: photos are taken upright, as their EXIF orientation says"
    raise InputError(f"{path}: the mask is {sides}; {remedy}")


def _grey(
    channels: UInt8[np.ndarray, "H W C"], name: str | Path
) -> UInt8[np.ndarray, "H W"]:
    """Grey levels of a mask of 2 to 4 channels."""
    count = channels.shape[2]
    colours = np.repeat(channels[..., :1], 3, -1) if count == 2 else channels[..., :3]
    alpha = channels[..., -1:] if count in (2, 4) else np.array([255], np.uint8)
    if (alpha < 255).any():
        if (colours == colours[0, 0]).all():
            raise Unreadable(
                f"{name}: only its transparency varies; save it without, white where "
                "the photo is missing and black elsewhere"
            )
        colours = (colours * (alpha / 255)).astype(np.uint8)
    if (colours.max(-1) - colours.min(-1)).max() > _COLOURED:
        raise Unreadable(
            f"{name}: has colours; save a mask as white where the photo is missing "
            "and black elsewhere"
        )
    return np.asarray(Image.fromarray(colours).convert("L"))


def _from_boxes(
    boxes: Box | Sequence[Box], size: tuple[int, int]
) -> Bool[np.ndarray, "{size[0]} {size[1]}"]:
    mask = np.zeros(size, bool)
    listed = np.reshape(np.asarray(boxes, np.int64), (-1, 4)).tolist()
    for x, y, width, height in listed:
        right, bottom = min(x + width, size[1]), min(y + height, size[0])
        left, top = max(x, 0), max(y, 0)
        if left >= right or top >= bottom:
            raise InputError(
                f"box {x},{y},{width},{height}: covers no pixel of the photo, which "
                f"is {_sides(size)}; give x,y,width,height within it"
            )
        mask[top:bottom, left:right] = True
    return mask


def _from_colour(
    image: ImageFile, colour: Colour, dilate: int, warn: Callable[[str], None]
) -> Bool[np.ndarray, "H W"]:
    near = _NEAR_LOSSY if image.metadata.lossy else _NEAR
    unit = np.iinfo(image.pixels.dtype).max // 255
    mask = np.ones(image.size, bool)
    for c, level in enumerate(colour):
        off = image.pixels[..., c].astype(np.int32) - level * unit
        mask &= np.abs(off) <= near * unit
    if mask.any() and image.metadata.lossy and dilate < _TINTED:
        warn(f"its file blends colours around holes; --dilate {_TINTED} covers them")
    if not mask.any():
        warn("no pixel has the colour #{:02x}{:02x}{:02x}".format(*colour))
    return mask


def _from_alpha(image: ImageFile) -> Bool[np.ndarray, "H W"]:
    if image.alpha is None:
        raise InputError(
            "the photo has no transparency that could say what is missing; give a mask "
            "file, a box or a colour"
        )
    return image.alpha < (np.iinfo(image.alpha.dtype).max + 1) // 2


def _signs_of_inversion(mask: Bool[np.ndarray, "H W"], image: ImageFile) -> str:
    if _plain(image, ~mask) and not _plain(image, mask):
        return "all that is not missing has one colour"
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    if mask.mean() > _SUSPICIOUS and border.mean() > _BORDER:
        return "nearly all of the photo's border is missing"
    return ""


def _plain(image: ImageFile, where: Bool[np.ndarray, "H W"]) -> bool:
    """Whether those pixels are of one colour; False if they are few."""
    if where.sum() < max(16, where.size // 100):
        return False
    limit = (4 if image.metadata.lossy else 1) * _PLAIN
    unit = np.iinfo(image.pixels.dtype).max / 255
    # Of large photos every second, third ... row and column says as much.
    step = max(1, round((where.size / _LOOKED_AT) ** 0.5))
    pixels = image.pixels[::step, ::step][where[::step, ::step]]
    return len(pixels) > 0 and bool((pixels.std(0) <= limit * unit).all())


def _sides(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
