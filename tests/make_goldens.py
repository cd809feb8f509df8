"""Makes the reference files of tests/goldens with the authors' PyTorch code.

    python tests/make_goldens.py --official FOLDER --out tests/goldens

FOLDER holds the checkouts named in `SOURCES`. Python is one that has PyTorch and
einops, not JAX. MISF's code has no licence and is not run: the laws of its tests hold
it, and its authors' answers where reference files lie beside the checkout. LPIPS is put
together here from PyTorch's layers.

A file holds `input/*`, `output` (with `rand_output` and `tie_output` for queries
anywhere and for those that tie), the weights as `param/<official key>`, all in
PyTorch's layouts, and `meta_json`, which says how the model was made. `parity.py` reads
them. All weights are drawn here, none is anyone's trained one; they and the statistics
of batch norms have few different values, so that the files are small.
"""

import argparse
import importlib
import json
import math
import sys
import warnings
import zlib
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from drawn_lpips import COUNTED, drawn
from torch.nn import functional

# Folder -> GitHub repository and commit that the files were made with.
SOURCES = {
    "liif": "yinboc/liif@4c833f8f9d5d038df3ee2b50ebe649c30e628c0f",
    "lte": "jaewon-lee-b/lte@a8815d6ac8a643cd0463a092fa0f58e03935b343",
    "elan": "xindongzhang/ELAN@97ab3fa00dc5657cf06ae2fbdcd618d22026790f",
    "lama": "advimman/lama@786f5936b27fb3dacd2b1ad799e4de968ea697e7",
}
# Imported by the authors' files but not computed with.
UNNEEDED = (
    "imageio kornia kornia.geometry.transform pytorch_lightning skimage tensorboardX "
    "timm timm.models.layers"
).split()
Rng = np.random.Generator
# How the model was made, and the arrays.
File = tuple[dict, dict[str, Any]]


def module(checkout: Path, name: str) -> Any:
    """A module of a checkout; several of them call theirs `models` and `utils`."""
    for known in [n for n in sys.modules if n.split(".")[0] in ("models", "utils")]:
        del sys.modules[known]
    sys.path.insert(0, str(checkout))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(checkout))


def coarse(values: np.ndarray) -> torch.Tensor:
    """Rounds to few values, for small files: none is zero and no sign changes."""
    size = math.sqrt(np.mean(np.square(values)))
    step = 2.0 ** (round(math.log2(size)) - 2)
    return torch.from_numpy((np.floor(values / step) + 0.5) * step)


def draw(model: Any, rng: Rng, *example: Any, gains: dict | None = None) -> Any:
    """Draws every trainable weight, gives batch norms statistics, for evaluation.

    Args:
      example: inputs to take the statistics from.
      gains: key -> factor of that weight, where activations are not of size 1.
    """
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    scales = {id(norm.weight) for norm in norms}
    for key, parameter in model.named_parameters():
        if not parameter.requires_grad:  # Built in: ELAN's shifts, mean colours.
            continue
        if id(parameter) in scales:
            drawn = rng.uniform(0.5, 1.5, parameter.shape)
        elif parameter.ndim == 1:
            drawn = rng.normal(0, 0.25, parameter.shape)
        else:
            drawn = rng.normal(0, 1, parameter.shape) * (gains or {}).get(key, 1)
            drawn *= math.sqrt(2 / parameter[0].numel())
        parameter.copy_(coarse(drawn))
    for norm in norms:
        norm.momentum = None  # Takes the statistics of the example as they are.
    model.train()(*example)
    for norm in norms:
        mean, var = norm.running_mean.numpy(), norm.running_var.numpy()
        moved = mean + rng.normal(0, 0.2, mean.shape) * np.sqrt(var)
        norm.running_mean.copy_(coarse(moved))
        norm.running_var.copy_(coarse(var * rng.uniform(0.5, 2, var.shape)))
    return model.eval()


