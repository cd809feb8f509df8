"""The commands: what is wrong is said in one line, and a kill costs nothing."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from dear_jax.checkpoint import saved_steps

ROOT = Path(__file__).parents[1]
QUICKSTART = "--config=configs/quickstart.py"
TINY = [
    "--config.model.widths=(4, 4, 8, 8)",
    "--config.model.depths=(1, 0, 1, 0, 0, 1)",
    "--config.model.guide_width=4",
    "--config.model.detail_groups=2",
    "--config.model.decoder_width=8",
    "--config.data.side=16",
    "--config.data.queries=32",
    "--config.evaluate.every=0",
    "--config.checkpoint.every=5",
    "--config.train.steps=40",
]


def run(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *args], cwd=ROOT, capture_output=True, text=True
    )


def complaint(result: subprocess.CompletedProcess) -> str:
    """The one line of a refused command."""
    assert result.returncode == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    return lines[0]


@pytest.mark.parametrize(
    "override, message",
    [
        ("--config.train.stpes=3", 'mean "steps"'),
        ("--config.modell.width=3", 'mean "model"'),
        ("--config.seed.x=3", "seed.x"),
        ("--config.a=1", "'a'"),
        ("--confg=1", "confg"),
        ("more", "'more'"),
        ("--config=none.py", "No such file.*none.py"),
        ("--config=configs/quickstart.py:none", "model 'none' is unknown"),
        ("--config=tests/starting.py", "get_config"),
        ("--config=README.md", "no Python"),
    ],
)
def test_wrong_flags_end_in_one_line(override, message, tmp_path):
    config = () if override.startswith("--config=") else (QUICKSTART,)
    workdir = f"--workdir={tmp_path / 'run'}"
    result = run("run_train.py", *config, workdir, override)
    assert re.search(message, complaint(result))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["my dir", "my:dir"])
def test_a_configuration_is_executed_once_wherever_it_lies(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    source = "print('executed')\nfrom configs.quickstart import get_config\n"
    (folder / "a.py").write_text(source)
    none = f"--config.data.photos=('{folder}',)"
    result = run("run_train.py", f"--config={folder / 'a.py'}", "--workdir=x", none)
    assert "holds no" in complaint(result) and result.stdout.count("executed") == 1


def test_wrong_type_ends_in_one_line(tmp_path):
    result = run("run_train.py", QUICKSTART, "--workdir=x", "--config.train.steps=abc")
    assert "config.train.steps=abc" in complaint(result)


def test_empty_photo_folder_ends_in_one_line(tmp_path):
    (tmp_path / "photos").mkdir()
    result = run(
        "run_train.py",
        QUICKSTART,
        f"--workdir={tmp_path / 'run'}",
        f"--config.data.photos=('{tmp_path / 'photos'}',)",
    )
    assert "photos" in complaint(result)
    assert not (tmp_path / "run").exists()


def final_state(workdir: Path) -> list[np.ndarray]:
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as reader:
        folder = workdir.absolute() / "checkpoints" / "40" / "state"
        tree = reader.metadata(folder).item_metadata.tree
        numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return jax.tree.leaves(reader.restore(folder, restore_args=numpy))


@pytest.mark.long
def test_kill_9_changes_no_bit_of_parameters_optimizer_and_ema(tmp_path):
    def command(name: str) -> list[str]:
        return ["run_train.py", QUICKSTART, f"--workdir={tmp_path / name}", *TINY]

    assert run(*command("whole")).returncode == 0
    for checkpoint in (5, 20):
        process = subprocess.Popen(
            [sys.executable, *command("killed")],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # Of a run that is past it, the checkpoint itself may be gone.
        while max(saved_steps(tmp_path / "killed"), default=0) < checkpoint:
            assert process.poll() is None, "finished before it was killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = run(*command("killed"))
    assert "resumed at step" in result.stdout + result.stderr
    whole, killed = (final_state(tmp_path / name) for name in ("whole", "killed"))
    assert len(whole) == len(killed) > 0
    for a, b in zip(whole, killed, strict=True):
        np.testing.assert_array_equal(a, b)
