"""A system of this project on the CPU, for `baselines.py`, which starts it.

    python benchmarks/ours.py JOB.json

Converts the official weights of the job, then runs the system as its users do: photo
[H, W, 3] float32 and mask [H, W] in, photo [h, w, 3] out.
"""

import json
import sys
from pathlib import Path

from measuring import limit_cores, measure, resident

JOB = json.loads(Path(sys.argv[1]).read_text())
limit_cores(JOB["threads"])

import jax  # noqa: E402
import numpy as np  # noqa: E402

from dear_jax import registry  # noqa: E402
from dear_jax.convert.conversion import convert_state, family  # noqa: E402
from dear_jax.systems.catalogue import from_weights  # noqa: E402
from dear_jax.weights import Weights  # noqa: E402


def main() -> None:
    name = JOB["system"]
    jax.devices()
    fields, rules = registry.fields_of(name), family(name)
    registry.build(fields)  # Imports its module.
    imported = resident()
    with np.load(JOB["photo"]) as stored:
        photo, mask = stored["photo"], stored["mask"]
    with np.load(JOB["state"]) as stored:
        state = dict(stored)
    fields |= rules.fields_from(state)
    variables, _ = convert_state(state, fields)
    del state
    system = from_weights(Weights(variables, fields, {}), name)
    size = (JOB["target"], JOB["target"])
    record, result = measure(lambda: system(photo, mask, size=size), imported, JOB)
    record |= {"version": f"JAX {jax.__version__}", "imported": imported}
    np.save(JOB["output"], result)
    Path(JOB["record"]).write_text(json.dumps(record))


if __name__ == "__main__":
    main()
