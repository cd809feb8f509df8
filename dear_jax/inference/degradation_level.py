"""How degraded a photo is, as one number from 0 (clean) to 1: the network's level.

The level is the root mean square of three severities, each 1 at the hardest draw
of training: blur, noise and JPEG compression. As FFDNet's noise level it lets one
network serve clean and degraded photos without hedging between them.
"""

import math

# The hardest draws of training: standard deviations of blur, in pixels of the
# degraded photo, and of noise, in grey levels of 255; and the JPEG quality.
HARDEST_BLUR, HARDEST_NOISE, HARDEST_QUALITY = 2.6, 24.0, 20


def quantiser_scale(quality: float) -> float:
    """How much a JPEG quality, 1 to 100, scales the standard's tables, percent.

    As the Independent JPEG Group's encoder defines quality: 50 gives 100, 100 gives 0.
    """
    return 5000 / quality if quality < 50 else 200 - 2 * quality


def degradation_level(
    blur: float = 0.0, noise: float = 0.0, quality: float = 100
) -> float:
    """The level of a photo, in [0, 1].

    Args:
      blur: standard deviation of the blur in pixels of the degraded photo.
      noise: standard deviation of the noise in grey levels of 255.
      quality: JPEG quality, 1 to 100; 100 for none.

    Returns:
      0 for a clean photo, 1 at and beyond the hardest draws of training.
    """
    severities = (
        blur / HARDEST_BLUR,
        noise / HARDEST_NOISE,
        quantiser_scale(quality) / quantiser_scale(HARDEST_QUALITY),
    )
    return math.sqrt(sum(min(s, 1.0) ** 2 for s in severities) / len(severities))
