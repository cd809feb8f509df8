"""What a query model multiplies and adds for one photo, told apart by stages.

A multiply-add counts as two, all else as nothing (`dear_jax.training.flops`). It
is what the model is, not what a program makes of it: nothing is counted for the halo of
tiles, padding, or what is computed twice.
"""

import functools
import math

import jax
import numpy as np

from dear_jax.models.registry import build, init_shapes
from dear_jax.training.flops import count_flops

# Queries that decoding is counted for; they are alike.
QUERIES = 2**10


def encoding_flops(fields: dict, side: int) -> float:
    """Of all that is done once for a photo [side, side], but attention."""
    if not fields.get("attention"):
        encode, _, shapes, inputs = _stages(fields, side)
        return count_flops(encode, shapes, *inputs)
    without = encoding_flops({**fields, "attention": False}, side)
    # The decoder's first layer also reads what was attended to.
    taps = 9 if fields["feature_unfold"] else 1
    layer = 2 * taps * _channels(fields) * fields["decoder_width"]
    return without + side**2 * layer


def attention_flops(fields: dict, side: int, known: float) -> float:
    """Of attention in a photo [side, side], 0 for a model without it.

    Args:
      fields: of the model.
      side: of the photo.
      known: share of its pixels; only they ask. Of cells of several pixels, of which
        hardly one is all missing, every one.
    """
    if not fields.get("attention"):
        return 0.0
    cells = math.ceil(side / fields["attention_pool"]) ** 2
    asking = round(known * cells) if fields["attention_pool"] == 1 else cells
    return 4.0 * asking * cells * _channels(fields)


def decoding_flops(fields: dict, side: int, target: int) -> float:
    """Of all that is done for a picture [target, target] of a photo [side, side]."""
    encode, decode, shapes, inputs = _stages(fields, side)
    features = jax.eval_shape(encode, shapes, *inputs)
    query = jax.ShapeDtypeStruct((1, QUERIES, 2), np.float32)
    return count_flops(decode, shapes, features, query, query) * target**2 / QUERIES


def _stages(fields: dict, side: int) -> tuple:
    """Encoding, decoding, shapes of the variables, shapes of photo and mask."""
    model = build(fields)
    encode, decode = (
        functools.partial(model.apply, method=name) for name in ("encode", "decode")
    )
    photo, mask = (jax.ShapeDtypeStruct((1, side, side, n), np.float32) for n in (3, 1))
    return encode, decode, init_shapes(model), (photo, mask)


def _channels(fields: dict) -> int:
    """Of what is attended to."""
    return fields["widths"][0] if fields["network"] == "lite" else fields["width"]
