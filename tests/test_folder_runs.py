"""Folders of photos: killed and restarted, and shared out to processes."""

import io
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from eval_folders import write_random_weights
from PIL import Image
from tiny import tiny_fields

from dear_jax.images import resize
from dear_jax.images.io import write_photo
from tests.starting import finish, free_port, start

pytestmark = pytest.mark.long
COUNT = 50


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


def flags_for(photos: Path, out: Path, *others: str) -> tuple[str, ...]:
    where = (str(photos), "--mask", str(photos.parent / "masks"), "-o", str(out))
    return ("-m", "dear_jax", "restore", *where, "--recursive", *others)


def results(folder: Path) -> dict[str, bytes]:
    """What is there under final names."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


class Watcher:
    """Looks at a folder all the time; whatever is there must be whole."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.looks, self.seen, self.partial = 0, set(), []

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.looks += 1
            for name, data in results(self._folder).items():
                if (name, hash(data)) in self.seen:
                    continue
                try:
                    with Image.open(io.BytesIO(data)) as image:
                        image.load()
                except Exception as error:
                    self.partial.append((name, len(data), repr(error)))
                self.seen.add((name, hash(data)))
            time.sleep(0.001)


@pytest.mark.parametrize("kind", ["classical", "tiny"])
def test_a_folder_killed_and_restarted_ends_with_all_right_outputs(kind, tmp_path):
    photos = write_folder(tmp_path / "photos", COUNT)
    write_random_weights(tmp_path / "tiny.safetensors", **tiny_fields("dear-lite"))
    model = {"classical": kind, "tiny": str(tmp_path / "tiny.safetensors")}[kind]
    wanted = ("--scale", "6", "--model", model)
    (undisturbed,) = finish([start(*flags_for(photos, tmp_path / "whole", *wanted))])
    assert undisturbed[0] == 0, undisturbed[2]
    whole = results(tmp_path / "whole")
    assert len(whole) == COUNT

    rng, out, kills = random.Random(0), tmp_path / "out", 0
    command = flags_for(photos, out, *wanted)
    with Watcher(out) as watcher:
        while True:
            run, before = start(*command), len(results(out))
            enough = before + rng.randrange(1, 12)
            while run.poll() is None and len(results(out)) < enough:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.05))
            if run.poll() is not None:
                break
            run.send_signal(signal.SIGKILL)
            run.communicate()
            kills += 1
        code, said, errors = finish([run])[0]
    assert code == 0, errors
    assert kills >= 4
    assert results(out) == whole
    assert watcher.partial == []
    assert len(watcher.seen) == COUNT and watcher.looks > COUNT
    assert f"{COUNT} there already" in finish([start(*command)])[0][1]


@pytest.fixture
def together(tmp_path):
    """A function that runs the command as processes, each with flags of its own."""
    photos = write_folder(tmp_path / "photos", 7)
    write_random_weights(tmp_path / "tiny.safetensors", **tiny_fields("dear-lite"))
    model = ("--scale", "2", "--model", str(tmp_path / "tiny.safetensors"))

    def run(*each: tuple[str, ...], out: str = "out") -> list:
        address = f"--coordinator=localhost:{free_port()}"
        runs = []
        for index, own in enumerate(each):
            place = (address, "--num_processes", str(len(each)))
            place = (*place, "--process_id", str(index)) if len(each) > 1 else ()
            command = flags_for(photos, tmp_path / out, *model, *place, *own)
            runs.append(start(*command, devices=1))
        return finish(runs)

    return run


def numbered(errors: str) -> list[str]:
    """Names of the photos that a process has restored."""
    lines = [line for line in errors.splitlines() if line.startswith("[")]
    return [line.split("] ")[1].split(":")[0] for line in lines]


def test_processes_share_a_folder_each_photo_done_once(together, tmp_path):
    (alone,) = together((), out="alone")
    assert alone[0] == 0, alone[2]
    (tmp_path / "photos" / "b" / "03.png").write_bytes(b"no photo")
    first, second = together((), ())
    assert (first[0], second[0]) == (1, 1), first[2] + second[2]
    shares = [numbered(errors) for _, _, errors in (first, second)]
    assert sorted(sum(shares, [])) == [
        f"{'ab'[i % 2]}/{i:02}.png" for i in (0, 2, 4, 6, 1, 5)
    ]
    assert min(map(len, shares)) >= 2
    assert "6 restored, 0 there already, 1 failed" in first[1]
    assert "b/03.png: cannot be read" in first[1]
    assert second[1] == ""
    right = results(tmp_path / "alone")
    del right["b/03.png"]
    assert results(tmp_path / "out") == right


def test_processes_go_on_where_others_stopped(together, tmp_path):
    together(())
    for name in ("a/00.png", "a/02.png", "a/04.png", "b/05.png"):
        (tmp_path / "out" / name).unlink()
    first, second = together((), ())
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert "4 restored, 3 there already" in first[1]
    again, _ = together((), ())
    assert "0 restored, 7 there already" in again[1]


def test_processes_of_different_lists_do_nothing(together, tmp_path):
    for folder in (tmp_path, tmp_path / "masks"):
        write_photo(folder / "more.png", np.zeros((24, 24), np.uint8))
    first, second = together((), (str(tmp_path / "more.png"),))
    assert (first[0], second[0]) == (2, 2)
    told = [line for line in (first[2] + second[2]).splitlines() if "error:" in line]
    assert len(told) == 1 and "the list of photos differs" in told[0]
    assert not (tmp_path / "out").exists()


def test_a_mistake_of_one_process_ends_all_in_one_line(together, tmp_path):
    first, second = together((), ("--model", "none"))
    assert (first[0], second[0]) == (2, 2)
    told = [line for line in (first[2] + second[2]).splitlines() if "error:" in line]
    assert len(told) == 1 and "model 'none'" in told[0]
