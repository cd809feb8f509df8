"""What `dear restore` pairs with what, before any work."""

import os
from pathlib import Path

import pytest
from PIL import Image

from dear_jax.errors import InputError
from dear_jax.workflow.jobs import find_jobs, mark_results


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A function that makes empty files in a folder, which is the current one."""
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> None:
        for path in map(Path, names):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


def outputs(*arguments, **options) -> dict[str, str]:
    """Photo -> output as text."""
    jobs = find_jobs(*arguments, **options).jobs
    return {str(job.photo): str(job.out) for job in jobs}


def masks(*arguments, **options) -> dict[str, str]:
    """Photo -> mask as text."""
    jobs = find_jobs(*arguments, **options).jobs
    return {str(job.photo): str(job.mask) for job in jobs}


def test_a_result_without_a_name_lies_beside_its_photo(files):
    files("a/x.JPG", "x.gif")
    assert outputs(["a/x.JPG"]) == {"a/x.JPG": "a/x-restored.JPG"}
    assert outputs(["x.gif"]) == {"x.gif": "x-restored.png"}  # Of few colours.


def test_one_photo_goes_to_a_file_or_a_folder(files):
    files("x.png", "there/z.png")
    for out, path in (("new.jpg",) * 2, ("there", "there/x.png"), ("o/", "o/x.png")):
        assert outputs(["x.png"], out) == {"x.png": path}


def test_a_folder_keeps_names_and_subfolders(files):
    files("d/x.png", "d/sub/x.gif", "d/sub/deep/y.webp", "d/notes.txt")
    assert outputs(["d"], "out", recursive=True) == {
        "d/x.png": "out/x.png",
        "d/sub/x.gif": "out/sub/x.png",
        "d/sub/deep/y.webp": "out/sub/deep/y.webp",
    }
    assert list(outputs(["d"], "out")) == ["d/x.png"]
    assert outputs(["d"], ".") == {"d/x.png": "x.png"}


def test_the_order_is_that_of_the_outputs(files):
    files("b/2.png", "a/1.png", "a/3.png")
    names = [job.name for job in find_jobs(["b", "a"], "out").jobs]
    assert names == ["1.png", "2.png", "3.png"]


def test_a_photo_named_twice_is_done_once(files):
    files("d/x.png")
    twice = ["d", "d/x.png", os.path.abspath("d/x.png")]
    assert len(find_jobs(twice, "out").jobs) == 1


def test_hidden_and_partial_files_are_no_photos(files):
    files("d/x.png", "d/.partial-1-f.png", "d/.thumbs/x.png")
    assert list(outputs(["d"], "out", recursive=True)) == ["d/x.png"]


def test_what_earlier_runs_wrote_is_no_photo(files):
    files("d/x.png", "d/y.gif", "d/kept-restored.png")
    jobs = find_jobs(["d"]).jobs
    assert [job.name for job in jobs] == ["kept-restored.png", "x.png", "y.gif"]
    for job in jobs:
        files(str(job.out), str(job.preview), str(job.importance))
    assert find_jobs(["d"]).jobs == jobs


def test_folders_of_results_and_masks_inside_are_passed_over(files):
    files("d/x.png", "d/masks/x.png", "d/masks/newer/x.png", "d/new/x.png")
    files("d/newer/x.png")
    found = outputs(["d"], "d/new", "d/masks", recursive=True)
    assert list(found) == ["d/newer/x.png", "d/x.png"]
    files("d/mask.png")
    assert list(outputs(["d"], "out", "d/mask.png")) == ["d/x.png"]


def test_masks_are_found_by_name_with_any_suffix(files):
    files("d/x.jpg", "d/sub/x.jpg", "m/x.png", "m/sub/x.gif")
    assert masks(["d"], "out", "m", recursive=True) == {
        "d/x.jpg": "m/x.png",
        "d/sub/x.jpg": "m/sub/x.gif",
    }
    assert set(masks(["d"], "out", "m/x.png", True).values()) == {"m/x.png"}


def test_of_two_masks_that_of_the_same_suffix_is_meant(files):
    files("x.jpg", "y.webp", "m/x.png", "m/x.jpg", "m/y.png", "m/y.jpg")
    assert masks(["x.jpg"], None, "m") == {"x.jpg": "m/x.jpg"}
    with pytest.raises(InputError, match="y.jpg and y.png could both be"):
        find_jobs(["y.webp"], None, "m")


def test_names_are_found_however_their_accents_are_stored(files):
    files("d/e\u0301te\u0301.png", "m/\u00e9t\u00e9.png", "m/\u00e9t\u00e9.jpg")
    assert masks(["d"], "out", "m") == {"d/e\u0301te\u0301.png": "m/\u00e9t\u00e9.png"}


def test_photos_without_mask_may_be_skipped_kept_or_searched(files):
    files("d/x.png", "d/y.png", "m/x.png")
    skipped = find_jobs(["d"], "out", "m", missing="skip")
    assert [job.name for job in skipped.jobs] == ["x.png"]
    assert skipped.passed_over == ["1 without mask skipped: y.png"]
    for missing in ("none", "auto"):
        found = find_jobs(["d"], "out", "m", missing=missing)
        assert [job.mask for job in found.jobs] == [Path("m/x.png"), None]
        assert [job.find_damage for job in found.jobs] == [False, missing == "auto"]
        assert not found.passed_over
    files("n/z.png")
    with pytest.raises(InputError, match="no mask for any"):
        find_jobs(["d"], "out", "n", missing="skip")


def test_photos_are_known_by_what_they_are_and_the_rest_is_named(files, tmp_path):
    files("d/notes.txt", "d/Thumbs.db", "d/.hidden.txt")
    Image.new("RGB", (4, 4)).save("d/noname", "png")
    Image.new("RGB", (4, 4)).save("d/x.jfif", "jpeg")
    Image.new("L", (4, 4)).save("d/y.pgm", "ppm")
    found = find_jobs(["d"], "out")
    assert [str(job.out) for job in found.jobs] == [
        "out/noname.png", "out/x.jfif", "out/y.png",
    ]  # fmt: skip
    assert found.passed_over == ["2 other files passed over: Thumbs.db, notes.txt"]


def test_results_of_an_earlier_run_are_not_restored_again(files):
    files("d/x.png", "d/done/x.png", "d/done/sub/x.png")
    for folder in ("d/done", "d/done/sub"):
        mark_results(Path(folder))
    found = find_jobs(["d"], "out", recursive=True)
    assert [job.name for job in found.jobs] == ["x.png"]
    (said,) = found.passed_over
    assert said.endswith("d/done: results of an earlier run, passed over")
    assert len(find_jobs(["d/done"], "out").jobs) == 1  # Asked for by name.


def test_all_missing_masks_are_named_at_once(files):
    files(*(f"d/{i}.png" for i in range(9)), "m/0.png")
    with pytest.raises(InputError, match="no mask for 8 of 9 photos") as refusal:
        find_jobs(["d"], "out", "m")
    assert "(1.png, 2.png" in str(refusal.value)
    assert "5.png and 3 more)" in str(refusal.value)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((["none.png"],), "none.png: no such file or folder"),
        ((["x.png"], None, "none"), "--mask none: no such file"),
        ((["empty"],), "empty: holds no photo"),
        ((["above"],), "--recursive"),
        ((["x.png"], None, "x.png"), "its own mask"),
        *(
            ((["x.png"], out), r"-o new.*end it with .*\.png")
            for out in ("new", "new.txt", "new.gif")
        ),
        *(
            ((photos, out), "need a folder")
            for photos in (["above/sub"], ["above/sub", "x.png"])
            for out in ("new.png", "x.png")
        ),
    ],
)
def test_what_does_not_go_together_is_refused(files, arguments, message):
    files("x.png", "empty/a.txt", "above/sub/y.png")
    with pytest.raises(InputError, match=message):
        find_jobs(*arguments)


def test_two_photos_never_write_one_file(files):
    files("a/x.png", "b/x.png", "c/y.gif", "c/y.png", "d/z.jpg", "d/z.png")
    with pytest.raises(InputError, match="both a/x.png and b/x.png"):
        find_jobs(["a", "b"], "out")
    with pytest.raises(InputError, match="both c/y.gif and c/y.png"):
        find_jobs(["c"], "out")
    assert len(find_jobs(["d"], "out").jobs) == 2
    with pytest.raises(InputError, match="z.preview.png: would be written for both"):
        find_jobs(["d"], "out", beside=["preview"])


def test_no_photo_and_no_mask_is_ever_replaced(files):
    files("d/x.png", "y.png", "m/mask.png", "z.preview.png")
    Path("link.png").symlink_to("y.png")
    for photos, out, mask, *beside in [
        (["d"], "d", None),
        (["y.png"], "y.png", None),
        (["y.png"], "./d/../y.png", None),
        (["y.png"], "link.png", None),
        (["y.png"], "m/mask.png", "m/mask.png"),
        (["y.png", "d/x.png"], "d", None),
        (["z.preview.png"], "z.png", None, "preview"),
    ]:
        with pytest.raises(InputError, match="would be replaced"):
            find_jobs(photos, out, mask, beside=beside)
