"""Finding a model: bundled, in a file, of a training run, or a system by name."""

import os
from pathlib import Path
from typing import NamedTuple

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.inference.catalogue import BASELINES, from_weights, is_system, open_system
from dear_jax.inference.query import QueryRestorer
from dear_jax.inference.restorer import Restorer
from dear_jax.inference.texture import check_texture, texture_path
from dear_jax.weights import Weights, read_weights

DEFAULT = "dear-lite"


class Found(NamedTuple):
    """Weights that a name means.

    Attributes:
      weights: of one model.
      name: what to call it.
      file: the weights file they were read from, None for a training run.
    """

    weights: Weights
    name: str
    file: Path | None


def load(
    what: str | Path | None = None,
    which: str = "latest",
    weights: str | Path | None = None,
    clean: bool = False,
    texture: float = 0.0,
) -> Restorer:
    """Loads a model, or a system of two.

    Args:
      what: None for the bundled default, the name of a bundled model, a weights
        file (*.safetensors), the workdir of a training run, or a system such as
        "misf+elan", see `dear_jax.inference.catalogue`.
      which: of a workdir, "latest" (the EMA of its last checkpoint) or "best" (the
        EMA that scored best).
      weights: folder of weights files in which a system finds its models.
      clean: whether a system of LIIF, LTE or DEAR alone is the one that learned from
        photos without holes; usually it is the one that learned from damaged ones.
      texture: in [0, 1], from the fidelity weights (0) to the texture weights (1),
        which lie beside FILE.safetensors as FILE-texture.safetensors; see
        `dear_jax.inference.texture`.

    Raises:
      InputError: if there is no such model; the message names what there is.
    """
    if which not in ("latest", "best"):
        raise InputError(f"which={which!r}: choose 'latest' or 'best'")
    texture = check_texture(texture)
    name = DEFAULT if what is None else str(what)
    if is_system(name) and name not in _bundled():
        folder = Path(os.path.expanduser(weights)) if weights else None
        restorer = open_system(name, folder, damaged=not clean)
    else:
        found = find(name, which)
        restorer = from_weights(found.weights, found.name)
        if isinstance(restorer, QueryRestorer) and found.file:
            restorer.texture_file = texture_path(found.file)
    return restorer.with_texture(texture) if texture else restorer


def find(name: str, which: str = "latest") -> Found:
    """Finds the weights of one model: bundled, in a file, or of a training run.

    Args:
      name: see `load`, except for systems.
      which: see `load`.

    Raises:
      InputError: if there are none; the message names what there is.
    """
    shipped, path = _bundled(), Path(os.path.expanduser(name))
    # The name of a bundled model always means that; ./NAME is a file or folder.
    if name in shipped:
        return Found(read_weights(shipped[name]), name, shipped[name])
    if os.path.isdir(path):
        from dear_jax.training.workdir import read_run

        return Found(read_run(path, which), path.resolve().name, None)
    if os.path.isfile(path):
        return Found(read_weights(path), path.stem, path)
    raise InputError(
        f"model {name!r}: neither a bundled model ({', '.join(shipped) or 'none'}) "
        "nor a weights file nor a training workdir nor a system such as "
        f"{BASELINES[3]!r}"
    )


def _bundled() -> dict[str, Path]:
    """The weights files that come along, by name."""
    return {p.stem: p for p in sorted(bundled.WEIGHTS.glob("*.safetensors"))}
