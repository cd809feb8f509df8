"""A model as ONNX files that hold their weights, for any program that takes ONNX.

The folder has one file for each function, `model.json` and `README.md`, which says what
the functions take and return; see `dear_jax.export.functions`.
"""

import shutil
import tempfile
from pathlib import Path

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.export.graphs import (
    FACTS,
    bundled_graphs,
    with_weights,
    write_graphs,
)
from dear_jax.files import make_folder, replacing
from dear_jax.weights import Weights

DTYPES = ("float16", "float32")


def export_onnx(folder: Path, weights: Weights, dtype: str = "float16") -> list[Path]:
    """Writes the files.

    Args:
      folder: is made if it is missing.
      weights: of a model. With the fields of a bundled one only the package onnx is
        needed, with others jax2onnx too, see `dear_jax.export.tracing`.
      dtype: in which the files hold the weights, one of `DTYPES`; computed is in
        float32.

    Returns:
      The files.

    Raises:
      InputError: for a model that cannot be exported, without those packages, or if the
        folder cannot be written.
    """
    try:
        import onnx
    except ImportError:
        raise InputError(
            "exporting to ONNX needs the package onnx, which is not installed; "
            "pip install 'dear_jax[onnx]'"
        ) from None
    model = weights.model
    with tempfile.TemporaryDirectory() as traced:
        graphs = bundled_graphs(model)
        if graphs is None:
            from dear_jax.export.tracing import trace

            graphs = Path(traced)
            write_graphs(graphs, trace(model), model)
        folder, written = make_folder(folder), []
        for path in sorted(graphs.glob("*.onnx")):
            graph = onnx.load(str(path), load_external_data=False)
            whole = with_weights(graph, weights, dtype)
            with replacing(folder / path.name) as partial:
                partial.write_bytes(whole.SerializeToString(deterministic=True))
            written.append(folder / path.name)
        shutil.copyfile(graphs / FACTS, folder / FACTS)
    shutil.copyfile(bundled.GRAPHS / "README.md", folder / "README.md")
    return [*written, folder / FACTS, folder / "README.md"]
