"""Whatever files it is given, the command answers with a picture or with one line."""

import contextlib
import hashlib
import io
import json
import os
import struct
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from eval_folders import write_random_weights
from image_files import encoded
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save
from test_image_damage import FILES, damaged
from tiny import tiny_fields

from dear_jax import weights
from dear_jax.cli.main import main
from dear_jax.images.io import read_image
from dear_jax.workflow.jobs import MARKER

COUNT, OF_WEIGHTS = 200, 40
CLASSICAL = ("--model", "telea+bicubic")
SIZE = 20, 30  # Of the photos in `FILES`.
NAMES = (
    "a.png", "two words.png", "-x.png", "--out.png", "naïve ☃.png", "new\nline.png",
    "no suffix", "tab\t.png", "50%.png", "{0}.png", "a.PNG", "~x.png", "~/x.png",
    "\udcff\udc80.png", "[a-z]*.png", "x" * 251 + ".png", "x" * 244 + ".png", ".png",
)  # fmt: skip
OUTS = ("jpg", "webp", "tif", "bmp", "gif", "ppm", "JPEG", "xyz", "", *["png"] * 12)
NO_PHOTOS = (
    b"", b"\0", b"Dear diary,\n", b"%PDF-1.7\n", b"<svg xmlns='x'/>", b"\xff\xd8\xff",
    b"P5\n2 2\n255\n....", b"P6\n2 2\n255\n..", b"P1\n1 1\n1\n", b"GIF89a", b"RIFF",
    b"\x89PNG\r\n\x1a\n" + bytes(99), b"BM" + b"\xff" * 60, b"MM\0*\0\0\0\x08\xff\xff",
    b"\x1f\x8b\x08\0", b"PK\x03\x04", bytes(range(256)) * 9,
)  # fmt: skip
SPOTS = np.zeros(SIZE, np.uint8)
SPOTS[5:9, 7:20] = 255


