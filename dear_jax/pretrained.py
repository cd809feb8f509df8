"""Finding a model: bundled, in a file, of a training run, or a system by name."""

import os
from pathlib import Path

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.systems.catalogue import BASELINES, from_weights, is_system, open_system
from dear_jax.systems.restorer import Restorer
from dear_jax.weights import read_weights

DEFAULT = "dear-lite"


def load(
    what: str | Path | None = None,
    which: str = "latest",
    weights: str | Path | None = None,
    clean: bool = False,
) -> Restorer:
    """Loads a model, or a system of two.

    Args:
      what: None for the bundled default, the name of a bundled model, a weights
        file (*.safetensors), the workdir of a training run, or a system such as
        "misf+elan", see `dear_jax.systems.catalogue`.
      which: of a workdir, "latest" (the EMA of its last checkpoint) or "best" (the
        EMA that scored best).
      weights: folder of weights files in which a system finds its models.
      clean: whether a system of LIIF, LTE or DEAR alone is the one that learned from
        photos without holes; usually it is the one that learned from damaged ones.

    Raises:
      InputError: if there is no such model; the message names what there is.
    """
    if which not in ("latest", "best"):
        raise InputError(f"which={which!r}: choose 'latest' or 'best'")
    name = DEFAULT if what is None else str(what)
    shipped = {p.stem: p for p in sorted(bundled.WEIGHTS.glob("*.safetensors"))}
    path = Path(os.path.expanduser(name))
    # The name of a bundled model always means that; ./NAME is a file or folder.
    if name in shipped:
        return from_weights(read_weights(shipped[name]), name)
    if is_system(name):
        folder = Path(os.path.expanduser(weights)) if weights else None
        return open_system(name, folder, damaged=not clean)
    if os.path.isdir(path):
        from dear_jax.training.workdir import read_run

        return from_weights(read_run(path, which), path.resolve().name)
    if os.path.isfile(path):
        return from_weights(read_weights(path), path.stem)
    raise InputError(
        f"model {name!r}: neither a bundled model ({', '.join(shipped) or 'none'}) "
        "nor a weights file nor a training workdir nor a system such as "
        f"{BASELINES[3]!r}"
    )
