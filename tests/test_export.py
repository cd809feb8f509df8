"""Laws of exported models: what the restorer does, at any size, without the project."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export
from PIL import Image
from rounding import assert_close
from tiny import SMALLEST, draw_like, tiny_restorer

from dear_jax.cli.main import main
from dear_jax.errors import InputError
from dear_jax.export import stablehlo
from dear_jax.inference.classical import Interpolation
from dear_jax.inference.pointwise import PointwiseRestorer
from dear_jax.inference.query import QueryRestorer
from dear_jax.models.dear import attention, residual
from dear_jax.models.dear.coordinates import to_coordinates
from dear_jax.models.registry import build, fields_of, init_shapes
from dear_jax.weights import Weights, write_weights

PAGE = Path(__file__).parents[1] / "results" / "export.md"
# Photo and target: odd, enlarged by no one number, smallest.
SIZES = [((8, 8), (8, 8)), ((13, 7), (31, 50)), ((1, 1), (1, 1)), ((1, 9), (2, 9))]
# Runs a script where nothing but JAX, NumPy and Pillow can be imported of ours.
ALONE = """
import sys
for name in ("flax", "dear_jax"):
    sys.modules[name] = None
exec(open("script.py").read())
"""


def restorer_of(name: str) -> QueryRestorer:
    """A tiny one with random weights."""
    if name.startswith("dear"):
        return tiny_restorer(name)
    fields = {**fields_of(name), **SMALLEST[name]}
    variables = draw_like(init_shapes(build(fields)))
    return PointwiseRestorer(Weights(variables, fields, {}), f"tiny-{name}")


@functools.cache
def exported(name: str) -> tuple[QueryRestorer, export.Exported]:
    """A tiny restorer, and what was read back of its file."""
    restorer, levels = restorer_of(name), residual.OPEN_LEVELS
    # Enough for photos of 32 pixels; each level takes time to compile.
    residual.OPEN_LEVELS = 5
    try:
        data = stablehlo.export_model(restorer).serialize()
    finally:
        residual.OPEN_LEVELS = levels
    return restorer, export.deserialize(data)


def damaged(size: tuple[int, int], seed: int = 0):
    """A photo [H, W, 3] and a mask [H, W] that leaves the corner known."""
    rng = np.random.default_rng(seed)
    mask = rng.random(size) < 0.4
    mask[0, 0] = False
    return rng.random((*size, 3), np.float32), mask


def centres(count: int) -> np.ndarray:
    """Places of the rows of a target with so many."""
    return to_coordinates(np.arange(count), count)


def run(program, image, mask, size):
    """Calls an exported function for a whole target."""
    return np.asarray(program.call(image, np.float32(mask), *map(centres, size)))


@pytest.mark.parametrize("name", ["dear", "dear-lite", "liif", "lte"])
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_it_does_what_the_restorer_does_at_any_size(name, source, target):
    restorer, program = exported(name)
    image, mask = damaged(source)
    found = run(program, image, mask, target)
    expected = restorer(image, mask, size=target, keep_known=False)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["dear", "dear-lite"])
def test_it_does_so_in_many_pieces(name, monkeypatch):
    """More than one piece of queries and of target pixels, the last ones not full."""
    monkeypatch.setitem(stablehlo.CHUNK, "cpu", 64)
    monkeypatch.setattr(attention, "OPEN_QUERIES", 16 if name == "dear" else 2)
    monkeypatch.setattr(residual, "OPEN_LEVELS", 4)
    restorer = tiny_restorer(name)
    program = stablehlo.export_model(restorer)
    image, mask = damaged((9, 13))
    found = run(program, image, mask, (11, 17))
    expected = restorer(image, mask, size=(11, 17))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_all_its_sizes_are_open_and_it_is_for_cpus_gpus_and_tpus():
    _, program = exported("dear")
    assert program.platforms == ("cpu", "cuda", "tpu")
    shapes = [str(a.shape) for a in (*program.in_avals, *program.out_avals)]
    assert shapes == ["(H, W, 3)", "(H, W)", "(h,)", "(w,)", "(h, w, 3)"]
    assert {a.dtype for a in program.in_avals} == {np.dtype(np.float32)}


def test_a_model_that_takes_a_level_takes_it_as_fifth_argument(monkeypatch):
    monkeypatch.setattr(residual, "OPEN_LEVELS", 4)
    restorer = tiny_restorer("dear-lite", level_input=True)
    program = stablehlo.export_model(restorer)
    assert [str(a.shape) for a in program.in_avals][4:] == ["()"]
    image, mask = damaged((9, 13))
    places = centres(11), centres(17)
    results = []
    for denoise in (0.0, 0.6):
        found = program.call(image, np.float32(mask), *places, np.float32(denoise))
        expected = restorer(image, mask, size=(11, 17), denoise=denoise)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        results.append(expected)
    assert np.abs(results[1] - results[0]).max() > 1e-3


def test_what_lies_under_the_mask_has_no_effect():
    _, program = exported("dear")
    image, mask = damaged((13, 7))
    spoilt = np.where(mask[..., None], np.float32(np.nan), image)
    np.testing.assert_array_equal(
        run(program, spoilt, mask, (31, 50)), run(program, image, mask, (31, 50))
    )


@pytest.mark.parametrize("name", ["dear-lite", "lte"])
def test_rows_and_columns_of_a_part_give_that_part(name):
    """With models that look at the size of a pixel."""
    _, program = exported(name)
    image, mask = damaged((13, 7))
    rows, columns = centres(31)[4:9], centres(50)[20:]
    part = program.call(image, np.float32(mask), rows, columns)
    whole = run(program, image, mask, (31, 50))
    np.testing.assert_allclose(part, whole[4:9, 20:], atol=1e-5)


def test_levels_beyond_a_single_cell_change_nothing():
    image, mask = (x[None] for x in damaged((5, 9)))
    mask = np.float32(mask)[..., None]
    few = jax.jit(residual.fill_holes)(image, mask)
    assert residual.OPEN_LEVELS >= 14
    for levels in (4, 7):
        more = jax.jit(functools.partial(residual.fill_holes, levels=levels))(
            image, mask
        )
        # Another program, so equal but for rounding.
        assert_close(more, few, layers=8)
    nothing = np.ones_like(mask)
    none = jax.jit(functools.partial(residual.fill_holes, levels=7))(image, nothing)
    assert not np.any(none)


def test_too_few_levels_are_not_enough():
    """So that the law above can fail."""
    image, mask = (x[None] for x in damaged((5, 9)))
    mask = np.ones((1, 5, 9, 1), np.float32)
    mask[:, 0, 0] = 0
    few, enough = (
        jax.jit(functools.partial(residual.fill_holes, levels=n))(image, mask)
        for n in (1, 4)
    )
    assert np.abs(few - enough).max() > 0.1


def test_halving_the_parameters_changes_little_and_halves_the_file():
    restorer, program = exported("dear")
    rounded = stablehlo.export_model(restorer, "bfloat16")
    held = sum(leaf.size for leaf in jax.tree.leaves(restorer.variables))
    sizes = [len(p.mlir_module_serialized) for p in (program, rounded)]
    assert 0.9 * 2 * held < sizes[0] - sizes[1] <= 2 * held
    image, mask = damaged((8, 8))
    found, expected = (run(p, image, mask, (8, 8)) for p in (rounded, program))
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert np.any(found != expected)


def test_parameters_that_bfloat16_holds_exactly_are_held_so():
    values = {"a": np.float32([0.5, -3.0]), "b": np.float32([0.1, 1.0])}
    held = stablehlo._held(values, "float32")
    assert held["a"].dtype == jax.numpy.bfloat16 and held["b"].dtype == np.float32
    np.testing.assert_array_equal(held["a"].astype(np.float32), values["a"])


def test_two_stages_and_models_of_one_scale_are_refused(capsys, tmp_path):
    for name in ("misf+elan", "classical", "edsr", "telea"):
        assert main(["export", "--model", name, str(tmp_path / "out")]) == 2
        assert f"--model {name}: " in capsys.readouterr().err
    with pytest.raises(InputError, match="bicubic: cannot be exported"):
        stablehlo.export_model(Interpolation("bicubic"))
    assert not list(tmp_path.iterdir())


def test_without_flatbuffers_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(InputError, match=r"dear_jax\[export\]"):
        stablehlo.export_to(tmp_path / "out", restorer_of("liif"))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_known_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(stablehlo, "export_model", lambda *_: pytest.fail("worked"))
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "out"):
        with pytest.raises(InputError):
            stablehlo.export_to(path, restorer_of("liif"))


def script() -> str:
    """The lines of the README that use an exported file."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (found,) = (block for block in blocks if "jax.export.deserialize" in block)
    return found


