"""Laws of holes: every source says the same, mistakes are told, odd masks remarked."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.images import photo
from dear_jax.images.masks import dilated, hole_mask, parse_box, parse_colour, remarks
from dear_jax.images.picture import Kept, Picture
from dear_jax.images.reading import read_picture

MASKS = Path(__file__).parents[2] / "shared" / "data" / "masks" / "test"
MAGENTA = (255, 0, 255)


@pytest.fixture
def picture():
    """30 wide and 20 high, nowhere magenta."""
    pixels = np.random.default_rng(0).integers(0, 250, (20, 30, 3), np.uint8)
    return Picture(pixels)


@pytest.fixture
def mask():
    return np.random.default_rng(1).random((20, 30)) < 0.3


def write_mask(path, mask):
    photo.write_photo(path, mask.astype(np.uint8) * 255)
    return path


def sixteen(picture: Picture) -> Picture:
    return Picture(picture.pixels.astype(np.uint16) * 257)


def test_without_a_source_nothing_is_missing(picture):
    found = hole_mask(picture)
    assert found.shape == (20, 30) and found.dtype == bool and not found.any()


def test_file_colour_and_transparency_say_the_same(picture, mask, tmp_path):
    path = write_mask(tmp_path / "m.png", mask)
    painted = np.where(mask[..., None], np.uint8(MAGENTA), picture.pixels)
    clear = np.where(mask, np.uint8(127), np.uint8(128))
    for found in (
        hole_mask(picture, path),
        hole_mask(Picture(painted), colour=MAGENTA),
        hole_mask(sixteen(Picture(painted)), colour=MAGENTA),
        hole_mask(Picture(picture.pixels, clear), alpha=True),
        hole_mask(Picture(picture.pixels, clear.astype(np.uint16) * 257), alpha=True),
    ):
        np.testing.assert_array_equal(found, mask)


def test_colours_are_met_within_the_tolerance_of_the_file(picture):
    pixels = np.zeros((1, 4, 3), np.uint8)
    pixels[0] = [(100, 0, 0), (102, 2, 0), (103, 0, 0), (100, 0, 33)]
    exact = hole_mask(Picture(pixels), colour=(100, 0, 0))
    assert exact.tolist() == [[True, True, False, False]]
    lossy = Picture(pixels, format="JPEG", kept=Kept(lossy=True))
    said = []
    found = hole_mask(lossy, colour=(100, 0, 0), say=said.append)
    assert found.tolist() == [[True, True, True, False]]
    assert said == ["its file blends colours around holes; --dilate 4 covers them"]


def test_jpeg_keeps_painted_holes_findable(tmp_path):
    pixels = photo.read_photo(bundled.PHOTOS / "coffee.png")[:96, :96]
    holes = np.zeros((96, 96), bool)
    holes[20:60, 30:50] = holes[70:74] = True
    painted = np.where(holes[..., None], np.uint8(MAGENTA), pixels)
    Image.fromarray(painted).save(tmp_path / "p.jpg", quality=75)
    read = read_picture(tmp_path / "p.jpg")
    found = hole_mask(read, colour=MAGENTA, dilate=2)
    assert found[holes].mean() > 0.995 and not found[~dilated(holes, 4)].any()


def test_the_dilation_advised_leaves_no_paint_in_jpeg(tmp_path):
    pixels = photo.read_photo(bundled.PHOTOS / "coffee.png")[:96, :96]
    holes = np.zeros((96, 96), bool)
    holes[21:59, 31:50] = holes[71:74] = True
    painted = np.where(holes[..., None], np.uint8(MAGENTA), pixels)
    for name, each in (("painted", painted), ("plain", pixels)):
        Image.fromarray(each).save(tmp_path / f"{name}.jpg", quality=85)
    picture = read_picture(tmp_path / "painted.jpg")
    plain = read_picture(tmp_path / "plain.jpg").pixels.astype(int)
    said = []
    hole_mask(picture, colour=MAGENTA, say=said.append)
    advised = int(re.search(r"--dilate (\d+)", said[0])[1])
    found = hole_mask(picture, colour=MAGENTA, dilate=advised, say=said.append)
    assert len(said) == 1
    near = dilated(holes, 6) & ~found
    off = np.abs(picture.pixels.astype(int) - plain).max(-1)[near]
    assert np.mean(off > 24) < 0.05


def test_a_colour_that_is_nowhere_is_remarked(picture):
    said = []
    assert not hole_mask(picture, colour=MAGENTA, say=said.append).any()
    assert said == ["no pixel has the colour #ff00ff"]


def test_a_source_that_marks_nothing_is_remarked(picture, tmp_path):
    black = write_mask(tmp_path / "black.png", np.zeros((20, 30), bool))
    white = write_mask(tmp_path / "white.png", np.ones((20, 30), bool))
    opaque = Picture(picture.pixels, np.full((20, 30), 255, np.uint8))
    for photo_, source in (
        (picture, {"mask_path": black}),
        (picture, {"mask_path": white, "invert": True}),
        (opaque, {"alpha": True}),
    ):
        said = []
        assert not hole_mask(photo_, **source, say=said.append).any()
        assert said == ["nothing of the photo is marked as missing"]
    said = []
    hole_mask(picture, say=said.append)
    hole_mask(picture, white, say=said.append)
    assert said == []


def test_boxes_are_cut_at_the_border_and_add_up(picture):
    found = hole_mask(picture, box=[(-5, -5, 8, 7), (28, 18, 100, 100)])
    expected = np.zeros((20, 30), bool)
    expected[:2, :3] = expected[18:, 28:] = True
    np.testing.assert_array_equal(found, expected)
    one = hole_mask(picture, box=(28, 18, 100, 100))
    np.testing.assert_array_equal(one, expected & (np.arange(30) > 3))


@pytest.mark.parametrize("box", [(30, 0, 5, 5), (0, 20, 5, 5), (-5, 0, 5, 5)])
def test_a_box_beside_the_photo_is_refused(picture, box):
    with pytest.raises(InputError, match="covers no pixel .* 30 x 20"):
        hole_mask(picture, box=[(0, 0, 2, 2), box])


def test_inverting_swaps_what_is_missing(picture):
    box = (3, 4, 5, 6)
    swapped = hole_mask(picture, box=box, invert=True)
    np.testing.assert_array_equal(swapped, ~hole_mask(picture, box=box))


def test_a_mask_of_another_size_and_the_same_shape_is_resized(picture, tmp_path):
    large = np.zeros((40, 60), bool)
    large[10:20, 20:40] = True
    said = []
    path = write_mask(tmp_path / "m.png", large)
    found = hole_mask(picture, path, say=said.append)
    np.testing.assert_array_equal(found, large[::2, ::2])
    assert said == [
        "the mask is 60 x 40, the photo 30 x 20: resized to it by nearest neighbour"
    ]


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [((20, 31), "of the photo's size"), ((30, 20), "turn it"), ((1, 1), "give a mask")],
)
def test_a_mask_of_another_shape_is_refused(picture, tmp_path, shape, remedy):
    path = write_mask(tmp_path / "m.png", np.zeros(shape, bool))
    with pytest.raises(InputError, match=f"m.png: .*photo 30 x 20.*{remedy}"):
        hole_mask(picture, path)


def test_sources_that_make_no_sense_are_refused(picture):
    with pytest.raises(InputError, match="give one of them"):
        hole_mask(picture, box=(0, 0, 2, 2), alpha=True)
    with pytest.raises(InputError, match="no transparency"):
        hole_mask(picture, alpha=True)
    with pytest.raises(InputError, match="^invert: nothing says"):
        hole_mask(picture, invert=True)
    with pytest.raises(InputError, match="^dilate=3: nothing says"):
        hole_mask(picture, dilate=3)
    with pytest.raises(InputError, match="dilate=-1"):
        hole_mask(picture, box=(0, 0, 2, 2), dilate=-1)


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 13])
def test_dilation_adds_disks(radius):
    mask = np.random.default_rng(radius).random((24, 31)) < 0.01
    places = np.stack(np.indices(mask.shape), -1)
    squares = ((places[:, :, None] - np.argwhere(mask)) ** 2).sum(-1)
    expected = (squares <= radius**2).any(-1)
    np.testing.assert_array_equal(dilated(mask, radius), expected)


def test_dilation_of_nothing_is_nothing():
    assert not dilated(np.zeros((5, 6), bool), 3).any()


def test_dilation_comes_after_inversion(picture):
    inner = (5, 5, 20, 10)
    found = hole_mask(picture, box=inner, invert=True, dilate=2)
    around = ~hole_mask(picture, box=inner)
    np.testing.assert_array_equal(found, dilated(around, 2))


def test_boxes_and_colours_are_parsed():
    assert parse_box("10,20,64,48") == (10, 20, 64, 48)
    assert parse_box(" -3, 0 ,5,7 ") == (-3, 0, 5, 7)
    assert parse_colour("#ff00ff") == parse_colour("#f0f") == MAGENTA
    assert parse_colour("Magenta") == parse_colour(" #ff00ff80 ") == MAGENTA


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,2,3,4", "1.5,2,3,4"])
def test_what_is_no_box_is_refused(text):
    with pytest.raises(InputError, match="10,20,64,48"):
        parse_box(text)


def test_empty_boxes_are_refused():
    with pytest.raises(InputError, match="0 x 5 is empty"):
        parse_box("1,2,0,5")


@pytest.mark.parametrize("text", ["", "ff00ff", "#ff00f", "no colour"])
def test_what_is_no_colour_is_refused(text):
    with pytest.raises(InputError, match="'#ff00ff' or by name"):
        parse_colour(text)


def test_usual_masks_are_not_remarked(picture, mask):
    assert remarks(mask, picture) == []
    assert remarks(np.zeros((20, 30), bool), picture) == []


def test_much_that_is_missing_is_remarked(picture):
    mask = np.zeros((20, 30), bool)
    mask[1:-1, 1:-1] = True
    (remark,) = remarks(mask, picture)
    assert remark.startswith("84 % of the photo is missing, too much")
    assert "--invert-mask" in remark
    assert remarks(np.ones((20, 30), bool), picture)[0].startswith("all of the photo")


def test_a_known_island_looks_inverted(picture):
    mask = np.ones((20, 30), bool)
    mask[3:-3, 4:-4] = False
    assert mask.mean() < 0.6
    (remark,) = remarks(mask, picture)
    assert remark.startswith(
        "the mask looks inverted: nearly all of the photo's border"
    )
    assert remarks(~mask, picture) == []


@pytest.mark.parametrize("deep", [False, True])
def test_known_pixels_of_one_colour_look_inverted(picture, mask, deep):
    painted = Picture(np.where(mask[..., None], np.uint8(255), picture.pixels))
    if deep:
        painted = sixteen(painted)
    assert remarks(mask, painted) == []
    (remark,) = remarks(~mask, painted)
    assert "one colour" in remark and remark.startswith("70 %")
    small = np.zeros((20, 30), bool)
    small[:10] = True
    painted.pixels[:10] = 0
    assert remarks(small, painted) == []
    assert "one colour" in remarks(~small, painted)[0]


def test_a_plain_photo_tells_nothing(mask):
    assert remarks(mask, Picture(np.full((20, 30, 3), 128, np.uint8))) == []


@pytest.mark.parametrize("folder", [bundled.MASKS, MASKS])
def test_masks_of_photos_are_not_remarked_and_their_opposites_are(folder):
    if not folder.is_dir():
        pytest.skip("no such masks here")
    rng = np.random.default_rng(0)
    picture = Picture(rng.integers(0, 256, (64, 64, 3), np.uint8))
    opposites = 0
    paths = photo.list_photos(folder)[::8] if folder == MASKS else None
    paths = paths or photo.list_photos(folder)
    for path in paths:
        mask = hole_mask(picture, path)
        assert remarks(mask, picture) == [] or mask.mean() > 0.6
        if mask.mean() < 0.4:
            assert any("--invert-mask" in r for r in remarks(~mask, picture))
            opposites += 1
    assert opposites > len(paths) // 2
