"""Folders of photos: divided into parts, killed and restarted."""

import io
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dear_jax.cli.main import main
from dear_jax.images import resize
from dear_jax.images.io import write_photo
from tests.starting import finish, start


def write_folder(folder: Path, count: int) -> Path:
    """Photos in two subfolders, and masks of their names in `masks` beside it."""
    rng = np.random.default_rng(0)
    for i in range(count):
        name = f"{'ab'[i % 2]}/{i:02}.png"
        coarse = rng.integers(0, 256, (5, 5, 3), np.uint8)
        write_photo(folder / name, resize.bicubic(coarse, (24, 24 + i % 3)))
        mask = np.zeros((24, 24 + i % 3), np.uint8)
        mask[i % 9 : i % 9 + 6, 5:15] = 255
        write_photo(folder.parent / "masks" / name, mask)
    return folder


def command(photos: Path, out: Path, *others: str) -> tuple[str, ...]:
    where = (str(photos), "--mask", str(photos.parent / "masks"), "-o", str(out))
    wanted = ("--recursive", "--scale", "2", "--model", "classical")
    return ("restore", *where, *wanted, *others)


def files(folder: Path) -> list[Path]:
    """What is there under final names."""
    found = (path for path in folder.glob("*/*.png") if path.name[0] != ".")
    return sorted(found)


def results(folder: Path) -> dict[str, bytes]:
    """What is there under final names; each must be whole."""
    found = {str(p.relative_to(folder)): p.read_bytes() for p in files(folder)}
    for content in found.values():
        Image.open(io.BytesIO(content)).load()
    return found


def test_parts_of_a_folder_are_together_the_folder(tmp_path, capsys):
    photos = write_folder(tmp_path / "photos", 7)
    assert main(command(photos, tmp_path / "whole")) == 0
    names = []
    for part in ("1/3", "2/3", "3/3"):
        before = set(results(tmp_path / "out"))
        assert main(command(photos, tmp_path / "out", "--part", part)) == 0
        names += set(results(tmp_path / "out")) - before
        # Again, or after a kill: a part has the same photos whatever is there.
        capsys.readouterr()
        assert main(command(photos, tmp_path / "out", "--part", part)) == 0
        assert "0 restored" in capsys.readouterr().out
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert len(names) == 7


def test_a_part_without_photos_is_done(tmp_path, capsys):
    photos = write_folder(tmp_path / "photos", 2)
    assert main(command(photos, tmp_path / "out", "--part", "3/3")) == 0
    assert "0 restored, 0 there already, 0 failed" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3"])
def test_parts_that_there_are_not_are_refused(part, tmp_path, capsys):
    photos = write_folder(tmp_path / "photos", 1)
    assert main(command(photos, tmp_path / "out", f"--part={part}")) == 2
    assert "as in 1/8" in capsys.readouterr().err


@pytest.mark.long
def test_a_folder_killed_and_restarted_ends_with_all_right_outputs(tmp_path):
    count = 50
    photos = write_folder(tmp_path / "photos", count)
    assert main(command(photos, tmp_path / "whole")) == 0
    rng, out, kills = random.Random(0), tmp_path / "out", 0
    process = ("-m", "dear_jax", *command(photos, out))
    while True:
        run, enough = start(*process), len(results(out)) + rng.randrange(1, 6)
        while run.poll() is None and len(files(out)) < enough:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        if run.poll() is not None:
            break
        run.send_signal(signal.SIGKILL)
        run.communicate()
        kills += 1
    code, _, errors = finish([run])[0]
    assert code == 0, errors
    assert kills >= 3 and results(out) == results(tmp_path / "whole")
