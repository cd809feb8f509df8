"""What `dear restore` pairs with what, before any work."""

import os
from pathlib import Path

import pytest

from dear_jax.cli.jobs import find_jobs
from dear_jax.errors import InputError


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A function that makes empty files in a folder, which is then where we are."""
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


def paired(*arguments, **options) -> dict[str, tuple[str | None, str]]:
    """Photo -> (mask, out) as text."""
    return {
        str(job.photo): (job.mask and str(job.mask), str(job.out))
        for job in find_jobs(*arguments, **options)
    }


def test_a_result_without_a_name_lies_beside_its_photo(files):
    files("a/x.JPG")
    assert paired(["a/x.JPG"]) == {"a/x.JPG": (None, "a/x-restored.JPG")}


def test_formats_of_few_colours_become_png(files):
    files("x.gif", "d/y.gif")
    assert paired(["x.gif"])["x.gif"] == (None, "x-restored.png")
    assert paired(["d"], "out")["d/y.gif"] == (None, "out/y.png")


def test_one_photo_goes_to_a_file_or_a_folder(files):
    files("x.png", "there/z.png")
    assert paired(["x.png"], "new.jpg")["x.png"] == (None, "new.jpg")
    assert paired(["x.png"], "there")["x.png"] == (None, "there/x.png")
    assert paired(["x.png"], "other/")["x.png"] == (None, "other/x.png")


@pytest.mark.parametrize("out", ["new", "new.txt", "new.gif", "new.tar"])
def test_a_file_of_no_format_is_refused(files, out):
    files("x.png")
    with pytest.raises(InputError, match=r"-o new.*end it with .*\.png"):
        find_jobs(["x.png"], out)


@pytest.mark.parametrize("photos", [["d"], ["d/x.png", "y.png"]])
@pytest.mark.parametrize("out", ["new.png", "y.png"])
def test_several_photos_need_a_folder(files, photos, out):
    files("d/x.png", "y.png")
    with pytest.raises(InputError, match="need a folder"):
        find_jobs(photos, out)


def test_a_folder_keeps_names_and_subfolders(files):
    files("d/x.png", "d/sub/x.png", "d/sub/deep/y.webp", "d/notes.txt")
    assert paired(["d"], "out", recursive=True) == {
        "d/x.png": (None, "out/x.png"),
        "d/sub/x.png": (None, "out/sub/x.png"),
        "d/sub/deep/y.webp": (None, "out/sub/deep/y.webp"),
    }
    assert list(paired(["d"], "out")) == ["d/x.png"]


def test_hidden_and_partial_files_are_no_photos(files):
    files("d/x.png", "d/.partial-1-f.png", "d/.thumbs/x.png")
    assert list(paired(["d"], "out", recursive=True)) == ["d/x.png"]


def test_what_earlier_runs_wrote_is_no_photo(files):
    files("d/x.png", "d/y.gif", "d/kept-restored.png")
    before = paired(["d"])
    assert list(before) == ["d/kept-restored.png", "d/x.png", "d/y.gif"]
    written = find_jobs(["d"])
    files(*(str(job.out) for job in written))
    files(*(str(path) for job in written for path in (job.preview, job.importance)))
    assert paired(["d"]) == before


def test_folders_of_results_and_masks_inside_are_passed_over(files):
    files("d/x.png", "d/masks/x.png", "d/masks/newer/x.png", "d/new/x.png")
    files("d/newer/x.png")
    found = paired(["d"], "d/new", "d/masks", recursive=True)
    assert list(found) == ["d/newer/x.png", "d/x.png"]


def test_a_mask_among_the_photos_is_not_one_of_them(files):
    files("d/x.png", "d/mask.png")
    assert paired(["d"], "out", "d/mask.png") == {
        "d/x.png": ("d/mask.png", "out/x.png")
    }


def test_a_folder_of_results_may_hold_the_photos_folder(files):
    files("d/x.png")
    assert paired(["d"], ".") == {"d/x.png": (None, "x.png")}


def test_masks_are_found_by_name_with_any_suffix(files):
    files("d/x.jpg", "d/sub/x.jpg", "m/x.png", "m/sub/x.gif")
    found = paired(["d"], "out", "m", recursive=True)
    assert found["d/x.jpg"][0] == "m/x.png"
    assert found["d/sub/x.jpg"][0] == "m/sub/x.gif"


def test_of_two_masks_that_of_the_same_suffix_is_meant(files):
    files("x.jpg", "y.webp", "m/x.png", "m/x.jpg", "m/y.png", "m/y.jpg")
    assert paired(["x.jpg"], None, "m")["x.jpg"][0] == "m/x.jpg"
    with pytest.raises(InputError, match="y.jpg and y.png could both be"):
        find_jobs(["y.webp"], None, "m")


def test_one_mask_serves_all(files):
    files("d/x.jpg", "d/y.jpg", "m.png")
    assert {mask for mask, _ in paired(["d"], "out", "m.png").values()} == {"m.png"}


def test_all_missing_masks_are_told_at_once(files):
    files(*(f"d/{i}.png" for i in range(9)), "m/0.png")
    with pytest.raises(InputError) as told:
        find_jobs(["d"], "out", "m")
    assert "no mask for 8 of 9 photos (1.png, 2.png" in str(told.value)
    assert "and 3 more" in str(told.value)


@pytest.mark.parametrize(
    "arguments, told",
    [
        ((["none.png"],), "none.png: no such file or folder"),
        ((["x.png"], None, "none"), "--mask none: no such file"),
        ((["empty"],), "empty: holds no photo"),
        ((["above"],), "--recursive"),
        ((["x.png"], None, "x.png"), "its own mask"),
    ],
)
def test_what_is_missing_is_told(files, arguments, told):
    files("x.png", "empty/a.txt", "above/sub/y.png")
    with pytest.raises(InputError, match=told):
        find_jobs(*arguments)


def test_two_photos_never_write_one_file(files):
    files("a/x.png", "b/x.png", "c/y.gif", "c/y.png")
    with pytest.raises(InputError, match="both a/x.png and b/x.png"):
        find_jobs(["a", "b"], "out")
    with pytest.raises(InputError, match="both c/y.gif and c/y.png"):
        find_jobs(["c"], "out")


def test_side_files_count_as_written(files):
    files("d/y.jpg", "d/y.png")
    assert len(find_jobs(["d"], "out")) == 2
    with pytest.raises(InputError, match="y.preview.png: would be written for both"):
        find_jobs(["d"], "out", beside=["preview"])


def test_no_photo_and_no_mask_is_ever_replaced(files):
    files("d/x.png", "y.png", "m/mask.png")
    Path("link.png").symlink_to("y.png")
    for photos, out, mask in [
        (["d"], "d", None),
        (["y.png"], "y.png", None),
        (["y.png"], "./d/../y.png", None),
        (["y.png"], "link.png", None),
        (["y.png"], "m/mask.png", "m/mask.png"),
        (["y.png", "d/x.png"], "d", None),
    ]:
        with pytest.raises(InputError, match="would be replaced"):
            find_jobs(photos, out, mask)
    files("z.preview.png")
    with pytest.raises(InputError, match="z.preview.png: would be replaced"):
        find_jobs(["z.preview.png"], "z.png", beside=["preview"])


def test_a_photo_named_twice_is_done_once(files):
    files("d/x.png")
    assert len(find_jobs(["d", "d/x.png", os.path.abspath("d/x.png")], "out")) == 1


def test_the_order_is_that_of_the_outputs(files):
    files("b/2.png", "a/1.png", "a/3.png")
    names = [job.name for job in find_jobs(["b", "a"], "out")]
    assert names == ["1.png", "2.png", "3.png"]
