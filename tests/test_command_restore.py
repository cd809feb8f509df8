"""`dear restore` from files to files, in this process."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from eval_folders import write_random_weights
from PIL import Image
from tiny import tiny_fields

import dear_jax
from dear_jax.cli import all_photos, one_photo
from dear_jax.cli.main import main
from dear_jax.images import resize
from dear_jax.images.io import read_image, read_photo, write_photo
from dear_jax.images.masks import read_mask
from dear_jax.inference.classical import Telea
from dear_jax.inference.degradation import estimate_level
from dear_jax.inference.two_stage import TwoStage

ROOT = Path(__file__).parents[1]
CLASSICAL = ("--model", "telea+bicubic")


def drawn_photo(seed: int = 0, size: tuple[int, int] = (24, 20)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return resize.bicubic(rng.integers(0, 256, (6, 5, 3), np.uint8), size)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a photo, a mask that is a box, and photos in a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEAR_JAX_CACHE", "off")
    write_photo("photo.png", drawn_photo())
    mask = np.zeros((24, 20), np.uint8)
    mask[6:12, 4:14] = 255
    write_photo("mask.png", mask)
    for i, name in enumerate(["a.png", "b.jpg", "sub/a.png"]):
        write_photo(f"photos/{name}", drawn_photo(i))
    return tmp_path


@pytest.fixture
def restore(here, capsys):
    """A function that runs `dear restore`: (status, output, errors)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main(["restore", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def tiny(here) -> tuple[str, str]:
    """A tiny DEAR."""
    write_random_weights(here / "tiny.safetensors", **tiny_fields("dear-lite"))
    return "--model", "tiny.safetensors"


@pytest.fixture
def level(here) -> tuple[str, str]:
    """A tiny DEAR that takes a level of degradation."""
    fields = tiny_fields("dear-lite") | {"level_input": True}
    write_random_weights(here / "level.safetensors", **fields)
    return "--model", "level.safetensors"


def read(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


def classical(image, mask=None, **size) -> np.ndarray:
    return dear_jax.load("telea+bicubic")(image, mask, **size)


def test_the_result_is_what_the_system_makes_of_photo_and_mask(restore):
    flags = ("photo.png", "--mask", "mask.png", "--scale", "2.5", "-o", "out.png")
    status, out, _ = restore(*flags, *CLASSICAL)
    assert status == 0 and out.startswith("out.png: 20 x 24 to 50 x 60 pixels, ")
    expected = classical(drawn_photo(), read_mask("mask.png"), scale=2.5)
    np.testing.assert_array_equal(read("out.png"), expected)


def test_a_size_is_width_by_height_and_another_shape_is_remarked(restore):
    flags = ("photo.png", "--size", "60x50", "-o", "out.png")
    status, _, errors = restore(*flags, *CLASSICAL)
    assert status == 0 and read("out.png").shape == (50, 60, 3)
    assert "60 x 50 has another shape" in errors and "60x72 would keep it" in errors
    status, _, errors = restore("photo.png", "--size", "61x73", *CLASSICAL)
    assert status == 0 and "another shape" not in errors


def test_every_way_to_say_what_is_missing_is_the_same(restore, here):
    mask = read_mask("mask.png")
    magenta = np.where(mask[..., None], np.uint8([255, 0, 255]), drawn_photo())
    write_photo("magenta.png", magenta)
    alpha = np.where(mask, 0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([drawn_photo(), alpha])).save("alpha.png")
    write_photo("swapped.png", np.where(mask, 0, 255).astype(np.uint8))
    write_photo("smaller.png", np.uint8(255) * np.pad(mask[7:11, 5:13], 1))
    ways = {
        "photo.png": [
            ("--mask", "mask.png"),
            ("--box", "4,6,10,6"),
            ("--box", "4,6,7,6", "--box", "8,6,6,6"),
            ("--mask", "swapped.png", "--invert-mask"),
        ],
        "magenta.png": [("--mask-color", "#ff00ff")],
        "alpha.png": [("--mask-alpha",)],
    }
    results = []
    for name, each in ways.items():
        for flags in each:
            status, _, errors = restore(name, *flags, "-o", "o.png", *CLASSICAL)
            assert status == 0, errors
            results.append(read("o.png"))
            (here / "o.png").unlink()
    for result in results:
        np.testing.assert_array_equal(result, classical(drawn_photo(), mask))


def test_dilate_widens_holes(restore):
    flags = ("--box", "5,7,8,4", "--dilate", "1")
    assert restore("photo.png", *flags, "-o", "o.png", *CLASSICAL)[0] == 0
    mask = np.zeros((24, 20), bool)
    mask[7:11, 4:14] = mask[6:12, 5:13] = True
    np.testing.assert_array_equal(read("o.png"), classical(drawn_photo(), mask))


def test_known_pixels_stay_at_the_photos_size_unless_told_otherwise(restore, tiny):
    flags = ("photo.png", "--mask", "mask.png", *tiny)
    assert restore(*flags)[0] == 0
    assert restore(*flags, "--no-keep-known", "-o", "free.png")[0] == 0
    known = ~read_mask("mask.png")
    kept, free = read("photo-restored.png"), read("free.png")
    np.testing.assert_array_equal(kept[known], drawn_photo()[known])
    assert (free[known] != drawn_photo()[known]).any()
    np.testing.assert_array_equal(kept[~known], free[~known])


def test_known_pixels_are_kept_in_larger_results_if_asked_for(restore, tiny):
    flags = ("photo.png", "--mask", "mask.png", "--scale", "2", *tiny, "--keep-known")
    status, _, errors = restore(*flags)
    assert status == 0 and "known pixels" in errors
    small = resize.bicubic(read("photo-restored.png"), (24, 20)).astype(int)
    off = np.abs(small - drawn_photo())[~read_mask("mask.png")]
    assert (off.max(-1) <= 1).mean() > 0.9
    assert "known" not in restore(*flags[:-1], "--overwrite")[2]


def test_an_enlarged_photo_is_restored_at_the_level_estimated_from_it(restore, level):
    noise = np.random.default_rng(0).normal(0, 30, (24, 20, 1))
    noisy = np.uint8(np.clip(drawn_photo() + noise, 0, 255))
    write_photo("noisy.png", noisy)
    mask = read_mask("mask.png")
    found = estimate_level(noisy, mask)
    assert 0.1 < found < 1
    flags = ("noisy.png", "--mask", "mask.png", "--scale", "2", "-o", "o.png", *level)
    _, out, _ = restore(*flags)
    assert f" pixels, denoise {found:.2f} (auto), " in out
    restorer = dear_jax.load("level.safetensors")
    expected = restorer(noisy, mask, scale=2, denoise=found)
    np.testing.assert_array_equal(read("o.png"), expected)
    for flag in ("auto", f"{found:.17f}", "0"):
        assert restore(*flags, "--denoise", flag, "--overwrite")[0] == 0
        assert (read("o.png") == expected).all() == (flag != "0")
    _, out, _ = restore(*flags, "--keep-known", "--overwrite")
    assert "denoise 0.00," in out


def test_the_files_own_quality_is_what_auto_counts_on(restore, level):
    Image.fromarray(drawn_photo(size=(48, 40))).save("low.jpg", quality=30)
    picture = read_image("low.jpg")
    mask = np.zeros((48, 40), bool)
    found = estimate_level(picture.image, mask, picture.quality)
    out = restore("low.jpg", "--scale", "2", "-o", "o.png", *level)[1]
    assert f"denoise {found:.2f} (auto)" in out and found > 0.3


def test_denoise_at_the_photos_size_changes_known_pixels_and_says_so(restore, level):
    flags = ("photo.png", "--mask", "mask.png", "-o", "o.png", *level)
    known = ~read_mask("mask.png")
    _, out, errors = restore(*flags)
    assert "denoise 0.00," in out and "known pixels" not in errors
    np.testing.assert_array_equal(read("o.png")[known], drawn_photo()[known])
    _, out, errors = restore(*flags, "--overwrite", "--denoise", "0.3")
    assert "denoise 0.30," in out
    assert "photo.png: --denoise changes known pixels" in errors
    assert (read("o.png")[known] != drawn_photo()[known]).any()
    assert restore(*flags, "--overwrite", "--denoise", "0", "--keep-known")[0] == 0
    np.testing.assert_array_equal(read("o.png")[known], drawn_photo()[known])


def test_denoise_that_means_nothing_is_a_mistake_before_work(restore, here, level):
    flags = ("photos", "--scale", "2", "-o", "out", "--denoise")
    for more, said in (
        (("0.3", "--keep-known", *level), "--keep-known keeps"),
        (("auto", "--keep-known", *level), "--keep-known keeps"),
        (("1.5", *level), "--denoise 1.5: give a number from 0 to 1, or auto"),
        (("0.3", *CLASSICAL), "telea+bicubic was not trained to remove noise"),
    ):
        status, out, errors = restore(*flags, *more)
        assert (status, out) == (2, "") and said in errors and errors.count("\n") == 1
    assert not (here / "out").exists()


def test_models_that_take_no_level_say_nothing_of_it(restore, tiny):
    flags = ("photo.png", "--scale", "2", "-o", "o.png", *tiny)
    _, out, errors = restore(*flags)
    assert "denoise" not in out + errors
    plain = read("o.png")
    assert restore(*flags, "--overwrite", "--denoise", "auto")[0] == 0
    np.testing.assert_array_equal(read("o.png"), plain)


def test_the_file_stays_of_its_kind(restore):
    deep = drawn_photo()[..., 0].astype(np.uint16) * 257 + 3
    Image.fromarray(deep).save("deep.png")
    alpha = np.full((24, 20), 255, np.uint8)
    alpha[:9] = 70
    Image.fromarray(np.dstack([drawn_photo()[..., 0], alpha])).save("la.png")
    for name, mode in (("deep.png", "I;16"), ("la.png", "LA")):
        assert restore(name, "--box", "2,12,5,5", "-o", "o.png", *CLASSICAL)[0] == 0
        assert Image.open("o.png").mode == mode
        before, after = read(name), read("o.png")
        outside = np.ones((24, 20), bool)
        outside[12:17, 2:7] = False
        np.testing.assert_array_equal(before[outside], after[outside])
        flags = ("--scale", "2", "-o", "o.png", "--overwrite", *CLASSICAL)
        assert restore(name, *flags)[0] == 0
        assert Image.open("o.png").mode == mode
        Path("o.png").unlink()


def test_transparency_and_jpeg_do_not_go_together(restore, here):
    alpha = np.full((24, 20), 7, np.uint8)
    Image.fromarray(np.dstack([drawn_photo(), alpha])).save("alpha.png")
    status, _, errors = restore("alpha.png", "--scale", "2", "-o", "o.jpg", *CLASSICAL)
    assert status == 2 and "o.jpg" in errors
    assert not (here / "o.jpg").exists()


def test_what_is_there_is_not_made_again_unless_asked_for(restore, here):
    flags = ("photos", "--recursive", "--scale", "2", "-o", "out", *CLASSICAL)
    status, out, errors = restore(*flags)
    assert status == 0 and out.startswith("3 restored, 0 there already, 0 failed; ")
    numbered = [line.partition(":")[0] for line in errors.splitlines()]
    assert numbered == ["[1/3] a.png", "[2/3] b.jpg", "[3/3] sub/a.png"]
    (here / "out" / "b.jpg").unlink()
    (here / "out" / "a.png").write_bytes(b"mine")
    _, out, errors = restore(*flags)
    assert out.startswith("1 restored, 2 there already (--overwrite makes them again)")
    assert errors.startswith("[1/1]") or errors.startswith("b.jpg")
    assert (here / "out" / "a.png").read_bytes() == b"mine"
    assert restore(*flags, "--overwrite")[1].startswith("3 restored")
    assert read("out/a.png").shape == (48, 40, 3)


def test_photos_may_stand_behind_options(restore):
    photos = ("photo.png", "--scale", "2", "photos/a.png")
    status, out, _ = restore(*photos, *CLASSICAL, "-o", "out", "photos/b.jpg")
    assert status == 0 and out.startswith("3 restored")


def test_what_is_there_needs_no_model(restore, here):
    (here / "photo-restored.png").touch()
    status, out, _ = restore("photo.png", "--scale", "2", "--model", "none")
    assert status == 0 and "is there already; --overwrite makes it again" in out
    assert restore("photos", "--scale", "2", "--model", "none")[0] == 2


def test_a_photo_that_cannot_be_restored_does_not_stop_the_others(restore, here):
    (here / "photos" / "b.jpg").write_bytes(b"no photo")
    flags = ("photos", "--recursive", "--scale", "2", "-o", "out", *CLASSICAL)
    status, out, errors = restore(*flags)
    assert status == 1
    assert errors.count("failed: photos/b.jpg: ") == 1
    lines = out.splitlines()
    assert lines[0] == "These could not be restored:"
    assert lines[1].startswith("  photos/b.jpg: cannot be read")
    assert lines[2].startswith("2 restored, 0 there already, 1 failed; ")
    assert sorted(p.name for p in (here / "out").rglob("*.*")) == ["a.png", "a.png"]


def test_one_photo_that_cannot_be_restored_is_a_mistake(restore, here):
    (here / "broken.png").write_bytes(b"no photo")
    status, out, errors = restore("broken.png", "--scale", "2", *CLASSICAL)
    assert (status, out) == (2, "")
    assert errors.startswith("error: broken.png: cannot be read")
    assert errors.count("\n") == 1


def test_the_plan_is_told_where_it_was_asked_for(restore, tiny):
    flags = ("--scale", "2", *tiny)
    limited = restore("photo.png", *flags, "--max-memory", "8G")[2]
    assert "photo.png: 20 x 24 to 40 x 48 pixels." in limited
    assert " pixels. " not in restore("photos", "-o", "out", *flags)[2]


def test_photos_of_many_sizes_leave_no_programs(monkeypatch):
    monkeypatch.setattr(all_photos, "_SIZES", 2)
    cleared = []
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(1))
    sizes: set[str] = set()
    for done in ("8 x 8", "8 x 8", "8 x 9", "8 x 9", "9 x 9"):
        all_photos._forget_programs(sizes, done)
    assert len(cleared) == 2 and not sizes


def test_a_box_may_begin_outside_the_photo(restore, tiny):
    assert restore("photo.png", "--box", "-5,2,9,4", "--scale", "1", *tiny)[0] == 0


def test_too_little_memory_is_a_mistake(restore, tiny, here):
    flags = ("photo.png", "--scale", "2", *tiny, "--max-memory", "1M")
    status, _, errors = restore(*flags)
    assert status == 2 and errors.count("\n") == 1 and "MiB" in errors
    assert not (here / "photo-restored.png").exists()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")]
)
def test_the_end_of_memory_is_told_in_one_line(restore, error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(TwoStage, "restore", fail)
    status, _, errors = restore("photo.png", "--scale", "2", *CLASSICAL)
    assert status == 2 and "memory was not enough for 40 x 48" in errors
    assert "--max-memory" in errors and errors.splitlines()[-1].startswith("error: ")


def test_bugs_keep_their_traceback(restore, monkeypatch):
    def fail(*_):
        raise KeyError("a bug")

    monkeypatch.setattr(TwoStage, "restore", fail)
    with pytest.raises(KeyError, match="a bug"):
        restore("photo.png", "--scale", "2", *CLASSICAL)


def test_the_result_is_written_last(restore, tiny, here, monkeypatch):
    before = []
    write = one_photo.write_image

    def watched(path, picture):
        before.extend(sorted(path.name for path in here.glob("photo-restored*")))
        return write(path, picture)

    monkeypatch.setattr(one_photo, "write_image", watched)
    flags = ("--mask", "mask.png", "--scale", "2", "--importance", "--preview", *tiny)
    assert restore("photo.png", *flags)[0] == 0
    assert before == ["photo-restored.importance.png", "photo-restored.preview.png"]
    importance = read("photo-restored.importance.png")
    restorer = dear_jax.load("tiny.safetensors")
    image, mask = drawn_photo(), read_mask("mask.png")
    expected = restorer.importance(image, mask) * 255
    np.testing.assert_allclose(importance, expected, atol=0.51)
    # Asking for more does not change the result.
    np.testing.assert_array_equal(
        read("photo-restored.png"), restorer(image, mask, scale=2)
    )


def test_importance_of_a_system_without_is_a_mistake_before_work(restore, here):
    flags = ("photos", "--scale", "2", "-o", "out", "--importance", *CLASSICAL)
    status, _, errors = restore(*flags)
    assert status == 2 and "telea+bicubic has no importance map" in errors
    assert not (here / "out").exists()


def test_a_place_that_cannot_be_written_is_a_mistake_before_work(restore, here):
    (here / "file").touch()
    flags = ("photos", "--scale", "2", "-o", "file/out", *CLASSICAL)
    status, _, errors = restore(*flags)
    assert status == 2 and "cannot be a folder for results" in errors
    assert errors.count("\n") == 1


def test_any_name_of_a_file_can_be_told(here):
    good, broken = b"\xe9t\xe9.png", b"broken-\xe9.png"
    (here / os.fsdecode(good)).write_bytes((here / "photo.png").read_bytes())
    (here / os.fsdecode(broken)).write_bytes(b"")
    command = [sys.executable, "-m", "dear_jax", "restore", good, broken]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    ended = subprocess.run(
        [*command, "--scale", "2", *CLASSICAL], capture_output=True, env=environment
    )
    assert ended.returncode == 1 and b"Traceback" not in ended.stderr
    assert b"broken-\\udce9.png: an empty file" in ended.stdout
    assert (here / os.fsdecode(b"\xe9t\xe9-restored.png")).exists()


def test_odd_masks_are_warned_of(restore):
    flags = ("photo.png", "--mask", "mask.png", "--invert-mask", *CLASSICAL)
    status, _, errors = restore(*flags)
    assert status == 0 and "warning: photo.png: " in errors and "%" in errors


def test_a_mask_without_holes_is_warned_of(restore):
    write_photo("black.png", np.zeros_like(read_photo("photo.png")))
    status, _, errors = restore("photo.png", "--mask", "black.png", *CLASSICAL)
    assert status == 0 and "warning: photo.png: nothing of the photo" in errors


def test_a_size_below_the_photos_is_refused_in_widths_by_heights(restore):
    height, width = read_photo("photo.png").shape[:2]
    status, _, errors = restore("photo.png", "--size", f"{width}x1", *CLASSICAL)
    assert status == 2
    assert f"photo.png: is {width} x {height}, and --size {width}x1" in errors


def test_masks_of_a_folder_go_with_their_photos(restore, here):
    for name, top in (("a", 2), ("b", 9), ("sub/a", 15)):
        mask = np.zeros((24, 20), np.uint8)
        mask[top : top + 5, 4:9] = 255
        write_photo(f"masks/{name}.gif", mask)
    flags = ("photos", "--recursive", "--mask", "masks", "-o", "out", *CLASSICAL)
    assert restore(*flags)[0] == 0
    for name in ("a", "sub/a"):
        mask = read_mask(f"masks/{name}.gif")
        expected = classical(read_photo(f"photos/{name}.png"), mask)
        np.testing.assert_array_equal(read(f"out/{name}.png"), expected)


def test_ctrl_c_leaves_what_is_written_whole(restore, here, monkeypatch):
    fill, done = Telea.restore, []

    def interrupted(self, *arguments):
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt
        return fill(self, *arguments)

    monkeypatch.setattr(Telea, "restore", interrupted)
    flags = ("photos", "--recursive", "--scale", "2", "-o", "out", *CLASSICAL)
    status, out, errors = restore(*flags)
    assert (status, out) == (130, "")
    assert errors.splitlines()[-1].startswith("interrupted: ")
    found = sorted(path.name for path in (here / "out").rglob("*") if path.is_file())
    assert found == ["a.png", "b.jpg"]
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert restore(*flags)[1].startswith("1 restored, 2 there already")
