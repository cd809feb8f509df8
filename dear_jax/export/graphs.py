"""ONNX graphs without weights, and how weights are put beside or into them.

The graphs of the models that come along are in the package, one for each of
`functions_of`; they depend on a model's fields alone. Their parameters are external
data at the offsets of `parameters_of`, so one file of floats serves all graphs of a
model and two such files can be mixed before any is loaded. `model.json` beside them:

    model       the fields
    step, halo  see `dear_jax.export.functions`
    functions   for each, its inputs' shapes and its output
    parameters  name, shape and offset in bytes of each in the file of float32
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from dear_jax import bundled
from dear_jax.export.functions import functions_of
from dear_jax.models.detector.detector import Detector
from dear_jax.models.registry import build, init_shapes
from dear_jax.weights import Weights, digest_of, freeze

# What graphs call the file that holds their parameters.
LOCATION = "weights"
FACTS = "model.json"


class Parameter(NamedTuple):
    """Where a parameter lies in the file of a model's parameters.

    Attributes:
      name: as in weights files, e.g. "params/encoder/stem/kernel".
      shape: of it.
      offset: of its first byte.
    """

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        """Its size as float32."""
        return 4 * math.prod(self.shape)


def parameters_of(model: Mapping[str, Any]) -> dict[str, Parameter]:
    """A model's parameters by name, in the order in which they lie in their file.

    Args:
      model: its fields.
    """
    shapes: Any = flatten_dict(init_shapes(build(model)), sep="/")
    found, offset = {}, 0
    for name in sorted(shapes):
        found[name] = Parameter(name, tuple(shapes[name].shape), offset)
        offset += found[name].bytes
    return found


def parameters_file(variables: Any) -> bytes:
    """The file of a model's parameters: little-endian float32, by name."""
    flat = _flat(variables)
    return b"".join(np.asarray(flat[k], "<f4").tobytes() for k in sorted(flat))


def facts_of(model: Mapping[str, Any]) -> dict[str, Any]:
    """What `model.json` says of a model, given its fields."""
    module = build(model)
    if isinstance(module, Detector):
        step, halo = module.step, module.halo
    else:
        step = module.geometry.stride
        halo = module.geometry.embedding.halo + step * module.feature_unfold
    return {
        "model": dict(model),
        "step": step,
        "halo": halo,
        "functions": {
            name: {"inputs": function.inputs, "output": function.output}
            for name, function in functions_of(module).items()
        },
        "parameters": [each._asdict() for each in parameters_of(model).values()],
    }


def write_graphs(
    folder: Path, traced: Mapping[str, Any], model: Mapping[str, Any]
) -> None:
    """Writes graphs without weights, and their facts; the same as the same bytes.

    Args:
      folder: made if it is missing.
      traced: see `dear_jax.export.tracing.trace`.
      model: fields of the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parameters = parameters_of(model)
    for name, graph in traced.items():
        bare = _without_inputs(graph, parameters)
        (folder / f"{name}.onnx").write_bytes(
            bare.SerializeToString(deterministic=True)
        )
    # A line for each fact.
    lines = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in facts_of(model).items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (folder / FACTS).write_text(text, encoding="utf-8")


def with_weights(graph: Any, weights: Weights, dtype: str) -> Any:
    """A graph that holds its parameters itself, and says what they are.

    Args:
      graph: an `onnx.ModelProto` of `write_graphs`; stays as it is.
      weights: of the model.
      dtype: "float16", which halves it and rounds them (what is computed stays
        float32), or "float32".
    """
    from onnx import TensorProto, helper, numpy_helper

    whole = type(graph)()
    whole.CopyFrom(graph)
    flat = _flat(weights.variables)
    held = list(whole.graph.initializer)
    del whole.graph.initializer[:]
    casts = []
    for tensor in held:
        if tensor.name in flat:
            value, name = np.asarray(flat[tensor.name], np.float32), tensor.name
            if dtype == "float16":
                name, value = f"{name}/float16", value.astype(np.float16)
                cast = helper.make_node("Cast", [name], [tensor.name])
                cast.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
                casts.append(cast)
            tensor = numpy_helper.from_array(value, name)
        whole.graph.initializer.append(tensor)
    nodes = [*casts, *whole.graph.node]
    del whole.graph.node[:]
    whole.graph.node.extend(nodes)
    terms = str(weights.provenance.get("terms") or "not said")
    digest = digest_of(weights.model, weights.variables)
    helper.set_model_props(whole, {"terms": terms, "weights": digest})
    return whole


def _without_inputs(graph: Any, parameters: Mapping[str, Parameter]) -> Any:
    """A traced graph whose parameters are external data rather than inputs."""
    from onnx import TensorProto

    bare = type(graph)()
    bare.CopyFrom(graph)
    read = {name for node in bare.graph.node for name in node.input}
    kept = [i for i in bare.graph.input if i.name not in parameters]
    del bare.graph.input[:]
    bare.graph.input.extend(kept)
    for parameter in parameters.values():
        if parameter.name not in read:
            continue
        tensor = bare.graph.initializer.add(
            name=parameter.name, dims=parameter.shape, data_type=TensorProto.FLOAT
        )
        tensor.data_location = TensorProto.EXTERNAL
        places = {"location": LOCATION, "offset": parameter.offset}
        for key, value in {**places, "length": parameter.bytes}.items():
            tensor.external_data.add(key=key, value=str(value))
    # What the tracer notes of itself and of each node.
    for part in (bare, bare.graph, *bare.graph.node):
        part.doc_string = ""
        del part.metadata_props[:]
    del bare.graph.value_info[:]
    return bare


def bundled_graphs(model: Mapping[str, Any]) -> Path | None:
    """The folder of the bundled graphs for a model's fields; None if there is none."""
    wanted = freeze(model)
    for facts in sorted(bundled.GRAPHS.glob(f"*/{FACTS}")):
        if freeze(json.loads(facts.read_text(encoding="utf-8"))["model"]) == wanted:
            return facts.parent
    return None


def _flat(variables: Any) -> dict[str, np.ndarray]:
    """Parameters on the host, by the names that they have in weights files."""
    flat: Any = flatten_dict(jax.device_get(variables), sep="/")
    return flat
