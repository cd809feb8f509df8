"""What the README and its pages show works: Python runs, commands are understood."""

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from eval_folders import write_random_weights
from tiny import SMALLEST, tiny_fields

import dear_jax
import run_eval
from dear_jax import bundled
from dear_jax.cli.main import main
from dear_jax.errors import InputError
from dear_jax.images.io import list_photos, read_photo, write_photo
from dear_jax.models import registry

ROOT = Path(__file__).parents[1]
RESULTS = "README", "systems", "training", "export"
PAGES = ROOT / "README.md", *(ROOT / "results" / f"{name}.md" for name in RESULTS)
# Large sizes, which would take minutes, and what they are here.
SMALLER = {
    "(4096, 4096)": "(96, 96)",
    "(1080, 1920)": "(60, 80)",
    "(512, 512)": "(64, 64)",
    "1920x1080": "80x60",
}
# Of these the network, a cluster or data that people download is a part.
ELSEWHERE = ("pip ", "srun ", "JAX_DISABLE")


def blocks(language: str) -> list[str]:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for large, small in SMALLER.items():
        text = text.replace(large, small)
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(first: str) -> list[str]:
    """The shell commands that begin so, without continuations and remarks."""
    text = "\n".join(blocks("sh")).replace("\\\n", " ")
    lines = [re.sub(r"\s#.*", "", line).strip() for line in text.splitlines()]
    lines = [part for line in lines for part in line.split(" && ")]
    return [line for line in lines if line.startswith(first)]


def python(mark: str) -> str:
    """The only block of Python with these words."""
    (found,) = (block for block in blocks("python") if mark in block)
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder, the current one, with the files that the README speaks of."""
    monkeypatch.chdir(tmp_path)
    photo = read_photo(list_photos(bundled.PHOTOS)[0])[40:88, 40:104]
    hole = np.zeros((48, 64), np.uint8)
    hole[4:9, 6:20] = 255
    for name in ("old", "photo", "scan", "scans/a", "scans/b"):
        write_photo(f"{name}.png", photo)
    for name in ("damage", "mask", "masks/a", "masks/b"):
        write_photo(f"{name}.png", hole)
    return tmp_path


@pytest.mark.slow
def test_the_python_api_runs_as_it_is_shown(here):
    block = python("restorer.find_damage")
    *lines, texture = block.strip().splitlines()
    image = read_photo("old.png")
    names = {"images": image[None], "masks": np.zeros((1, 48, 64), bool)}
    exec("\n".join(lines), names)
    assert read_photo("new.png").shape == (288, 384, 3)
    assert "needs texture weights" in texture
    if names["restorer"].texture_file and names["restorer"].texture_file.exists():
        exec(texture, names)
    else:
        with pytest.raises(InputError, match="texture"):
            exec(texture, names)


def test_the_metrics_run_as_they_are_shown():
    lines = python("metrics.psnr").splitlines()
    lines = [line for line in lines if "vgg16" not in line]  # Not bundled.
    pair = np.random.default_rng(0).random((2, 1, 64, 64, 3)).astype(np.float32)
    exec("\n".join(lines), {"prediction": pair[0], "target": pair[1]})


def test_the_systems_load_as_they_are_shown(here):
    for name in ("misf", "elan", "lte"):
        write_random_weights(Path(f"weights/{name}.safetensors"), **small(name))
    lines = python("misf+elan").replace('load("lte"', 'load("lte", clean=True')
    exec(lines, {"dear_jax": dear_jax})


def small(name: str) -> dict:
    fields = registry.fields_of(name)
    return {**fields, **SMALLEST[fields["architecture"]]}


@pytest.mark.slow
@pytest.mark.parametrize("line", commands("dear "))
def test_the_command_runs_as_it_is_shown(here, line):
    if "runs/album" in line:
        write_random_weights(Path("album.safetensors"), **tiny_fields("dear-lite"))
        line = line.replace("runs/album", "album.safetensors")
    if line.startswith("dear serve"):  # Until Ctrl-C: see test_page.py.
        with pytest.raises(SystemExit, match="0"):
            main([*shlex.split(line)[1:], "--help"])
        return
    assert main(shlex.split(line)[1:]) == 0


@pytest.mark.parametrize("line", commands("python run_eval.py"))
def test_flags_of_the_evaluation_are_known(line):
    assert run_eval.parse_flags(shlex.split(line)[2:])


@pytest.mark.parametrize("line", commands("python run_train.py"))
def test_configurations_and_their_fields_exist(line):
    flags = dict(word.split("=", 1) for word in shlex.split(line)[2:])
    file, *variant = flags.pop("--config").split(":", 1)
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    config = module.get_config(*variant)
    for name in (name for name in flags if name.startswith("--config.")):
        at = config
        for field in name.removeprefix("--config.").split("."):
            assert field in at, name
            at = at[field]
    rest = {name for name in flags if not name.startswith("--config.")}
    assert rest <= {"--workdir", "--coordinator", "--num_processes", "--process_id"}


@pytest.mark.parametrize("line", commands("python -m dear_jax.convert"))
def test_what_is_converted_is_known(line):
    variant = shlex.split(line)[3]
    assert registry.variant_of(variant)


def test_no_block_is_passed_over():
    known = ("dear ", "python run_", "python -m ", "pytest", "#", *ELSEWHERE)
    known += ("at=", "id=", "curl ", "job=", "until ")  # See test_page.py.
    assert all(line.startswith(known) for line in filter(None, commands("")))
    marks = ("restorer.find_damage", "metrics.psnr", "misf+elan", "jax.export")
    assert len(blocks("python")) == len(marks) and all(map(python, marks))
