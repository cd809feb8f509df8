"""Laws of the ONNX files: what JAX computes, at any size, window by window, alone."""

import functools
import json
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from tiny import draw_like

from dear_jax import bundled
from dear_jax.cli.main import main
from dear_jax.errors import InputError
from dear_jax.export.graphs import FACTS, bundled_graphs, facts_of
from dear_jax.export.onnx_files import export_onnx
from dear_jax.export.runtime import OnnxModel
from dear_jax.inference.damage import DamageDetector
from dear_jax.inference.dear import DearRestorer
from dear_jax.inference.texture import mixed
from dear_jax.models.registry import build, fields_of, init_shapes
from dear_jax.weights import Weights, read_weights, write_weights

# Photo and picture: odd, enlarged by no one number, smallest, more than a block.
SIZES = [
    ((64, 64), (256, 256)), ((13, 7), (31, 50)), ((1, 1), (3, 2)), ((1, 9), (4, 40)),
    ((50, 43), (173, 99)), ((67, 97), (67, 97)), ((97, 35), (98, 36)),
    ((31, 129), (93, 387)), ((24, 40), (240, 400)), ((150, 131), (225, 197)),
]  # fmt: skip
HOLES = ("none", "all", "thin", "large", "speckled")


@functools.cache
def weights(texture: float = 0.0) -> Weights:
    """Random ones of the model whose graphs come along."""
    facts = (bundled.GRAPHS / "dear-lite" / FACTS).read_text(encoding="utf-8")
    fields = json.loads(facts)["model"]
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    shapes = init_shapes(build(fields))
    two = (Weights(draw_like(shapes, seed=s), fields, {}) for s in (0, 1))
    return mixed(*two, texture)


@functools.cache
def both(texture: float = 0.0) -> tuple[OnnxModel, DearRestorer]:
    given = weights(texture)
    folder = bundled_graphs(given.model)
    assert folder is not None
    onnx = OnnxModel.bare(folder, given.variables, threads=1)
    return onnx, DearRestorer(given, "random")


def damaged(size: tuple[int, int], holes: str) -> tuple[np.ndarray, np.ndarray]:
    """A photo, and its mask."""
    cat = Image.open(bundled.PHOTOS / "cat.png").convert("RGB")
    image, mask = np.asarray(cat.resize(size[::-1])), np.full(size, holes == "all")
    if holes == "thin":
        mask[:, size[1] // 2] = mask[size[0] // 3] = True
    elif holes == "large":
        mask[size[0] // 4 : -(size[0] // 5) or None, size[1] // 5 :] = True
    elif holes == "speckled":
        mask = np.random.default_rng(0).random(size) < 0.4
    return image.astype(np.float32) / 255, mask


@pytest.mark.parametrize(("level", "texture"), [(0.0, 0.0), (0.5, 1.0), (0.5, 0.3)])
@pytest.mark.parametrize("number", range(len(SIZES)))
def test_restoring_is_what_jax_does_at_any_size(number, level, texture):
    (size, target), holes = SIZES[number], HOLES[number % len(HOLES)]
    image, mask = damaged(size, holes)
    onnx, restorer = both(texture)
    found = onnx.restore(image, mask, target, level)
    expected = restorer(image, mask, size=target, denoise=level, keep_known=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_restoring_by_blocks_and_tiles_is_restoring_the_whole():
    onnx, _ = both()
    image, mask = damaged((150, 131), "speckled")
    whole = onnx.restore(image, mask, (225, 197), 0.2)
    parts = onnx.restore(image, mask, (225, 197), 0.2, block=48, tile=37)
    np.testing.assert_allclose(parts, whole, atol=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (67, 97), (1, 9), (203, 118)])
def test_damage_is_what_jax_finds_at_any_size(size):
    given, image = read_weights(bundled.DETECTOR), damaged(size, "none")[0]
    folder = bundled_graphs(given.model)
    assert folder is not None
    onnx = OnnxModel.bare(folder, given.variables)
    expected = DamageDetector(given).probability(image)
    # What is nearly flat is divided by what little it differs.
    np.testing.assert_allclose(onnx.probability(image), expected, atol=1e-3)
    np.testing.assert_allclose(onnx.probability(image, 64), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["dear-lite", "damage-detector"])
def test_the_graphs_are_of_today_s_model(name):
    facts = json.loads((bundled.GRAPHS / name / FACTS).read_text(encoding="utf-8"))
    assert facts == json.loads(json.dumps(facts_of(facts["model"])))
    names = {path.stem for path in (bundled.GRAPHS / name).glob("*.onnx")}
    assert names == set(facts["functions"])


def test_the_example_of_the_contract_restores_a_photo_alone(tmp_path):
    export_onnx(tmp_path, weights())
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    alone = 'import sys\nfor name in ("jax", "flax", "dear_jax"):\n'
    (tmp_path / "restore.py").write_text(
        f"{alone}    sys.modules[name] = None\n{script}"
    )
    image, mask = damaged((67, 97), "large")
    image = np.rint(255 * image).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    for scale in ("1", "3"):
        arguments = "photo.png", "mask.png", "out.png", scale
        run = [sys.executable, "restore.py", *arguments]
        subprocess.run(run, cwd=tmp_path, check=True)
        found = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
        expected = both()[1](image, mask, scale=float(scale), denoise=0.0)
        assert np.abs(found - expected).max() <= 1


def test_the_files_hold_the_terms_and_the_hash_of_the_weights(tmp_path):
    import onnx

    given = weights()._replace(provenance={"terms": "to be named"})
    for dtype in ("float16", "float32"):
        export_onnx(tmp_path / dtype, given, dtype)
        graph = onnx.load(tmp_path / dtype / "encode.onnx")
        assert {p.key: p.value for p in graph.metadata_props}["terms"] == "to be named"
        onnx.checker.check_model(graph)
    sizes = [
        (tmp_path / d / "encode.onnx").stat().st_size for d in ("float16", "float32")
    ]
    count = sum(x.size for x in jax.tree.leaves(given.variables))
    assert sizes[1] - sizes[0] == pytest.approx(2 * count, rel=0.02)


def test_the_command_writes_the_folder(tmp_path, capsys):
    model = tmp_path / "random.safetensors"
    write_weights(model, weights())
    out = str(tmp_path / "out")
    assert main(["export", "--format", "onnx", "--model", str(model), out]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"fill.onnx", "encode.onnx", "decode.onnx", FACTS, "README.md"}
    assert "terms of the weights: not said" in capsys.readouterr().out
    assert main(["export", "--format", "onnx", "--model", "damage-detector", out]) == 0


def test_other_models_and_dtypes_are_refused_in_one_line(tmp_path, capsys, monkeypatch):
    out = str(tmp_path / "out")
    assert main(["export", "--format", "onnx", "--model", "bilinear", out]) == 2
    assert main(["export", "--format", "onnx", "--dtype", "bfloat16", out]) == 2
    assert "('float16', 'float32')" in capsys.readouterr().err
    with pytest.raises(InputError, match="only models with network = 'lite'"):
        export_onnx(tmp_path, Weights({}, fields_of("dear"), {}))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"pip install 'dear_jax\[onnx\]'"):
        export_onnx(tmp_path, weights())


def test_a_model_with_other_fields_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    fields = {**weights().model, "decoder_width": 32}
    with pytest.raises(InputError, match="jax2onnx, which is not installed"):
        export_onnx(tmp_path, Weights({}, fields, {}))
