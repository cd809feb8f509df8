"""How far two programs that compute the same may differ: by rounding, no further.

Many laws (a photo of a batch is restored as alone, chunks are the whole, a layer is its
formula) hold exactly for real numbers. In float32 they hold to the bit only where both
sides run the same program. A batch, chunk, array or device of another size, another
number of threads and another kind of CPU add the same numbers up in another order, or
round a product once less before it is added. Each sum is then off by some units in the
last place (eps, 2^-23) of the values that are added, whatever their size, and every
layer adds its own error to those before it. So a limit is relative to the size of the
values and grows with the layers that they have passed; an absolute one would be a
statement about the CPU that it was found on.
"""

import numpy as np

EPS = float(np.finfo(np.float32).eps)
# Errors found are a fifth of this or less (AVX2 and SSE4.2, one thread and two); what
# breaks a law is thousands of times as large.
UNITS = 8


def allowance(size: float, layers: int = 1) -> float:
    """How far float32 values may be from what they should be.

    Args:
      size: the largest of the values, or of those that are added up to them.
      layers: sums of products that they are made by, one after the other.
    """
    return UNITS * layers * EPS * float(size)


def assert_close(
    found, expected, layers: int = 1, size: float | None = None, about: str = ""
) -> None:
    """Checks that arrays are equal but for rounding in float32.

    Args:
      found: array of numbers.
      expected: what it should be, of a shape that broadcasts to the array's.
      layers: as for `allowance`.
      size: as for `allowance`; by default the largest of what is expected. Where terms
        cancel, as in what should be zero, it is the size of the terms.
      about: words for the message.

    Raises:
      AssertionError: with the largest difference.
    """
    if size is None:
        size = np.abs(expected).max()
    limit = allowance(size, layers)
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit, err_msg=about)
