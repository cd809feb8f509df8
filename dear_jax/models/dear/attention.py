"""Unmask attention: known pixels look at the whole photo (Eq. 6, 7).

    F_m = (1 - M) F,   E = softmax(F_m F^T / sqrt(C)) F

Choice: both equations are taken literally. A masked pixel's query is zero, so
it attends uniformly and its E is the mean embedding; masked pixels are keys
and values like any other unless `keys` is "known".
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Shaped

from dear_jax.models.dear.window import framed, window
from dear_jax.models.layers import product
from dear_jax.typing import Array

# Weights held at once, batch x queries x keys, where no number of queries is given; and
# that number where sizes are left open (`jax.export`).
WEIGHTS, OPEN_QUERIES = 2**25, 2**8


def attend(
    queries: Float[Array, "B N C"],
    keys: Float[Array, "B M C"],
    usable: Bool[Array, "B M"] | None = None,
    chunk: int = 0,
) -> Float[Array, "B N C"]:
    """softmax(Q K^T / sqrt(C)) K over the usable keys.

    NVIDIA's GPUs do it in one kernel that never holds the weights, where
    `fused_attention_does` says so.

    Args:
      queries: N of each photo.
      keys: M of each, which are the values too, of the same dtype.
      usable: None: all; at least one key of each photo must be usable for the result
        to mean anything (it is the mean of all keys otherwise).
      chunk: queries per step; the weights then take chunk x M values instead of
        N x M, in the gradient too. 0: all if that makes no more than `WEIGHTS`
        weights in the batch; `OPEN_QUERIES` where sizes are left open.

    Returns:
      An answer to each query, in the dtype of the keys.
    """
    batch, count, channels = queries.shape
    device = _device()
    capability = getattr(device, "compute_capability", None)
    masked = usable is not None
    if fused_attention_does(device.platform, capability, keys.dtype, channels, masked):
        heads = (x[:, :, None] for x in (queries, keys, keys))
        return jax.nn.dot_product_attention(*heads, implementation="cudnn")[:, :, 0]
    if not chunk:
        known = all(isinstance(size, int) for size in (batch, count, keys.shape[1]))
        chunk = OPEN_QUERIES
        if known:
            chunk = max(1, WEIGHTS // (batch * keys.shape[1]))
            chunk = -(-count // -(-count // chunk))  # Equal pieces.
    if isinstance(count, int) and chunk >= count:
        return _attend_whole(queries, keys, usable)

    # The weights are computed again in the gradient rather than kept.
    @jax.checkpoint
    def step(piece):
        return _attend_whole(piece.swapaxes(0, 1), keys, usable).swapaxes(0, 1)

    return in_pieces(step, queries.swapaxes(0, 1), chunk).swapaxes(0, 1)


def in_pieces(
    function: Callable[[Any], Array], rows: Shaped[Array, "N ..."], length: int
) -> Shaped[Array, "N ..."]:
    """Applies a function of `length` rows to N rows; N may be left open."""
    count = rows.shape[0]
    pieces = (count + length - 1) // length
    pads = ((0, pieces * length - count), *((0, 0),) * (rows.ndim - 1))
    rows = jnp.pad(rows, pads).reshape(pieces, length, *rows.shape[1:])
    answers = jax.lax.map(function, rows)
    answers = answers.reshape(pieces * length, *answers.shape[2:])
    # Cut by padding, which allows for sizes that are left open.
    cut = ((0, count - pieces * length, 0), *((0, 0, 0),) * (answers.ndim - 1))
    return jax.lax.pad(answers, jnp.zeros((), answers.dtype), cut)


def fused_attention_does(
    platform: str, capability: str | None, dtype: Any, channels: int, masked: bool
) -> bool:
    """Whether cuDNN's attention can be used, and is the better way.

    Args:
      platform: "cpu", "gpu", ..., as devices name theirs.
      capability: of an NVIDIA GPU, such as "9.0"; None for other devices.
      dtype: of queries and keys.
      channels: of queries and keys.
      masked: whether some keys are unusable: then not, since cuDNN would read a bias
        for every weight.
    """
    if platform not in ("gpu", "cuda") or masked:
        return False
    try:
        generation = int(str(capability).split(".")[0])
    except ValueError:  # Another maker's GPU.
        return False
    half = dtype in (jnp.bfloat16, jnp.float16)
    return generation >= 8 and half and channels % 8 == 0 and channels <= 128


def unmask_attention(
    embedding: Float[Array, "B H W C"],
    mask: Float[Array, "B H W 1"],
    valid: Float[Array, "B H W 1"] | None = None,
    keys: str = "all",
    pool: int = 1,
    chunk: int = 0,
) -> Float[Array, "B H W C"]:
    """Attends from the known pixels to the photo's pixels (Eq. 6, 7).

    Args:
      embedding: F.
      mask: M, 1 = missing.
      valid: 1 inside the photo; what lies outside is never a key. None: all inside.
      keys: which pixels are keys and values: "all" (the paper) or "known".
      pool: queries and keys are means over cells of pool x pixels by pool; E is
        then constant in a cell. 1 is the paper; `dear-lite` pools to be cheap.
      chunk: queries per step, see `attend`.

    Returns:
      E, of the dtype of F.
    """
    batch, height, width, channels = embedding.shape
    query, key, usable = cells(embedding, mask, valid, keys, pool)
    answer = attend(
        query.reshape(batch, -1, channels),
        key.reshape(batch, -1, channels),
        None if usable is None else usable.reshape(batch, -1),
        chunk,
    ).reshape(query.shape)
    return spread_over_pixels(answer, (height, width), pool)


def cells(
    embedding: Float[Array, "B H W C"],
    mask: Float[Array, "B H W 1"],
    valid: Float[Array, "B H W 1"] | None = None,
    keys: str = "all",
    pool: int = 1,
) -> tuple[
    Float[Array, "B h w C"], Float[Array, "B h w C"], Bool[Array, "B h w"] | None
]:
    """Queries and keys, by cells of pool x pool pixels; see `unmask_attention`.

    Returns:
      Queries (zero where nothing is known), keys, and which of these may be used;
      None: all.
    """
    everywhere = valid is None and keys == "all"
    mask = mask.astype(embedding.dtype)
    valid = jnp.ones_like(mask) if valid is None else valid.astype(mask.dtype)
    known = (1 - mask) * valid
    # Eq. 6 is the numerator of `query`: masked pixels count as zero vectors.
    query = _cell_mean(embedding * known, valid, pool)
    if everywhere and pool == 1:
        return query, embedding, None
    keyed = known if keys == "known" else valid
    total, count = (_cell_sum(x, pool) for x in (embedding * keyed, keyed))
    key = total / jnp.maximum(count, 1)
    usable = count[..., 0] > 0
    return query, key, None if everywhere else usable


def spread_over_pixels(
    attended: Float[Array, "B h w C"], size: tuple, pool: int
) -> Float[Array, "B H W C"]:
    """What cells attend to, as E of all their pixels."""
    if pool > 1:
        for axis in (1, 2):
            shape = list(attended.shape)
            shape[axis] *= pool
            attended = jnp.stack([attended] * pool, axis=axis + 1).reshape(shape)
    return window(attended, (0, 0), size)


def _device() -> Any:
    """What JAX computes on where arrays do not lie elsewhere."""
    chosen: Any = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(chosen, str):
        return jax.local_devices(backend=chosen)[0]
    return chosen or jax.devices()[0]


def _attend_whole(
    queries: Float[Array, "B N C"],
    keys: Float[Array, "B M C"],
    usable: Bool[Array, "B M"] | None,
) -> Float[Array, "B N C"]:
    """`attend` with all weights at once; sums and softmax are float32."""
    photo = ((0,), (0,))
    scores = product(queries, keys, (((2,), (2,)), photo)) / keys.shape[-1] ** 0.5
    if usable is not None:
        # Added, not selected: what is so small is lost in the sum.
        bias = jnp.where(usable, jnp.float32(0), jnp.float32(-1e30))
        scores += jnp.broadcast_to(bias[:, None, :], scores.shape)
    weights = jax.nn.softmax(scores, axis=-1).astype(keys.dtype)
    return product(weights, keys, (((2,), (1,)), photo)).astype(keys.dtype)


def _cell_mean(
    x: Float[Array, "B H W C"], weight: Float[Array, "B H W 1"], pool: int
) -> Float[Array, "B h w C"]:
    """Means of cells: the sum of x over that of weight, or over 1 if that is less."""
    return _cell_sum(x, pool) / jnp.maximum(_cell_sum(weight, pool), 1)


def _cell_sum(x: Float[Array, "B H W C"], pool: int) -> Float[Array, "B h w C"]:
    """Sums x over pool x pool cells, the last ones possibly cut."""
    if pool == 1:
        return x
    batch, height, width, channels = x.shape
    rows, columns = (height + pool - 1) // pool, (width + pool - 1) // pool
    if (pool * rows, pool * columns) != (height, width):
        # By a fixed amount, then cut: where sizes are left open nothing else exports.
        x = framed(x, (0, 0), (pool - 1, pool - 1))
        x = window(x, (0, 0), (pool * rows, pool * columns))
    cells = x.reshape(batch, rows, pool, columns, pool, channels)
    return cells.sum(axis=(2, 4))
