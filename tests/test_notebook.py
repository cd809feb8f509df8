"""The notebook: it runs from top to bottom, and what it draws and asks for is right."""

import base64
import importlib.util
import io
import json
import os
import re
import shutil
import sys
import types
from pathlib import Path

import jax
import nbformat
import numpy as np
import pytest
from PIL import Image

from dear_jax.images.io import read_image

ROOT = Path(__file__).parents[1]
PATH = ROOT / "notebooks" / "restore.ipynb"

# Of Python itself, put before the notebook: nothing but this machine can be reached.
OFFLINE = """
import socket

connect = socket.socket.connect

def here(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] != "127.0.0.1":
        raise OSError(f"no network in tests: {address}")
    return connect(self, address)

socket.socket.connect = here
"""


@pytest.fixture(scope="module")
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(PATH, as_version=4)


@pytest.fixture
def tools(notebook, monkeypatch) -> dict:
    """What the cells up to the photo define, with the example as photo."""
    return defined(notebook, monkeypatch, "helpers", "photo")


def defined(notebook, monkeypatch, *names: str, **settings) -> dict:
    """Runs cells here, with other settings than theirs, and shows no pictures."""
    import matplotlib
    import matplotlib.pyplot as plt

    monkeypatch.setattr(matplotlib, "rcParams", matplotlib.rcParams.copy())
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    plt.switch_backend("Agg")
    space: dict = {}
    for name in names:
        source = with_settings(source_of(notebook, name), settings)
        exec(compile(source, name, "exec"), space)
    return space


def with_settings(source: str, settings: dict) -> str:
    """The cell with other values in its lines `name = value`."""
    for name, value in settings.items():
        line = re.compile(rf"^{name} = [^#\n]*", re.MULTILINE)
        source = line.sub(lambda _: f"{name} = {value!r}  ", source)  # noqa: B023
    return source


def source_of(notebook, name: str) -> str:
    return next(cell.source for cell in notebook.cells if cell.id == name)


def in_colab(monkeypatch, eval_js=None, upload=None) -> None:
    """Puts what Colab offers in the way of imports."""
    output, files = (types.ModuleType(f"google.colab.{n}") for n in ("output", "files"))
    output.eval_js, files.upload = eval_js, upload
    colab = types.ModuleType("google.colab")
    colab.files, colab.output = files, output
    google = types.ModuleType("google")
    google.colab = colab
    for module in (google, colab, output, files):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_the_notebook_is_valid_small_and_without_outputs(notebook):
    nbformat.validate(json.loads(PATH.read_text(encoding="utf-8")))
    assert PATH.stat().st_size < 40_000
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.parametrize("missing", [False, True])
def test_it_installs_the_package_only_where_it_is_missing(
    notebook, monkeypatch, missing
):
    from IPython.core.inputtransformer2 import TransformerManager

    asked = []
    shell = types.SimpleNamespace(run_line_magic=lambda *words: asked.append(words))
    if missing:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    source = with_settings(source_of(notebook, "install"), {"source": "git+https://x"})
    space = {"get_ipython": lambda: shell}
    exec(TransformerManager().transform_cell(source), space)
    # IPython puts the value of `wanted` into the command.
    assert asked == [("pip", 'install --quiet "{wanted}"')] * missing
    if missing:
        assert space["wanted"] == "dear_jax[cuda12] @ git+https://x"


def test_shapes_cover_the_pixels_they_name(tools):
    box = np.zeros((20, 30), bool)
    box[3:8, 5:15] = True
    np.testing.assert_array_equal(tools["draw"]((20, 30), boxes=[(5, 3, 10, 5)]), box)
    line = np.zeros((20, 30), bool)
    line[9:12, 4:26] = True
    drawn = tools["draw"]((20, 30), lines=[(3, (5, 10), (24, 10))])
    np.testing.assert_array_equal(drawn[:, 5:25], line[:, 5:25])
    assert not drawn[~line].any()
    half = tools["draw"]((20, 20), polygons=[[(0, 0), (19, 0), (0, 19)]])
    np.testing.assert_array_equal(half, np.add.outer(range(20), range(20)) < 20)


def test_shapes_outside_the_photo_do_nothing(tools):
    everywhere = {
        "boxes": [(-9, -9, 5, 5), (40, 2, 3, 3)],
        "lines": [(2, (50, 0), (50, 9))],
        "polygons": [[(-1, -5), (-9, -5), (-9, -9)]],
    }
    assert not tools["draw"]((20, 30), **everywhere).any()


def test_the_typed_shapes_cover_all_damage_of_the_example(notebook, monkeypatch):
    space = defined(notebook, monkeypatch, "helpers", "photo", "mask", "canvas")
    white = (space["image"] == 245).all(-1)
    assert 0.05 < white.mean() < 0.15
    # Some of the portrait is of the same white, but few pixels.
    assert np.count_nonzero(white & ~space["mask"]) < 10
    assert space["mask"].mean() < 0.2


def test_windows_lie_in_the_photo_and_cuts_show_them(tools):
    tools["image"] = np.arange(20 * 30)[..., None].repeat(3, -1).reshape(20, 30, 3)
    rng = np.random.default_rng(0)
    for x, y, side in rng.uniform(-10, 50, (100, 3)):
        top, left, bottom, right = tools["window_at"](x, y, side)
        assert 0 <= top < bottom <= 20 and 0 <= left < right <= 30
        assert bottom - top == pytest.approx(right - left)
    enlarged = tools["image"].repeat(3, 0).repeat(2, 1)
    part = tools["cut"](enlarged, (2, 4, 8, 10))
    np.testing.assert_array_equal(part[::3, ::2], tools["image"][2:8, 4:10])


