"""The authors' PyTorch code on the CPU, which `restoring.py` starts.

    python benchmarks/official.py JOB.json

Python is one that has PyTorch, not JAX. Only
modules of the checkout are imported; packages that they import but do not compute
with (see `UNNEEDED`) are stubbed where they are missing, and `.cuda()` does nothing.
A job either draws weights or runs a system with them:

    draw    constructs the model as its authors do, seed 0
    run     photo [H, W, 3] and mask [H, W] -> photo [h, w, 3], as the authors' own
            test or demo does: arrays in, an array out, in evaluation mode
"""

import importlib
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from measuring import limit_cores, measure, resident

JOB = json.loads(Path(sys.argv[1]).read_text())
limit_cores(JOB["threads"])

import numpy as np  # noqa: E402
import torch  # noqa: E402

UNNEEDED = (
    "cv2",
    "imageio",
    "kornia",
    "kornia.geometry.transform",
    "pytorch_lightning",
    "skimage",
    "tensorboardX",
    "timm.models.layers",
    "torchvision",
    "tqdm",
    "yaml",
)
# Queries at once in LIIF's and LTE's tests and demos.
QUERIES = 30000


def module(name: str) -> Any:
    """A module of the checkout."""
    return importlib.import_module(name)


def query_model(hidden: int, name: str, **arguments: Any) -> Any:
    """LIIF or LTE on EDSR-baseline, as their training configurations say."""
    encoder = {"name": "edsr-baseline", "args": {"no_upsampling": True}}
    mlp = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [256] * hidden}}
    arguments |= {"encoder_spec": encoder, "imnet_spec": mlp}
    return module("models").make({"name": name, "args": arguments})


def enlarge_by_queries(model: Any, photo: np.ndarray, largest_scale: float) -> Any:
    """As demo.py and test.py do; LTE clips the cell beyond `largest_scale`."""
    side = JOB["target"]
    coordinates = module("utils").make_coord((side, side))
    cell = torch.full_like(coordinates, 2 / side)
    cell *= max(side / len(photo) / largest_scale, 1)
    answer = module("test").batched_predict(
        model, (nchw(photo) - 0.5) / 0.5, coordinates[None], cell[None], QUERIES
    )
    return (answer[0] * 0.5 + 0.5).clamp(0, 1).view(side, side, 3)


def nchw(photo: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(photo).permute(2, 0, 1)[None].contiguous()


MODULES = {
    "liif": ("models", "utils", "test"),
    "lte": ("models", "utils", "test"),
}
# How to construct it, and how to restore (model, photo, mask) with it.
SYSTEMS: dict[str, tuple[Callable, Callable]] = {
    "liif": (
        lambda: query_model(4, "liif"),
        lambda model, photo, _: enlarge_by_queries(model, photo, float("inf")),
    ),
    "lte": (
        lambda: query_model(3, "lte", hidden_dim=256),
        lambda model, photo, _: enlarge_by_queries(model, photo, 4.0),
    ),
}


def prepare() -> None:
    """Makes the checkout importable on a machine without a GPU."""
    missing = [n for n in UNNEEDED if find_spec(n.split(".")[0]) is None]
    sys.modules.update({name: MagicMock() for name in missing})
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor
    torch.set_num_threads(JOB["threads"])
    sys.path.insert(0, JOB["checkout"])


def draw(model: Any) -> None:
    """Writes a state_dict."""
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    np.savez(JOB["state"], **state)


def main() -> None:
    prepare()
    for name in MODULES[JOB["system"]]:
        module(name)
    imported = resident()
    construct, run = SYSTEMS[JOB["system"]]
    torch.manual_seed(0)
    model = construct()
    with np.load(JOB["photo"]) as stored:
        photo, mask = stored["photo"], stored["mask"]

    @torch.no_grad()
    def restore() -> np.ndarray:
        return run(model, photo, mask).numpy()

    if JOB["do"] == "draw":
        draw(model)
        return
    with np.load(JOB["state"]) as stored:
        state = {key: torch.from_numpy(stored[key]) for key in stored.files}
    model.load_state_dict(state)
    del state
    model.eval()
    record, result = measure(restore, imported, JOB)
    record |= {"version": f"PyTorch {torch.__version__}", "imported": imported}
    np.save(JOB["output"], result)
    Path(JOB["record"]).write_text(json.dumps(record))


if __name__ == "__main__":
    main()
