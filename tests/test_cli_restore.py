"""`dear restore` from files to files."""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import jax
import numpy as np
import pytest
from eval_folders import write_random_weights
from PIL import Image
from starting import finish, start
from tiny import tiny_fields

import dear_jax
from dear_jax.cli import restore as batch
from dear_jax.cli.main import main
from dear_jax.images import resize
from dear_jax.images.io import read_image, read_photo, write_photo
from dear_jax.inference.classical import Telea
from dear_jax.inference.degradation import estimate_level
from dear_jax.inference.two_stage import TwoStage
from dear_jax.workflow import restoring as work

ROOT = Path(__file__).parents[1]
CLASSICAL = ("--model", "telea+bicubic")
FOLDER = ("photos", "--recursive", "--scale", "2", "-o", "out", *CLASSICAL)


def drawn_photo(seed: int = 0, size: tuple[int, int] = (24, 20)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return resize.bicubic(rng.integers(0, 256, (6, 5, 3), np.uint8), size)


def box_mask(top: int, left: int, height: int, width: int) -> np.ndarray:
    """A mask bool [24, 20]."""
    mask = np.zeros((24, 20), bool)
    mask[top : top + height, left : left + width] = True
    return mask


PHOTO, MASK = drawn_photo(), box_mask(6, 4, 6, 10)


def write_mask(path: str, mask: np.ndarray) -> None:
    write_photo(path, np.where(mask, 255, 0).astype(np.uint8))


@pytest.fixture
def restore(tmp_path, monkeypatch, capsys):
    """A function that runs `dear restore`: (status, output, errors).

    It runs in a folder with a photo, its mask, and photos in a folder.
    """
    monkeypatch.chdir(tmp_path)
    write_photo("photo.png", PHOTO)
    write_mask("mask.png", MASK)
    for i, name in enumerate(["a.png", "b.jpg", "sub/a.png"]):
        write_photo(f"photos/{name}", drawn_photo(i))

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["restore", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def picture(restore):
    """A function that runs `dear restore`: (the picture, all that is printed)."""

    def run(*arguments: str) -> tuple[np.ndarray, str]:
        status, out, errors = restore(*arguments, "-o", "o.png", "--overwrite")
        assert status == 0, errors
        return read("o.png"), out + errors

    return run


def tiny(**changes) -> tuple[str, str]:
    """The flags of a tiny DEAR, written to the current folder."""
    fields = tiny_fields("dear-lite") | changes
    write_random_weights(Path("tiny.safetensors"), **fields)
    return "--model", "tiny.safetensors"


def read(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


def classical(image, mask=None, **size) -> np.ndarray:
    return dear_jax.load("telea+bicubic")(image, mask, **size)


def written(folder: str) -> list[str]:
    """Names of the files below a folder, hidden ones apart."""
    return sorted(path.name for path in Path(folder).rglob("[!.]*") if path.is_file())


def test_the_result_is_what_the_system_makes_of_photo_and_mask(restore):
    flags = ("photo.png", "--mask", "mask.png", "--scale", "2.5", "-o", "out.png")
    status, out, _ = restore(*flags, *CLASSICAL)
    assert status == 0 and out.startswith("out.png: 20 x 24 to 50 x 60 pixels, ")
    np.testing.assert_array_equal(read("out.png"), classical(PHOTO, MASK, scale=2.5))


def test_a_size_is_width_by_height_and_another_shape_is_remarked(picture, restore):
    result, said = picture("photo.png", "--size", "60x50", *CLASSICAL)
    assert result.shape == (50, 60, 3)
    assert "60 x 50 has another shape" in said and "--size 60x keeps it" in said
    said = picture("photo.png", "--size", "61x73", *CLASSICAL)[1]
    assert "another shape" not in said
    status, _, errors = restore("photo.png", "--size", "20x1", *CLASSICAL)
    assert status == 2 and "--size makes 20 x 1 of it" in errors


@pytest.mark.parametrize(
    "flags, size",
    [
        (("--size", "50"), (60, 50)),
        (("--size", "50x"), (60, 50)),
        (("--size", "x48"), (48, 40)),
        (("--fit", "50x1000"), (60, 50)),
        (("--fit", "1000x48"), (48, 40)),
    ],
)
def test_of_one_side_the_other_follows(picture, flags, size):
    result, said = picture("photo.png", *flags, *CLASSICAL)
    assert result.shape == (*size, 3) and "shape" not in said
    picture("photo.png", *flags, *CLASSICAL)


@pytest.mark.parametrize("suffix, options", [("jpg", {}), ("webp", {"quality": 80})])
def test_what_a_format_changes_of_known_pixels_is_said(restore, suffix, options):
    Image.fromarray(PHOTO).save(f"lossy.{suffix}", **options)
    flags = ("--mask", "mask.png", *CLASSICAL)
    _, _, errors = restore(f"lossy.{suffix}", *flags, "-o", f"o.{suffix}")
    before, after = read(f"lossy.{suffix}").astype(int), read(f"o.{suffix}")
    off = np.abs(before - after).max(-1)[~MASK]
    said = f"changed {(off > 0).sum()} of {off.size} known pixels, by up to {off.max()}"
    assert said in errors and "PNG and TIFF keep them" in errors
    _, _, errors = restore(f"lossy.{suffix}", *flags, "-o", "o.png")
    assert "changed" not in errors


def test_a_mask_of_the_stored_pixels_is_warned_of(picture):
    for orientation, turned in ((1, False), (3, True), (6, False)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(PHOTO).save("turned.png", exif=exif)
        shown = MASK if orientation < 5 else np.rot90(MASK, -1)
        write_mask("shown.png", shown)
        said = picture("turned.png", "--mask", "shown.png", *CLASSICAL)[1]
        assert ("turned by its EXIF orientation" in said) == turned


def test_what_is_transparent_leaves_no_fringe(picture):
    rows, columns = np.mgrid[:24, :20]
    near = np.hypot(rows - 12, columns - 10)
    alpha = (np.clip(8.5 - near, 0, 1) * 255).astype(np.uint8)
    for colour in ((230, 40, 30), (20, 200, 40)):
        cut = np.zeros((24, 20, 4), np.uint8)
        cut[alpha > 0, :3], cut[..., 3] = colour, alpha
        Image.fromarray(cut).save("cut.png")
        result = picture("cut.png", "--scale", "2", *CLASSICAL)[0]
        assert np.abs(result[..., :3].astype(int) - colour).max() <= 1
        kept = picture("cut.png", "--box", "9,9,3,3", *CLASSICAL)[0]
        np.testing.assert_array_equal(kept[alpha == 0], 0)  # As in the file.


def test_alpha_that_hides_nothing_is_no_reason_to_refuse_jpeg(restore):
    Image.fromarray(PHOTO).convert("RGBA").save("opaque.png")
    status, _, errors = restore("opaque.png", "--scale", "2", "-o", "o.jpg", *CLASSICAL)
    assert status == 0, errors


def test_every_way_to_say_what_is_missing_is_the_same(picture):
    magenta = np.where(MASK[..., None], np.uint8([255, 0, 255]), PHOTO)
    write_photo("magenta.png", magenta)
    alpha = np.where(MASK, 0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([PHOTO, alpha])).save("alpha.png")
    write_mask("swapped.png", ~MASK)
    expected = classical(PHOTO, MASK)
    for flags in (
        ("photo.png", "--mask", "mask.png"),
        ("photo.png", "--box", "4,6,10,6"),
        ("photo.png", "--box", "4,6,7,6", "--box", "8,6,6,6"),
        ("photo.png", "--mask", "swapped.png", "--invert-mask"),
        ("magenta.png", "--mask-color", "#ff00ff"),
        ("alpha.png", "--mask-alpha"),
    ):
        np.testing.assert_array_equal(picture(*flags, *CLASSICAL)[0], expected)


def test_a_box_may_begin_outside_and_holes_may_be_widened(picture):
    flags = ("photo.png", "--box", "-5,7,13,4", "--dilate", "1", *CLASSICAL)
    mask = box_mask(7, 0, 4, 9) | box_mask(6, 0, 6, 8)
    np.testing.assert_array_equal(picture(*flags)[0], classical(PHOTO, mask))


def test_masks_of_a_folder_go_with_their_photos(restore):
    tops = {"a": 2, "b": 9, "sub/a": 15}
    for name, top in tops.items():
        write_mask(f"masks/{name}.gif", box_mask(top, 4, 5, 5))
    assert restore(*FOLDER, "--mask", "masks")[0] == 0
    for name in ("a", "sub/a"):
        photo, mask = read_photo(f"photos/{name}.png"), box_mask(tops[name], 4, 5, 5)
        expected = classical(photo, mask, scale=2)
        np.testing.assert_array_equal(read(f"out/{name}.png"), expected)


def test_odd_masks_are_warned_of(picture):
    write_mask("black.png", ~MASK & MASK)
    for flags, remark in (
        (("--mask", "mask.png", "--invert-mask"), "%"),
        (("--mask", "black.png"), "nothing of the photo"),
    ):
        said = picture("photo.png", *flags, *CLASSICAL)[1]
        assert "warning: photo.png: " in said and remark in said


def test_known_pixels_stay_at_the_photos_size_and_in_larger_ones_if_asked(picture):
    flags = ("photo.png", "--mask", "mask.png", *tiny())
    kept, free = picture(*flags)[0], picture(*flags, "--no-keep-known")[0]
    np.testing.assert_array_equal(kept[~MASK], PHOTO[~MASK])
    assert (free[~MASK] != PHOTO[~MASK]).any()
    np.testing.assert_array_equal(kept[MASK], free[MASK])
    larger, said = picture(*flags, "--scale", "2", "--keep-known")
    off = np.abs(resize.bicubic(larger, (24, 20)).astype(int) - PHOTO)[~MASK]
    assert "known pixels" in said and (off.max(-1) <= 1).mean() > 0.9
    assert "known" not in picture(*flags, "--scale", "2")[1]


def test_grain_is_for_holes_at_the_photos_own_size(picture, restore):
    flags = ("photo.png", "--mask", "mask.png", *CLASSICAL)
    result, plain = picture(*flags, "--grain")[0], picture(*flags)[0]
    np.testing.assert_array_equal(result[~MASK], plain[~MASK])
    status, _, errors = restore(*flags, "--grain", "--scale", "2")
    assert status == 2 and "--grain: photo.png is enlarged" in errors
    status, _, errors = restore(*flags, "--grain", "--denoise", "0.3")
    assert status == 2 and "--grain adds" in errors


def test_a_record_says_how_a_result_was_made(picture):
    picture("photo.png", "--mask", "mask.png", "--record", *CLASSICAL)
    record = json.loads(Path("o.record.json").read_text())
    for name, path in (("photo", "photo.png"), ("result", "o.png")):
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        assert record[name] == {"name": path, "sha256": digest}
    assert record["model"]["name"] == "telea+bicubic"
    assert record["options"]["mask"] == "mask.png" and record["options"]["record"]
    assert record["missing"]["share"] == pytest.approx(MASK.mean())
    assert 1 - MASK.mean() <= record["pixels_untouched"] <= 1
    picture("photo.png", "--scale", "2", "--record", *CLASSICAL)
    assert json.loads(Path("o.record.json").read_text())["pixels_untouched"] == 0


def test_an_enlarged_photo_is_restored_at_the_level_estimated_from_it(picture):
    noise = np.random.default_rng(0).normal(0, 30, (24, 20, 1))
    noisy = np.uint8(np.clip(PHOTO + noise, 0, 255))
    write_photo("noisy.png", noisy)
    found = estimate_level(noisy, MASK)
    level = tiny(level_input=True)
    restorer = dear_jax.load("tiny.safetensors")
    expected = restorer(noisy, MASK, scale=2, denoise=found)
    flags = ("noisy.png", "--mask", "mask.png", "--scale", "2", *level)
    result, said = picture(*flags)
    assert f" pixels, denoise {found:.2f} (auto), " in said and 0.1 < found < 1
    np.testing.assert_array_equal(result, expected)
    for flag in ("auto", f"{found:.17f}", "0"):
        result = picture(*flags, "--denoise", flag)[0]
        assert (result == expected).all() == (flag != "0")
    assert "denoise 0.00," in picture(*flags, "--keep-known")[1]
    # The quality of a file counts.
    Image.fromarray(PHOTO).save("low.jpg", quality=30)
    file = read_image("low.jpg")
    found = estimate_level(file.image, np.zeros((24, 20), bool), file.quality)
    said = picture("low.jpg", "--scale", "2", *level)[1]
    assert f"denoise {found:.2f} (auto)" in said and found > 0.3


def test_denoise_at_the_photos_size_changes_known_pixels_and_says_so(picture):
    flags = ("photo.png", "--mask", "mask.png", *tiny(level_input=True))
    for more in ((), ("--denoise", "0", "--keep-known")):
        result, said = picture(*flags, *more)
        assert "denoise 0.00," in said and "known pixels" not in said
        np.testing.assert_array_equal(result[~MASK], PHOTO[~MASK])
    result, said = picture(*flags, "--denoise", "0.3")
    assert "denoise 0.30," in said
    assert "photo.png: --denoise changes known pixels" in said
    assert (result[~MASK] != PHOTO[~MASK]).any()


def test_models_that_take_no_level_say_nothing_of_it(picture):
    flags = ("photo.png", "--scale", "2", *tiny())
    plain, said = picture(*flags)
    assert "denoise" not in said
    np.testing.assert_array_equal(picture(*flags, "--denoise", "auto")[0], plain)


def test_the_file_stays_of_its_kind(picture):
    deep = PHOTO[..., 0].astype(np.uint16) * 257 + 3
    Image.fromarray(deep).save("deep.png")
    alpha = np.full((24, 20), 255, np.uint8)
    alpha[:9] = 70
    Image.fromarray(np.dstack([PHOTO[..., 0], alpha])).save("la.png")
    known = ~box_mask(12, 2, 5, 5)
    for name, mode in (("deep.png", "I;16"), ("la.png", "LA")):
        result = picture(name, "--box", "2,12,5,5", *CLASSICAL)[0]
        np.testing.assert_array_equal(read(name)[known], result[known])
        assert Image.open("o.png").mode == mode
        picture(name, "--scale", "2", *CLASSICAL)
        assert Image.open("o.png").mode == mode


def test_importance_and_preview_lie_beside_a_result_written_last(picture, monkeypatch):
    before, write = [], work.write_image

    def watched(path, file):
        before.extend(sorted(path.name for path in Path().glob("o*.png")))
        return write(path, file)

    monkeypatch.setattr(work, "write_image", watched)
    flags = ("--mask", "mask.png", "--scale", "2", "--importance", "--preview")
    result = picture("photo.png", *flags, *tiny())[0]
    assert before == ["o.importance.png", "o.preview.png"]
    restorer = dear_jax.load("tiny.safetensors")
    importance = restorer.importance(PHOTO, MASK) * 255
    np.testing.assert_allclose(read("o.importance.png"), importance, atol=0.51)
    # More pictures do not change the result.
    np.testing.assert_array_equal(result, restorer(PHOTO, MASK, scale=2))


def test_the_plan_is_shown_where_memory_is_limited(restore):
    flags = ("--scale", "2", *tiny())
    limited = restore("photo.png", *flags, "--max-memory", "8G")[2]
    assert "photo.png: 20 x 24 to 40 x 48 pixels." in limited
    assert " pixels. " not in restore("photos", "-o", "out", *flags)[2]


def test_what_exists_is_not_made_again_unless_asked_for(restore):
    status, out, errors = restore(*FOLDER)
    assert status == 0 and out.startswith("3 restored, 0 there already, 0 failed; ")
    numbered = [line.partition(":")[0] for line in errors.splitlines()]
    assert numbered == ["[1/3] a.png", "[2/3] b.jpg", "[3/3] sub/a.png"]
    Path("out/b.jpg").unlink()
    Path("out/a.png").write_bytes(b"mine")
    _, out, errors = restore(*FOLDER)
    assert out.startswith("1 restored, 2 there already (--overwrite makes them again)")
    assert errors.startswith("b.jpg: ")
    assert Path("out/a.png").read_bytes() == b"mine"
    assert restore(*FOLDER, "--overwrite")[1].startswith("3 restored")
    assert read("out/a.png").shape == (48, 40, 3)


def test_what_exists_needs_no_model(restore):
    Path("photo-restored.png").touch()
    status, out, _ = restore("photo.png", "--scale", "2", "--model", "none")
    assert status == 0 and "is there already; --overwrite makes it again" in out
    assert restore("photos", "--scale", "2", "--model", "none")[0] == 2


def test_photos_may_stand_behind_options(restore):
    photos = ("photo.png", "--scale", "2", "photos/a.png")
    status, out, _ = restore(*photos, *CLASSICAL, "-o", "out", "photos/b.jpg")
    assert status == 0 and out.startswith("3 restored")


def test_parts_of_a_folder_are_together_the_folder(restore):
    flags = ("photos", "--recursive", "--scale", "2", *CLASSICAL)
    assert restore(*flags, "-o", "whole")[0] == 0
    for part in ("1/2", "2/2", "3/4"):
        before = written("out")
        assert restore(*flags, "-o", "out", "--part", part)[0] == 0
        assert (len(written("out")) > len(before)) == (part != "3/4")
        # Again, or after a kill: a part has the same photos whatever exists.
        assert restore(*flags, "-o", "out", "--part", part)[1].startswith("0 restored")
    for path in ("a.png", "b.jpg", "sub/a.png"):
        assert Path("out", path).read_bytes() == Path("whole", path).read_bytes()
    _, out, _ = restore(*flags, "-o", "other", "--part", "4/4")
    assert out.startswith("0 restored, 0 there already, 0 failed")


def test_a_photo_that_cannot_be_restored_does_not_stop_the_others(restore):
    Path("photos/b.jpg").write_bytes(b"no photo")
    status, out, errors = restore(*FOLDER)
    assert status == 1
    assert errors.count("failed: photos/b.jpg: ") == 1
    lines = out.splitlines()
    assert lines[0] == "These could not be restored:"
    assert lines[1].startswith("  photos/b.jpg: cannot be read")
    assert lines[2].startswith("2 restored, 0 there already, 1 failed; ")
    assert written("out") == ["a.png", "a.png"]


def test_one_photo_that_cannot_be_restored_is_a_mistake(restore):
    Path("broken.png").write_bytes(b"no photo")
    alpha = np.full((24, 20), 7, np.uint8)
    Image.fromarray(np.dstack([PHOTO, alpha])).save("alpha.png")
    for flags, message in (
        (("broken.png", *CLASSICAL), "broken.png: cannot be read"),
        (("alpha.png", "-o", "out/o.jpg", *CLASSICAL), "out/o.jpg: JPEG holds no"),
        (("photo.png", "-o", "out/", *tiny(), "--max-memory", "1M"), "MiB"),
    ):
        status, out, errors = restore(*flags, "--scale", "2")
        assert (status, out) == (2, "") and errors.count("\n") == 1
        assert errors.startswith("error: ") and message in errors
        assert written("out") == []


def test_what_a_model_or_place_cannot_do_is_a_mistake_before_work(restore):
    Path("file").touch()
    for flags, message in (
        (("--importance",), "telea+bicubic has no importance map"),
        (("--denoise", "0.3"), "telea+bicubic was not trained to remove noise"),
        (("-o", "file/out"), "cannot be a folder for results"),
    ):
        status, out, errors = restore(*FOLDER, *flags)
        assert (status, out) == (2, "") and errors.count("\n") == 1
        assert message in errors and not Path("out").exists()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED")])
def test_only_the_end_of_memory_is_one_line(restore, error, monkeypatch):
    flags = ("photo.png", "--scale", "2", *CLASSICAL)
    monkeypatch.setattr(TwoStage, "restore", Mock(side_effect=error))
    status, _, errors = restore(*flags)
    assert status == 2 and "memory was not enough for 40 x 48" in errors
    assert "--max-memory" in errors and errors.splitlines()[-1].startswith("error: ")
    monkeypatch.setattr(TwoStage, "restore", Mock(side_effect=KeyError("a bug")))
    with pytest.raises(KeyError, match="a bug"):
        restore(*flags)


def test_photos_of_many_sizes_leave_no_programs(monkeypatch):
    monkeypatch.setattr(batch, "_SIZES", 2)
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(1))
    compiled: set[str] = set()
    for sizes in ("8 x 8", "8 x 8", "8 x 9", "8 x 9", "9 x 9"):
        batch._drop_programs(compiled, sizes)
    assert len(cleared) == 2 and not compiled


def test_any_name_of_a_file_can_be_printed(restore):
    good, broken = b"\xe9t\xe9.png", b"broken-\xe9.png"
    Path(os.fsdecode(good)).write_bytes(Path("photo.png").read_bytes())
    Path(os.fsdecode(broken)).write_bytes(b"")
    command = [sys.executable, "-m", "dear_jax", "restore", good, broken]
    settings = {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "DEAR_JAX_CACHE": "off"}
    ended = subprocess.run(
        [*command, "--scale", "2", *CLASSICAL],
        capture_output=True,
        env={**os.environ, **settings},
    )
    assert ended.returncode == 1 and b"Traceback" not in ended.stderr
    assert b"broken-\\udce9.png: an empty file" in ended.stdout
    assert Path(os.fsdecode(b"\xe9t\xe9-restored.png")).exists()


def test_ctrl_c_leaves_what_is_written_whole(restore, monkeypatch):
    fill, done = Telea.restore, []

    def interrupted(self, *arguments):
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return fill(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Telea, "restore", interrupted)
        status, out, errors = restore(*FOLDER)
    assert (status, out) == (130, "")
    assert errors.splitlines()[-1].startswith("interrupted: ")
    assert written("out") == ["a.png", "b.jpg"]
    assert restore(*FOLDER)[1].startswith("1 restored, 2 there already")


def results(folder: Path) -> list[Path]:
    """The files under final names."""
    found = (path for path in folder.glob("*/*.png") if path.name[0] != ".")
    return sorted(found)


def contents(folder: Path) -> dict[str, bytes]:
    """Of the files under final names; each must be whole."""
    found = {path.name: path.read_bytes() for path in results(folder)}
    for content in found.values():
        Image.open(io.BytesIO(content)).load()
    return found


@pytest.mark.long
def test_a_folder_killed_and_restarted_ends_with_all_right_outputs(restore, tmp_path):
    for i in range(50):
        size = (24, 24 + i % 3)
        write_photo(f"many/{'ab'[i % 2]}/{i:02}.png", drawn_photo(i, size))
    flags = (str(tmp_path / "many"), "--recursive", "--box", "5,4,10,9", *CLASSICAL)
    assert restore(*flags, "-o", tmp_path / "whole", "--scale", "2")[0] == 0
    rng, out, kills = random.Random(0), tmp_path / "out", 0
    command = ("-m", "dear_jax", "restore", *flags, "-o", str(out), "--scale", "2")
    while True:
        run, enough = start(*command), len(contents(out)) + rng.randrange(1, 6)
        while run.poll() is None and len(results(out)) < enough:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        if run.poll() is not None:
            break
        run.send_signal(signal.SIGKILL)
        run.communicate()
        kills += 1
    code, _, errors = finish([run])[0]
    assert code == 0, errors
    assert kills >= 3 and contents(out) == contents(tmp_path / "whole")
