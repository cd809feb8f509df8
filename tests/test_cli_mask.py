"""`dear mask`, and `dear restore --mask auto`: damage that nobody has to paint."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dear_jax
from dear_jax.cli.main import main
from dear_jax.evaluation.protocol_damage import open_pairs
from dear_jax.images.io import read_image, write_photo
from dear_jax.images.masks import read_mask
from dear_jax.inference.damage import bundled_detector

CLASSICAL = ("--model", "telea+bicubic")
PAIRS = open_pairs("bundled", "drawn", 3)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    """Damaged photos, small ones."""
    return [PAIRS[i].image[:96, :80] for i in range(len(PAIRS))]


@pytest.fixture
def dear(tmp_path, monkeypatch, capsys, photos):
    """A function that runs `dear`: (status, output, errors), beside some photos."""
    monkeypatch.chdir(tmp_path)
    for number, photo in enumerate(photos):
        write_photo(f"scans/{number}.png", photo)
    write_photo("photo.png", photos[0])

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main([*arguments])
        return status, *capsys.readouterr()

    return run


def test_the_mask_of_dear_mask_gives_what_auto_gives(dear):
    auto = "photo.png", "--mask", "auto", "--scale", "1.5", *CLASSICAL
    assert dear("restore", *auto, "-o", "auto.png")[0] == 0
    assert dear("mask", "photo.png")[0] == 0
    given = "photo.png", "--mask", "photo-mask.png", "--scale", "1.5", *CLASSICAL
    assert dear("restore", *given, "-o", "given.png")[0] == 0
    assert (read_image("auto.png").image == read_image("given.png").image).all()


def test_a_mask_is_what_python_finds(dear, photos):
    status, out, _ = dear("mask", "photo.png", "--sensitivity", "0.7", "--dilate", "2")
    found = dear_jax.load("classical").find_damage(photos[0], 0.7, dilate=2)
    assert status == 0 and f"damage in {found.mean():.1%}" in out
    assert (read_mask("photo-mask.png") == found).all()


def test_probability_is_what_masks_are_made_of(photos):
    restorer = dear_jax.load("classical")
    found = restorer.damage_probability(photos[0])
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    middle = float(np.median(found[found > 0.2]))  # Of 1 / (1 + exp(8 s - 6.2)).
    sensitivity = (6.2 - np.log(middle / (1 - middle))) / 8
    mask = restorer.find_damage(photos[0], sensitivity, 0)
    assert (mask == (found >= middle)).mean() > 0.999


def test_folders_have_masks_and_previews(dear):
    status, out, _ = dear("mask", "scans", "-o", "masks/", "--preview")
    assert status == 0 and "3 searched, 0 there already, 0 failed" in out
    assert dear("mask", "scans", "-o", "masks/")[1].startswith("0 searched, 3 there")
    assert Image.open("masks/0.preview.png").size[0] > 160
    given = "scans", "--mask", "masks", "-o", "out", *CLASSICAL
    assert dear("restore", *given)[0] == 0
    assert sorted(path.name for path in Path("out").glob("[!.]*")) == [
        f"{number}.png" for number in range(3)
    ]


def test_a_folder_is_restored_with_the_damage_found_in_it(dear, photos):
    status, out, errors = dear(
        "restore", "scans", "--mask", "auto", "--preview", "-o", "out", *CLASSICAL
    )
    assert status == 0, errors
    assert out.count("damage found in") + errors.count("damage found in") == 3
    found = bundled_detector().find(photos[1])
    result = read_image("out/1.png").image
    assert found.any() and (result[~found] == photos[1][~found]).all()
    assert (result[found] != photos[1][found]).any()


def test_what_is_found_joins_what_is_marked(dear, photos):
    box = ("--box", "10,10,20,20", "--scale", "1", *CLASSICAL)
    assert dear("restore", "photo.png", *box, "--mask", "auto")[0] == 0
    found = bundled_detector().find(photos[0])
    found[10:30, 10:30] = True
    write_photo("both.png", found.astype(np.uint8) * 255)
    both = "photo.png", "--mask", "both.png", "-o", "both-restored.png", *CLASSICAL
    assert dear("restore", *both)[0] == 0
    restored = [read_image(f"{n}-restored.png").image for n in ("photo", "both")]
    assert (restored[0] == restored[1]).all()


def test_masks_and_their_previews_are_no_photos(dear):
    assert dear("mask", "scans", "--preview")[0] == 0
    assert "3 restored" in dear("restore", "scans", "--scale", "1.2", *CLASSICAL)[1]


@pytest.mark.parametrize("kind", ["L", "I;16", "RGBA", "tiny"])
def test_photos_of_all_kinds_are_searched(dear, photos, kind):
    grey = Image.fromarray(photos[0]).convert("L")
    if kind == "L":
        grey.save("x.png")
    elif kind == "I;16":
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save("x.png")
    elif kind == "RGBA":
        Image.fromarray(photos[0]).convert("RGBA").save("x.png")
    else:
        grey.crop((0, 0, 1, 3)).save("x.png")
    assert dear("mask", "x.png")[0] == 0
    mask, size = read_mask("x-mask.png"), Image.open("x.png").size
    assert mask.shape == size[::-1]
    if kind == "I;16":
        eight = bundled_detector().find(np.repeat(np.asarray(grey)[..., None], 3, -1))
        assert (mask == eight).mean() > 0.999


def test_a_photo_without_damage_says_so(dear):
    write_photo("plain.png", np.full((64, 64, 3), 90, np.uint8))
    _, out, errors = dear("mask", "plain.png")
    assert "warning: plain.png: no damage found" in out + errors
    assert not read_mask("plain-mask.png").any()


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "restore photo.png --mask a.png --mask b.png",
            "--mask a.png and --mask b.png",
        ),
        ("restore photo.png --mask a.png --box 1,1,2,2", "--mask a.png and --box"),
        ("restore photo.png --mask auto --sensitivity 2", "--sensitivity 2"),
        ("restore photo.png --scale 2 --sensitivity 0.4", "goes with --mask auto"),
        ("restore photo.png --mask auto --invert-mask", "nothing to invert"),
        ("mask photo.png --sensitivity x", "--sensitivity x"),
        ("mask photo.png --dilate -1", "--dilate -1"),
        ("mask photo.png -o mask.jpg", "end it with .png"),
        ("mask nothing.png", "nothing.png: no such file"),
    ],
)
def test_a_mistake_is_one_line(dear, line, message):
    status, _, errors = dear(*line.split())
    assert status == 2 and message in errors and errors.count("\n") == 1
