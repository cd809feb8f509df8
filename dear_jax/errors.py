"""The exceptions a person is meant to read.

Scripts catch them, print their single line and exit with status 2; everything
else is a bug and keeps its traceback.
"""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names value and remedy."""


class NoWeights(InputError):
    """There are no weights for a model, or none for the scale asked for."""
