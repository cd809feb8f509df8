"""LIIF's training step by its authors, in PyTorch, for `official_step.py`.

    python benchmarks/liif_step.py CHECKOUT BATCH SIDE QUERIES MODE

Python is one that has PyTorch, not JAX. Modules of the checkout are imported, with a
stub for what they import but do not compute with where it is missing. The step does
what the loop of train_liif.py does with a batch that lies on the device: values to
[-1, 1], EDSR-baseline-LIIF, L1, its value read, backward, Adam with rate 1e-4. MODE:

    plain      as its authors run it
    tf32       with PyTorch's switch that lets products round their factors to TF32
    bfloat16   that, and the model under autocast

It first writes a line: version, device and number of parameters. Then for each line
that it reads, a number of seconds, it trains about that long and writes seconds a step.
"""

import json
import statistics
import sys
import time
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from unittest.mock import MagicMock

import torch

UNNEEDED = "tensorboardX"
LEAST = 3


def import_checkout(checkout: str) -> tuple:
    """(models, utils) of the checkout."""
    if find_spec(UNNEEDED) is None:
        sys.modules[UNNEEDED] = MagicMock(__spec__=ModuleSpec(UNNEEDED, None))
    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda tensor, *_, **__: tensor
    sys.path.insert(0, checkout)
    return import_module("models"), import_module("utils")


def make_step(models, utils, batch: int, side: int, queries: int, mode: str):
    """(a function that trains one step and returns its loss, the model)."""
    encoder = {"name": "edsr-baseline", "args": {"no_upsampling": True}}
    mlp = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [256] * 4}}
    parts = {"encoder_spec": encoder, "imnet_spec": mlp}
    model = models.make({"name": "liif", "args": parts}).cuda().train()
    adam = {"name": "adam", "args": {"lr": 1e-4}}
    optimizer = utils.make_optimizer(model.parameters(), adam)
    measure = torch.nn.L1Loss()
    photos = torch.rand(batch, 3, side, side).cuda()
    colours = torch.rand(batch, queries, 3).cuda()
    coordinates = (2 * torch.rand(batch, queries, 2) - 1).cuda()
    cell = torch.full((batch, queries, 2), 2 / (4 * side)).cuda()
    if mode != "plain":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True

    def step() -> float:
        with torch.autocast(photos.device.type, torch.bfloat16, mode == "bfloat16"):
            answer = model((photos - 0.5) / 0.5, coordinates, cell)
        loss = measure(answer.float(), (colours - 0.5) / 0.5)
        value = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return value

    return step, model


def finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def train(step, budget: float) -> float:
    """Median seconds of a step, of steps for about `budget` seconds."""
    times: list[float] = []
    finish()
    start = time.perf_counter()
    while len(times) < LEAST or sum(times) < budget:
        step()
        # Reading the next loss waits for this step's end, so the sum is all there is.
        now = time.perf_counter()
        times.append(now - start)
        start = now
    finish()
    return statistics.median(times)


def main() -> None:
    checkout, *sizes, mode = sys.argv[1:]
    step, model = make_step(*import_checkout(checkout), *map(int, sizes), mode)
    for _ in range(2):
        step()
    cuda = torch.cuda.is_available()
    facts = {
        "version": f"PyTorch {torch.__version__}",
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "parameters": sum(value.numel() for value in model.parameters()),
    }
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        print(train(step, float(line)), flush=True)


if __name__ == "__main__":
    main()