def state(model: Any) -> dict[str, np.ndarray]:
    """The weights as a file names them."""
    return {f"param/{key}": value.numpy() for key, value in model.state_dict().items()}


def photo(rng: Rng, *size: int, channels: int = 3) -> np.ndarray:
    """Noise [1, C, H, W] of 256 levels in [0, 1)."""
    return np.float32(rng.integers(0, 256, (1, channels, *size)) / 256)


def edsr_file(rng: Rng, official: Path, size: tuple, builder: str, **kwargs) -> File:
    """EDSR as LIIF builds it; "edsr" multiplies residuals with 0.1."""
    x = torch.from_numpy(photo(rng, *size) * 2 - 1)
    spec = {"name": builder, "args": kwargs}
    model = draw(module(official / "liif", "models").make(spec), rng, x)
    meta = {"source": SOURCES["liif"], "builder": builder, "kwargs": kwargs}
    meta["res_scale"] = model.args.res_scale
    return meta, {"input/x": x, "output": model(x), **state(model)}


def query_file(rng: Rng, official: Path, sizes: tuple, name: str, **args) -> File:
    """LIIF or LTE, sizes (photo, target): its grid, queries anywhere, the x3 grid."""
    models = module(official / name, "models")
    make_coord = module(official / name, "utils").make_coord
    lr, hr = sizes
    image = photo(rng, *lr)
    x = torch.from_numpy((image - 0.5) / 0.5)

    def grid(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        centres = make_coord(size)[None]
        return centres, torch.ones_like(centres) * 2 / torch.tensor(size)

    spec = {"name": name, "args": args}
    model = draw(models.make(spec), rng, x, *grid(hr))
    corners = [[y, x] for y in (-1, 1) for x in (-1, 1)]
    centres = make_coord(model.gen_feat(x).shape[-2:]).numpy()
    anywhere = np.float32([*corners, *centres, *rng.uniform(-1, 1, (60, 2))])[None]
    cells = rng.uniform(0.05, 0.5, anywhere.shape).astype(np.float32)
    arrays = {"input/lr": image, "input/coord": grid(hr)[0], "input/cell": grid(hr)[1]}
    arrays |= {"input/rand_coord": anywhere, "input/rand_cell": cells}
    arrays["output"] = model(x, *grid(hr))
    arrays["rand_output"] = model(x, *map(torch.from_numpy, (anywhere, cells)))
    if args.get("imnet_spec"):  # Else rounding decides which pixel is nearest.
        arrays["tie_output"] = model(x, *grid((3 * lr[0], 3 * lr[1])))
    return {"source": SOURCES[name], "spec": spec}, {**arrays, **state(model)}


def fast_query_file(rng: Rng, official: Path, sizes: tuple, **args) -> File:
    """LTE+: queries [1, h, w, 2] and one cell [1, 2]; its output is NCHW."""
    lr, hr = sizes
    models = module(official / "lte", "models")
    grid = module(official / "lte", "utils").make_coord(hr, flatten=False)[None]
    cell = 2 / torch.tensor(hr)[None]
    image = photo(rng, *lr)
    x = torch.from_numpy((image - 0.5) / 0.5)
    spec = {"name": "lte-fast", "args": args}
    model = draw(models.make(spec), rng, x, grid, cell)
    arrays = {"input/lr": image, "input/coord": grid, "input/cell": cell}
    arrays |= {"output": model(x, grid, cell), **state(model)}
    return {"source": SOURCES["lte"], "spec": spec}, arrays


def elan_file(rng: Rng, official: Path, size: tuple, **args) -> File:
    """ELAN, values from 0 to 255; the gains keep those inside of size 1."""
    args = {"colors": 3, "rgb_range": 255, "act_type": "relu", **args}
    x = rng.integers(0, 256, (1, 3, *size), np.uint8)
    values = torch.from_numpy(x).float()
    network = module(official / "elan", "models.elan_network")
    gains = {"head.0.weight": 1 / 64, "tail.0.weight": 4}
    model = draw(network.create_model(Namespace(**args)), rng, values, gains=gains)
    arrays = {"input/x": x, "output": model(values), **state(model)}
    return {"source": SOURCES["elan"], "args": args}, arrays


def layer_file(rng: Rng, official: Path, name: str, channels: tuple, **args) -> File:
    """A layer of LaMa's on odd sizes."""
    feature = torch.from_numpy(photo(rng, 7, 9, channels=channels[0]) * 4 - 2)
    layers = module(official / "lama", "saicinpainting.training.modules.ffc")
    model = draw(getattr(layers, name)(*channels, **args), rng, feature)
    meta = {"source": SOURCES["lama"], "op": name, **args}
    meta |= {"in_channels": channels[0], "out_channels": channels[1]}
    return meta, {"input/feature": feature, "output": model(feature), **state(model)}


def lama_file(rng: Rng, official: Path, size: tuple, **kwargs) -> File:
    """LaMa; what lies under the mask is not black in the file."""
    local = {"ratio_gin": 0, "ratio_gout": 0, "enable_lfu": False}
    kwargs |= {"input_nc": 4, "output_nc": 3, "add_out_act": "sigmoid"}
    kwargs |= {"init_conv_kwargs": local, "downsample_conv_kwargs": local}
    kwargs["resnet_conv_kwargs"] = {**local, "ratio_gin": 0.75, "ratio_gout": 0.75}
    image, mask = photo(rng, *size), rng.random((1, 1, *size)) < 0.4
    seen = torch.from_numpy(np.concatenate([image * ~mask, mask], axis=1))
    layers = module(official / "lama", "saicinpainting.training.modules.ffc")
    model = draw(layers.FFCResNetGenerator(**kwargs), rng, seen)
    arrays = {"input/image": image, "input/mask": mask.astype(np.uint8)}
    meta = {"source": SOURCES["lama"], "model": "LaMa FFCResNetGenerator"}
    return {**meta, "kwargs": kwargs}, {**arrays, "output": model(seen), **state(model)}


def lpips_file(rng: Rng, _: Path, size: tuple, network: str) -> File:
    """LPIPS, written here, with the weights of `drawn_lpips`; one photo is black."""
    weights = drawn(network)
    prediction, target = (np.concatenate([photo(rng, *size)] * 2) for _ in range(2))
    prediction[1] = 0
    leaf = torch.from_numpy(prediction).requires_grad_()
    with torch.enable_grad():
        mine, theirs = (_unit_maps(x, weights, network) for x in (leaf, target))
        output = sum(
            ((a - b) ** 2 * torch.from_numpy(head)[None, :, None, None])
            .sum(1)
            .mean((1, 2))
            for a, b, head in zip(mine, theirs, weights.heads, strict=True)
        )
        output.sum().backward()
    meta = {"source": "PyTorch's layers, put together here", "measure": "LPIPS"}
    arrays = {"input/prediction": prediction, "input/target": target}
    arrays |= {"output": output.detach(), "grad/prediction": leaf.grad}
    return {**meta, "network": network}, arrays


def _unit_maps(image: Any, weights: Any, network: str) -> list[torch.Tensor]:
    """Feature vectors of length 1 of [B, 3, H, W] in [0, 1], layer by layer."""
    shift, scale = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
    shift, scale = (torch.tensor(v)[None, :, None, None] for v in (shift, scale))
    x, maps = (2 * torch.as_tensor(image) - 1 - shift) / scale, []
    alexnet = network == "alexnet"
    for i, (kernel, bias) in enumerate(weights.convolutions):
        kernel, bias = torch.from_numpy(kernel), torch.from_numpy(bias)
        if i in ((1, 2) if alexnet else (2, 4, 7, 10)):
            x = functional.max_pool2d(x, 3 if alexnet else 2, 2)
        first = {"stride": 4, "padding": 2} if alexnet and i == 0 else {}
        how = first or {"padding": kernel.shape[-1] // 2}
        x = functional.conv2d(x, kernel, bias, **how).relu()
        if i in COUNTED[network]:
            maps.append(x / ((x**2).sum(1, keepdim=True).sqrt() + 1e-10))
    return maps


# No query of the target's grid is as near to one pixel as to another. Few centres of
# pixels are float32 numbers, so that last bits matter where queries do tie.
_SIZES = ((5, 7), (11, 18))
_EDSR = {"n_resblocks": 1, "n_feats": 4}
_ENCODER = {"name": "edsr-baseline", "args": {**_EDSR, "no_upsampling": True}}
_DECODER = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [8, 8]}}
_LIIF = {"encoder_spec": _ENCODER, "imnet_spec": _DECODER}
_PIXELS = {"name": "edsr-baseline", "args": {**_EDSR, "scale": 3}}
_LTE_FAST = {"encoder_spec": _ENCODER, "num_layer": 2, "hidden_dim": 8}
_ELAN = {"m_elan": 4, "n_share": 1, "c_elan": 6, "r_expand": 2, "scale": 2}
_LAMA = {"ngf": 8, "n_downsampling": 3, "n_blocks": 1, "max_features": 16}

