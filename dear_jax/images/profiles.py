"""Colour profiles (ICC): which to keep, and print colours made into those of screens.

A profile stays byte for byte if its header is one, it is meant for the pixels' kind of
colours and LittleCMS can open it. Any other is left out: with it other programs would
show false colours, or refuse the file.
"""

import io

from PIL import Image

_SIGNATURE = slice(36, 40)
_SPACE = slice(16, 20)
RGB, GREY, CMYK = b"RGB ", b"GRAY", b"CMYK"


def fits(profile: object, space: bytes) -> bool:
    """Whether `profile` is one, whole and of colour space `space`, such as `RGB`."""
    if not isinstance(profile, bytes) or len(profile) < 128:
        return False
    if profile[_SIGNATURE] != b"acsp" or profile[_SPACE] != space:
        return False
    from PIL import ImageCms

    try:
        ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ValueError, TypeError):
        return False
    return True


def screen_colours(image: Image.Image, profile: object) -> Image.Image | None:
    """A CMYK image in sRGB by way of its profile; None if that does not fit it."""
    if not fits(profile, CMYK):
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
