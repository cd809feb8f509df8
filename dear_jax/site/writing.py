"""Writes the page as files for any web host.

The page is that of `dear serve`, whose `api.js` is another one: in place of a server, a
worker runs the model by onnxruntime-web. The folder then holds

    index.html, *.js, *.css   the page; sw.js keeps it for when there is no network
    runtime/                  onnxruntime-web
    models/NAME/              graphs and weights, as they are in the package
    site.json                 what the page is to know: see `facts`
    licences.txt

What is large is compressed here, since not every host does it.
"""

import gzip
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import dear_jax
from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.export.graphs import FACTS, bundled_graphs
from dear_jax.files import make_folder
from dear_jax.weights import Weights, read_weights, write_weights

HERE = Path(__file__).parent
PAGE = HERE.parent / "serve" / "page"
# Of the server's page alone.
_SERVED = ("docs.html", "docs.js", "docs.css")
WEIGHTS, TEXTURE = "weights.safetensors", "texture.safetensors"
# Fetched when they are first needed.
_LATER = ("models/damage-detector/", f"models/dear-lite/{TEXTURE}")
# What the page may do: nothing leaves, and nothing but its own files comes in.
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self' blob:; worker-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'"
)


def write_site(
    folder: Path, weights: Weights, texture: Weights | None = None
) -> list[Path]:
    """Writes the site.

    Args:
      folder: is made if it is missing; what is in it of other names stays.
      weights: of a model whose fields are those of a bundled graph.
      texture: its texture weights.

    Returns:
      The files that were written.

    Raises:
      InputError: for weights of another kind of model, or a folder that cannot be
        written.
    """
    graphs, detector = bundled_graphs(weights.model), read_weights(bundled.DETECTOR)
    if graphs is None:
        raise InputError(
            "the model has other fields than the graphs that come along; the page "
            "takes dear-lite and what was trained on from it"
        )
    finding = bundled_graphs(detector.model)
    assert finding is not None
    folder = make_folder(folder)
    for path in PAGE.iterdir():
        if path.name not in _SERVED:
            shutil.copyfile(path, folder / path.name)
    for part in ("local", "runtime"):
        into = folder if part == "local" else make_folder(folder / part)
        for path in (HERE / part).iterdir():
            shutil.copyfile(path, into / path.name)
    _write_model(folder / "models" / "dear-lite", graphs, weights, texture)
    _write_model(folder / "models" / "damage-detector", finding, detector)
    index = (folder / "index.html").read_text(encoding="utf-8")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    index = index.replace(
        '<meta charset="utf-8">', f'<meta charset="utf-8">\n  {policy}'
    )
    (folder / "index.html").write_text(index, encoding="utf-8")
    terms = _licences(
        ("weights of the model", weights),
        ("texture weights", texture),
        ("weights of the detector", detector),
    )
    text = "\n\n".join(terms) + "\n"
    (folder / "licences.txt").write_text(text, encoding="utf-8")
    written = [p for p in folder.rglob("*") if p.is_file() and p.name != "site.json"]
    facts = _facts(folder, written, texture is not None)
    (folder / "site.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return [*written, folder / "site.json"]


def _facts(folder: Path, written: list[Path], texture: bool) -> dict[str, Any]:
    """What the page is to know: version, model, and its files.

    Files are by name; of each its size in bytes, the start of its hash, and whether it
    is fetched only when it is first needed.
    """
    files = {}
    for path in sorted(written):
        data, name = path.read_bytes(), path.relative_to(folder).as_posix()
        files[name] = {
            "bytes": len(data),
            "hash": hashlib.sha256(data).hexdigest()[:16],
            "later": name.startswith(_LATER),
        }
    every = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
    version = {"version": dear_jax.__version__, "revision": every}
    return {**version, "model": "dear-lite", "texture": texture, "files": files}


def _write_model(
    folder: Path, graphs: Path, weights: Weights, texture: Weights | None = None
) -> None:
    make_folder(folder)
    shutil.copyfile(graphs / FACTS, folder / FACTS)
    for graph in graphs.glob("*.onnx"):
        _compress(graph.read_bytes(), folder / f"{graph.name}.gz")
    for name, given in {WEIGHTS: weights, TEXTURE: texture}.items():
        if given is not None:
            _compress(_as_file(given), folder / f"{name}.gz")


def _as_file(weights: Weights) -> bytes:
    """The bytes of a weights file, in bfloat16 where that loses nothing."""
    leaves = map(np.asarray, jax.tree.leaves(weights.variables))
    lossless = all((x == x.astype(jnp.bfloat16).astype(x.dtype)).all() for x in leaves)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / WEIGHTS
        write_weights(path, weights, "bfloat16" if lossless else "float32")
        return path.read_bytes()


def _compress(data: bytes, out: Path) -> None:
    # Without a time: the same file as the same bytes.
    out.write_bytes(gzip.compress(data, 9, mtime=0))


def _licences(*named: tuple[str, Weights | None]) -> Iterator[str]:
    """The terms of the page and of all that comes with it."""
    yield f"dear_jax {dear_jax.__version__}, the page: Apache License 2.0."
    for name, weights in named:
        if weights is not None:
            yield f"{name}: {weights.provenance.get('terms', 'not said')}"
    yield (HERE / "runtime" / "LICENSE.txt").read_text(encoding="utf-8").strip()