edsr = partial(edsr_file, builder="edsr-baseline", **_EDSR)
edsr_full = partial(edsr_file, builder="edsr", n_resblocks=2, n_feats=8)
liif = partial(query_file, name="liif")
spectral = partial(layer_file, name="SpectralTransform", enable_lfu=False)

# Name -> what makes the file from a generator and FOLDER.
FILES: dict[str, Callable[[Rng, Path], File]] = {
    "edsr_x2": partial(edsr, size=(5, 8), scale=2),
    "edsr_x3": partial(edsr_full, size=(7, 4), scale=3),
    "edsr_x4": partial(edsr, size=(5, 4), scale=4),
    "liif": partial(liif, sizes=_SIZES, **_LIIF),
    "liif_nearest": partial(liif, sizes=_SIZES, **_LIIF, local_ensemble=False),
    "liif_pixels": partial(liif, sizes=((5, 6), (15, 18)), encoder_spec=_PIXELS),
    "lte": partial(query_file, name="lte", sizes=_SIZES, **_LIIF, hidden_dim=8),
    "lte_fast": partial(fast_query_file, sizes=_SIZES, **_LTE_FAST),
    "elan": partial(elan_file, size=(9, 19), window_sizes=[4, 8, 16], **_ELAN),
    "fourier_unit": partial(layer_file, name="FourierUnit", channels=(5, 7)),
    "spectral_transform": partial(spectral, channels=(10, 14)),
    "lama": partial(lama_file, size=(24, 32), **_LAMA),
    "lpips_alexnet": partial(lpips_file, size=(36, 43), network="alexnet"),
    "lpips_vgg16": partial(lpips_file, size=(17, 20), network="vgg16"),
}


def write(path: Path, meta: dict, arrays: dict[str, Any]) -> None:
    """Writes a file; says its size, and mean and deviation of its output."""
    meta = {**meta, "torch": torch.__version__}
    arrays = {key: np.asarray(value) for key, value in arrays.items()}
    np.savez_compressed(path, allow_pickle=False, meta_json=json.dumps(meta), **arrays)
    size, output = path.stat().st_size, arrays["output"]
    print(f"{path.stem:20} {size:6} bytes, {output.mean():.2f} +- {output.std():.2f}")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    flags = parser.parse_args()
    sys.modules.update({name: MagicMock() for name in UNNEEDED})
    warnings.simplefilter("ignore")  # Of the authors' code.
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor
    flags.out.mkdir(parents=True, exist_ok=True)
    for name, make in FILES.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        write(flags.out / f"{name}.npz", *make(rng, flags.official.resolve()))


if __name__ == "__main__":
    main()