class Ended:
    """How a run of the command ended.

    Attributes:
      status: its exit status.
      out, errors: what it said.
    """

    def __init__(self, arguments: list[str]):
        streams = [
            # As those of a terminal in UTF-8.
            io.TextIOWrapper(io.BytesIO(), "utf-8", errors=errors)
            for errors in ("strict", "backslashreplace")
        ]
        with (
            contextlib.redirect_stdout(streams[0]),
            contextlib.redirect_stderr(streams[1]),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("default")
            try:
                self.status = main(arguments)
            except SystemExit as end:
                self.status = end.code or 0
        assert not warned, [str(each.message) for each in warned]
        for stream in streams:
            stream.flush()
        self.out, self.errors = (s.buffer.getvalue().decode() for s in streams)

    def check(self) -> None:
        """One line says what was wrong, if anything was."""
        lines = self.errors.splitlines()
        told = [line for line in lines if line.startswith("error: ")]
        assert len(told) == (1 if self.status == 2 else 0), self.errors
        assert "Traceback" not in self.errors
        if self.status == 2:
            assert lines[-1] == told[0] and len(told[0]) > len("error: ")
            assert self.out == ""


def digests(folder: Path) -> dict[str, str]:
    """Of all that is below a folder."""
    return {
        os.path.join(root, name): hashlib.sha256(
            Path(root, name).read_bytes()
        ).hexdigest()
        for root, _, names in os.walk(folder)
        for name in names
        if os.path.isfile(os.path.join(root, name))
    }


def checked(arguments: list[str]) -> tuple[Ended, list[str]]:
    """Runs the command here; how it ended, and the files it made, all of them whole."""
    before = digests(Path())
    ended = Ended(arguments)
    ended.check()
    after = digests(Path())
    made = sorted(after.keys() - before.keys())
    made = [name for name in made if not name.endswith(MARKER)]
    assert {path: after[path] for path in before} == before
    for path in made:
        name = os.path.basename(path)
        assert not name.startswith((".partial-", ".write-test-")), name
        with Image.open(path) as image:
            image.load()
        read_image(path)
    return ended, made


def chosen(rng, things):
    return things[rng.integers(len(things))]


def photo_bytes(rng) -> bytes:
    """A photo, whole or damaged, or something that is none."""
    kind = rng.integers(10)
    data = FILES[chosen(rng, sorted(FILES))]
    if kind == 0:
        return chosen(rng, NO_PHOTOS)
    return data if kind < 6 else damaged(data, rng)


def mask_bytes(rng) -> bytes:
    """A mask: right, damaged, of another size or depth, with colours, or none."""
    kind = rng.integers(14)
    if kind == 0 or kind > 8:
        return encoded(SPOTS, chosen(rng, ("PNG", "BMP", "TIFF", "GIF")))
    if kind == 1:
        return encoded(SPOTS.T.copy())
    if kind == 2:
        return encoded(np.zeros(rng.integers(1, 40, 2), np.uint8))
    if kind == 3:
        return encoded(np.dstack([SPOTS, SPOTS.T.copy().reshape(SIZE), SPOTS]))
    if kind == 4:
        return encoded(SPOTS // 255)
    if kind == 5:
        return encoded(SPOTS.astype(np.uint16) * 257)
    if kind == 6:
        return cv2.imencode(".tiff", SPOTS * np.float32(rng.choice([1, 1 / 255])))[1]
    return photo_bytes(rng) if kind == 7 else damaged(encoded(SPOTS), rng)


def write(path: str, data: bytes, rng) -> None:
    """A file, or now and then what is none."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    kind = rng.integers(60)
    if kind == 0:
        os.mkdir(path)
    elif kind == 1:
        os.symlink("nowhere", path)
    elif kind == 2:
        os.symlink(path, path)
    else:
        Path(path).write_bytes(bytes(data))


def marked(rng) -> list[str]:
    """Arguments that say where a photo is missing, or nothing."""
    kind = rng.integers(12)
    if kind < 6:
        name = chosen(rng, ("mask.png", "mask", "masks/a.png", "-m.png"))
        write(name, mask_bytes(rng), rng)
        return [f"--mask={name}"]
    boxes = "3,4,5,6", "-9,-9,12,12", "40,40,9,9", "0,0,999,999"
    return [
        ["--mask-alpha"],
        ["--mask-color", chosen(rng, ("#fff", "magenta", "#00000000"))],
        [f"--box={chosen(rng, boxes)}"],
        *[[]] * 3,
    ][kind - 6]


def told(rng) -> list[str]:
    """Other arguments."""
    more = [
        *(["--invert-mask"], ["--dilate=2"], ["--keep-known"], ["--no-keep-known"]),
        *(["--preview"], ["--importance"], ["--max-memory=1k"], ["--overwrite"]),
    ]
    size = chosen(rng, ([["--scale=2"]] * 9) + [["--size=60x41"], ["--size=9x9"]])
    rare = [each for each in more if rng.random() < 0.05]
    return [*size, *(flag for each in rare for flag in each)]


def name_of(rng) -> str:
    return chosen(rng, NAMES) if rng.integers(2) else "a.png"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own for each run."""
    monkeypatch.setenv("DEAR_JAX_CACHE", "off")

    def enter(number: int) -> Path:
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        return folder

    return enter


def one_photo(rng) -> Ended:
    """Restores what may be a photo, in this folder."""
    name = name_of(rng)
    with contextlib.suppress(OSError):  # Names too long for a file.
        write(name, photo_bytes(rng), rng)
    arguments = ["restore", *CLASSICAL, *told(rng), *marked(rng)]
    kind = rng.integers(8)
    if kind > 4:
        arguments += ["-o", f"out/x.{chosen(rng, OUTS)}"]
    elif kind == 4:
        Path("file").touch()
        arguments += ["-o", chosen(rng, ("out/", "file", "file/x.png", "~x/y.png"))]
    alone = os.path.isfile(name)
    ended, made = checked([*arguments, "--", name])
    if not alone:  # A folder is several photos.
        assert ended.status in (0, 1, 2)
        return ended
    assert ended.status in (0, 2)
    pictures = [p for p in made if not p.endswith((".preview.png", ".importance.png"))]
    assert len(pictures) == (ended.status == 0), (pictures, ended.errors)
    if ended.status == 2:
        assert made == []
    elif "--scale=2" in arguments:
        expected = read_image(name).size
        found = read_image(pictures[0]).size
        assert found == tuple(2 * side for side in expected)
    return ended


def each(count: int, here, run) -> list[Ended]:
    """Runs seeded cases; a failing one can be told by its number."""
    ended = []
    for number in range(count):
        here(number)
        try:
            ended.append(run(np.random.default_rng(number)))
        except BaseException as error:
            error.add_note(f"in case {number}")
            raise
    return ended


def test_malformed_photos_and_masks_are_restored_or_refused_in_one_line(here, capfd):
    ended = each(COUNT, here, one_photo)
    # Neither is rare.
    assert min(sum(e.status == s for e in ended) for s in (0, 2)) > COUNT / 5
    # libtiff alone has a voice of its own.
    out, errors = capfd.readouterr()
    assert out == "" and "Traceback" not in errors


def test_folders_of_malformed_photos_are_done_as_far_as_they_can_be(here):
    here(0)
    rng = np.random.default_rng(0)
    for number in range(40):
        write(f"in/{number}.png", photo_bytes(rng), rng)
    write("in/good.png", FILES["png"], np.random.default_rng(1))
    arguments = ["restore", "in", "-o", "out", "--scale=2", *CLASSICAL]
    ended, made = checked(arguments)
    assert ended.status == 1 and "./out/good.png" in made
    failed = [line for line in ended.out.splitlines() if line.startswith("  ")]
    assert len(failed) > 5 and all(line.startswith("  in/") for line in failed)
    (summary,) = (line for line in ended.out.splitlines() if " there already" in line)
    assert summary.startswith(f"{len(made)} restored, 0 there already, {len(failed)} ")
    files = [name for name in os.listdir("in") if not os.path.isdir(f"in/{name}")]
    assert len(made) + len(failed) == len(files)
    ended, made_again = checked(arguments)
    assert ended.status == 1 and made_again == []


def header_changed(data: bytes, rng) -> bytes:
    """A weights file whose header is whole, but says something else."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    facts = header["__metadata__"]
    model = json.loads(facts["model"])
    kind = rng.integers(6)
    if kind == 0:
        del facts[chosen(rng, sorted(facts))]
    elif kind == 1:
        facts[chosen(rng, sorted(facts))] = chosen(rng, ("", "null", "[]", "{", "7"))
    elif kind == 2:
        model[chosen(rng, sorted(model))] = chosen(rng, (None, -1, 0, "x", [], 1e9, {}))
    elif kind == 3:
        del model[chosen(rng, sorted(model))]
    elif kind == 4:
        model["surprise"] = 1
    else:
        name = chosen(rng, [key for key in sorted(header) if key != "__metadata__"])
        header[name]["shape"] = header[name]["shape"][::-1] + [1]
    if kind in (2, 3, 4):
        facts["model"] = json.dumps(model)
    block = json.dumps(header).encode()
    return struct.pack("<Q", len(block)) + block + data[8 + length :]


def rehashed(path: Path) -> None:
    """Makes the hash right, so that all else is looked at too."""
    with contextlib.suppress(Exception):
        with safe_open(path, "numpy") as file:
            facts = file.metadata()
            tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
        facts["sha256"] = weights._digest(tensors, facts)
        path.write_bytes(save(tensors, metadata=facts))


def test_damaged_weights_are_refused_in_one_line(here, tmp_path):
    whole = tmp_path / "whole.safetensors"
    write_random_weights(whole, **tiny_fields("dear-lite"))
    data = whole.read_bytes()

    def run(rng) -> Ended:
        path, kind = Path("w.safetensors"), rng.integers(4)
        if kind == 0:
            path.write_bytes(photo_bytes(rng))
        else:
            path.write_bytes((damaged if kind == 1 else header_changed)(data, rng))
        if kind == 3:
            rehashed(path)
        Path("a.png").write_bytes(FILES["png"])
        ended, made = checked(["restore", "a.png", "--scale=2", f"--model={path}"])
        # With a right hash another header may be as good.
        assert ended.status == 2 or kind == 3
        assert len(made) == (ended.status == 0)
        return ended

    each(OF_WEIGHTS, here, run)


@pytest.mark.parametrize(
    "flag",
    ["--scale=1e9", "--scale=1e308", "--size=4000000000x30", f"--size={'9' * 20}x999"],
)
@pytest.mark.parametrize("model", ["bicubic", "dear-lite"])
def test_sizes_beyond_all_measure_are_refused_in_one_line(here, flag, model):
    here(0)
    Path("a.png").write_bytes(FILES["png"])
    limit = ["--max-memory=9999999T"]  # Not for want of memory.
    ended, made = checked(["restore", "a.png", "--model", model, flag, *limit])
    assert ended.status == 2 and made == []
    assert "smaller" in ended.errors
