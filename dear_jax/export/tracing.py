"""ONNX graphs of a model, whose weights lie beside them, by jax2onnx.

    PYTHONPATH=. onnx-environment/bin/python -m dear_jax.export.tracing

writes those that come along, which is needed when a bundled model's fields change, not
when its weights do. jax2onnx wants other versions of packages than the project does, so
it has an environment of its own:

    python -m venv onnx-environment
    onnx-environment/bin/pip install jax==0.10.2 flax==0.12.8 onnx==1.23.2 \\
        onnx-ir==1.1.0 onnxsim==0.8.1 onnxruntime==1.32.0 jaxtyping ml_collections \\
        numpy optax pillow safetensors scipy
    onnx-environment/bin/pip install --no-deps jax2onnx==0.17.1

It patches JAX while it traces and can be wrong without an error: the tests compare
every graph with JAX at odd sizes.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import unflatten_dict

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.export.functions import Function, functions_of
from dear_jax.export.graphs import parameters_of, write_graphs
from dear_jax.models.registry import build
from dear_jax.typing import Array
from dear_jax.weights import read_header

HOW = "the first lines of dear_jax/export/tracing.py say how to install it"


def trace(model: Mapping[str, Any]) -> dict[str, Any]:
    """Traces a model.

    Args:
      model: its fields, see `dear_jax.models.registry`.

    Returns:
      For each of `functions_of` an `onnx.ModelProto`, whose first inputs are the
      parameters, by the names they have in weights files.

    Raises:
      InputError: for a model without such functions, or without jax2onnx.
    """
    module = build(model)
    functions = functions_of(module)
    try:
        # Of an environment of its own, see above.
        from jax2onnx import to_onnx  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f"a model with these fields needs jax2onnx, which is not installed; {HOW}"
        ) from None
    parameters = {name: each.shape for name, each in parameters_of(model).items()}

    def traced(function: Function) -> Any:
        inputs = {**parameters, **function.inputs}

        def apply(*arrays: jax.Array) -> Array:
            given = dict(zip(inputs, arrays, strict=True))
            flat = {name: given.pop(name) for name in parameters}
            bound = module.bind(unflatten_dict(flat, sep="/"))
            return function.apply(bound, **given)

        return to_onnx(
            apply,
            [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs.values()],
            input_names=list(inputs),
            output_names=[function.output],
        )

    return {name: traced(function) for name, function in functions.items()}


def main() -> None:
    """Writes the graphs of the models that come along."""
    for weights in (bundled.WEIGHTS / "dear-lite.safetensors", bundled.DETECTOR):
        model, _ = read_header(weights)
        folder = bundled.GRAPHS / Path(weights).stem
        try:
            write_graphs(folder, trace(model), model)
        except InputError as error:
            sys.exit(f"{weights}: {error}")
        print(f"{folder}: {', '.join(sorted(p.name for p in folder.iterdir()))}")


if __name__ == "__main__":
    main()