def test_progress_ends_in_one_line_and_says_so_once(tools, capsys):
    tell = tools["progress"]("twice")
    for done in (0.1, 0.2, 1.0, 1.0):
        tell(done, 1.0)
    printed = capsys.readouterr().out
    assert printed.count("100%") == printed.count("\n") == 1


def test_what_is_painted_in_colab_becomes_the_mask(notebook, monkeypatch):
    layer = np.zeros((96, 96, 4), np.uint8)
    layer[10:20, 30:50] = (255, 0, 255, 255)
    layer[20, 30:50] = (255, 0, 255, 20)  # Hardly touched.
    data = io.BytesIO()
    Image.fromarray(layer).save(data, "PNG")
    address = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    in_colab(monkeypatch, eval_js=lambda code: {"paintHoles()": address}[code])
    pages = []
    monkeypatch.setattr("IPython.display.display", pages.append)
    cells = "helpers", "photo", "mask", "canvas"
    space = defined(notebook, monkeypatch, *cells, mask_from="mouse", grow=0)
    np.testing.assert_array_equal(space["mask"], layer[..., 3] == 255)
    (page,) = pages
    assert 'width="96" height="96"' in page.data and "@" not in page.data
    shown = page.data.split("base64,")[1].split('"')[0]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown))))
    np.testing.assert_array_equal(shown, space["image"])


def test_elsewhere_the_mouse_gives_way_to_the_typed_shapes(
    notebook, monkeypatch, capsys
):
    cells = "helpers", "photo", "mask", "canvas"
    typed = defined(notebook, monkeypatch, *cells)
    assert not capsys.readouterr().out
    instead = defined(notebook, monkeypatch, *cells, mask_from="mouse", upload=True)
    np.testing.assert_array_equal(instead["mask"], typed["mask"])
    said = capsys.readouterr().out
    assert "Painting works in Colab" in said and "Uploading works in Colab" in said


def test_a_mask_file_is_taken_and_grown(notebook, monkeypatch, tmp_path):
    mask = np.zeros((96, 96), np.uint8)
    mask[40:50, 20:60] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    cells = "helpers", "photo", "mask", "canvas"
    file = str(tmp_path / "mask.png")
    space = defined(
        notebook, monkeypatch, *cells, mask_from="file", mask_file=file, grow=1
    )
    found = space["mask"]
    assert found[39:51, 20:60].all() and found[40:50, 19:61].all()
    assert np.count_nonzero(found) == 12 * 40 + 2 * 10


@pytest.mark.parametrize("given", [True, False])
def test_an_upload_is_read_and_an_empty_one_gives_the_example(
    notebook, monkeypatch, tmp_path, given
):
    pixels = np.random.default_rng(0).integers(0, 2**16, (9, 12), np.uint16)
    Image.fromarray(pixels).save(tmp_path / "mine.png")
    answer = {str(tmp_path / "mine.png"): b""} if given else {}
    in_colab(monkeypatch, upload=lambda: answer)
    space = defined(notebook, monkeypatch, "helpers", "photo", upload=True)
    assert space["image"].shape == ((9, 12, 3) if given else (96, 96, 3))
    assert space["picture"].bits == (16 if given else 8)


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_without_a_network(notebook, monkeypatch, tmp_path):
    done = executed(notebook, monkeypatch, tmp_path)
    outputs = {c.id: c.outputs for c in done.cells if c.cell_type == "code"}
    assert not any(o.get("name") == "stderr" for cell in outputs.values() for o in cell)
    for name in ("photo", "canvas", "results", "scales", "zoom", "closer", "save"):
        drawn = [o for o in outputs[name] if "image/png" in o.get("data", {})]
        assert len(drawn) == 1, name
    assert "non-commercial" in "".join(o.get("text", "") for o in outputs["restore"])
    photo = read_image(tmp_path / "example.png")
    repaired = read_image(tmp_path / "repaired.png")
    assert read_image(tmp_path / "restored.png").size == (576, 576)
    changed = (repaired.pixels != photo.pixels).any(-1)
    white = (photo.pixels == 245).all(-1)
    assert changed.mean() < 0.2 and changed[white].mean() > 0.9


def executed(notebook, monkeypatch, folder: Path) -> nbformat.NotebookNode:
    """Runs all cells in a kernel of this interpreter, in `folder`."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient

    (folder / "path").mkdir()
    (folder / "path" / "sitecustomize.py").write_text(OFFLINE)
    path = os.pathsep.join([str(folder / "path"), str(ROOT)])
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv(
        "JAX_COMPILATION_CACHE_DIR", jax.config.jax_compilation_cache_dir
    )
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.from_dict(notebook)  # A copy.
    save = nbformat.v4.new_code_cell('write_image("example.png", picture)')
    notebook.cells.append(save)
    # No folders: the only kernel then is the interpreter that runs this.
    kernels = KernelSpecManager(kernel_dirs=[])
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, km=manager, timeout=600, resources=resources)
    return client.execute()
