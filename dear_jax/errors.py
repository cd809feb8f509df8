"""The exceptions a person is meant to read.

Scripts catch them, print their single line and exit with status 2; everything
else is a bug and keeps its traceback.
"""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names value and remedy."""


class Unreadable(InputError):
    """What a file holds is damaged or no image: skipping unreadable files skips it.

    A file that is gone, may not be opened or needs more memory than there is, raises
    InputError: it may be perfectly good.
    """


class NoWeights(InputError):
    """There are no weights for a model, or none for the scale asked for."""
