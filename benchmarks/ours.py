"""A system of this project on the CPU, for the scripts that start it.

    python benchmarks/ours.py JOB.json

Reads the weights file of the job or converts the official weights in it, then runs
the system as its users do: photo [H, W, 3] float32 and mask [H, W] in, photo
[h, w, 3] out. `restoring.py` and `versions.py` start it.
"""

import json
import sys
from pathlib import Path

from measuring import limit_cores, measure, resident

JOB = json.loads(Path(sys.argv[1]).read_text())
limit_cores(JOB["threads"])

import jax  # noqa: E402
import numpy as np  # noqa: E402
from roofline import measure_limits  # noqa: E402

from dear_jax.convert import convert_state, family  # noqa: E402
from dear_jax.inference.loading import from_weights  # noqa: E402
from dear_jax.models import registry  # noqa: E402
from dear_jax.weights import Weights, read_weights  # noqa: E402


def main() -> None:
    name = JOB["system"]
    jax.devices()
    registry.build(registry.fields_of(name))  # Imports its module.
    imported = resident()
    with np.load(JOB["photo"]) as stored:
        photo, mask = stored["photo"], stored["mask"]
    weights = read_weights(JOB["weights"]) if "weights" in JOB else converted(name)
    system = from_weights(weights, name)
    del weights
    size = (JOB["target"], JOB["target"])
    record, result = measure(lambda: system(photo, mask, size=size), imported, JOB)
    record |= {"version": f"JAX {jax.__version__}", "imported": imported}
    if JOB.get("limits"):
        record["product"] = measure_limits(("float32",)).flops["float32"]
    np.save(JOB["output"], result)
    Path(JOB["record"]).write_text(json.dumps(record))


def converted(name: str) -> Weights:
    """The official state_dict of the job as weights of ours."""
    with np.load(JOB["state"]) as stored:
        state = dict(stored)
    fields = registry.fields_of(name) | family(name).fields_from(state)
    variables, _ = convert_state(state, fields)
    return Weights(variables, fields, {})


if __name__ == "__main__":
    main()