def test_the_script_of_the_readme_needs_neither_flax_nor_the_project(tmp_path, capsys):
    assert len(script().splitlines()) <= 15
    restorer = tiny_restorer("dear")
    weights = Weights(restorer.variables, restorer.model, {"terms": "anyone's"})
    write_weights(tmp_path / "tiny.safetensors", weights)
    out, model = tmp_path / "dear-lite.stablehlo", tmp_path / "tiny.safetensors"
    assert main(["export", "--model", str(model), str(out)]) == 0
    assert "cpu, cuda, tpu" in capsys.readouterr().out
    image, mask = damaged((6, 5))
    levels = np.uint8(255 * image)
    Image.fromarray(levels).save(tmp_path / "photo.png")
    Image.fromarray(np.uint8(255 * mask)).save(tmp_path / "mask.png")
    (tmp_path / "script.py").write_text(script())
    where = {**os.environ, "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS") or "cpu"}
    alone = [sys.executable, "-c", ALONE]
    subprocess.run(alone, cwd=tmp_path, env=where, check=True, timeout=300)
    found = np.asarray(Image.open(tmp_path / "restored.png"))
    expected = restorer(levels, mask, scale=6)
    assert found.shape == expected.shape
    assert np.abs(np.int32(found) - np.int32(expected)).max() <= 1


@pytest.mark.slow
def test_the_bundled_model_is_exported_as_it_is():
    import dear_jax

    restorer = dear_jax.load()
    program = stablehlo.export_model(restorer)
    assert len(program.mlir_module_serialized) < 6e6
    image, mask = damaged((37, 52))
    found = run(program, image, mask, (90, 201))
    expected = restorer(image, mask, size=(90, 201))
    np.testing.assert_allclose(found, expected, atol=1e-5)
