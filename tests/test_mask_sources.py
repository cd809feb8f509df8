"""Laws of masks: all sources agree, mistakes are refused, odd masks remarked."""

import re
from pathlib import Path

import numpy as np
import pytest
from image_files import PIXELS, refusal, saved
from PIL import Image

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.images.io import (
    ImageFile,
    list_photos,
    read_image,
    read_photo,
    write_photo,
)
from dear_jax.images.masks import (
    dilated,
    find_mask,
    mask_remarks,
    parse_box,
    parse_colour,
    read_mask,
)
from dear_jax.images.metadata import Metadata

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
MASKS = Path(__file__).parents[2] / "shared" / "data" / "masks" / "test"
MAGENTA = (255, 0, 255)


@pytest.fixture
def picture():
    """30 wide and 20 high, nowhere magenta."""
    pixels = np.random.default_rng(0).integers(0, 250, (20, 30, 3), np.uint8)
    return ImageFile(pixels)


@pytest.fixture
def mask():
    return np.random.default_rng(1).random((20, 30)) < 0.3


def write_mask(path, mask):
    write_photo(path, mask.astype(np.uint8) * 255)
    return path


def sixteen(picture: ImageFile) -> ImageFile:
    return ImageFile(picture.pixels.astype(np.uint16) * 257)


def test_without_a_source_nothing_is_missing(picture):
    found = find_mask(picture)
    assert found.shape == (20, 30) and found.dtype == bool and not found.any()


def test_file_colour_and_transparency_say_the_same(picture, mask, tmp_path):
    path = write_mask(tmp_path / "m.png", mask)
    painted = np.where(mask[..., None], np.uint8(MAGENTA), picture.pixels)
    clear = np.where(mask, np.uint8(127), np.uint8(128))
    for found in (
        find_mask(picture, path),
        find_mask(ImageFile(painted), colour=MAGENTA),
        find_mask(sixteen(ImageFile(painted)), colour=MAGENTA),
        find_mask(ImageFile(picture.pixels, clear), alpha=True),
        find_mask(ImageFile(picture.pixels, clear.astype(np.uint16) * 257), alpha=True),
    ):
        np.testing.assert_array_equal(found, mask)


def test_colours_are_met_within_the_tolerance_of_the_file(picture):
    pixels = np.zeros((1, 4, 3), np.uint8)
    pixels[0] = [(100, 0, 0), (102, 2, 0), (103, 0, 0), (100, 0, 33)]
    exact = find_mask(ImageFile(pixels), colour=(100, 0, 0))
    assert exact.tolist() == [[True, True, False, False]]
    lossy = ImageFile(pixels, format="JPEG", metadata=Metadata(lossy=True))
    said = []
    found = find_mask(lossy, colour=(100, 0, 0), warn=said.append)
    assert found.tolist() == [[True, True, True, False]]
    assert said == ["its file blends colours around holes; --dilate 4 covers them"]


def test_jpeg_keeps_painted_holes_findable(tmp_path):
    pixels = read_photo(bundled.PHOTOS / "coffee.png")[:96, :96]
    holes = np.zeros((96, 96), bool)
    holes[20:60, 30:50] = holes[70:74] = True
    painted = np.where(holes[..., None], np.uint8(MAGENTA), pixels)
    Image.fromarray(painted).save(tmp_path / "p.jpg", quality=75)
    read = read_image(tmp_path / "p.jpg")
    found = find_mask(read, colour=MAGENTA, dilate=2)
    assert found[holes].mean() > 0.995 and not found[~dilated(holes, 4)].any()


def test_the_dilation_advised_leaves_no_paint_in_jpeg(tmp_path):
    pixels = read_photo(bundled.PHOTOS / "coffee.png")[:96, :96]
    holes = np.zeros((96, 96), bool)
    holes[21:59, 31:50] = holes[71:74] = True
    painted = np.where(holes[..., None], np.uint8(MAGENTA), pixels)
    for name, each in (("painted", painted), ("plain", pixels)):
        Image.fromarray(each).save(tmp_path / f"{name}.jpg", quality=85)
    picture = read_image(tmp_path / "painted.jpg")
    plain = read_image(tmp_path / "plain.jpg").pixels.astype(int)
    said = []
    find_mask(picture, colour=MAGENTA, warn=said.append)
    advised = int(re.search(r"--dilate (\d+)", said[0])[1])
    found = find_mask(picture, colour=MAGENTA, dilate=advised, warn=said.append)
    assert len(said) == 1
    near = dilated(holes, 6) & ~found
    off = np.abs(picture.pixels.astype(int) - plain).max(-1)[near]
    assert np.mean(off > 24) < 0.05


def test_a_colour_that_is_nowhere_is_remarked(picture):
    said = []
    assert not find_mask(picture, colour=MAGENTA, warn=said.append).any()
    assert said == ["no pixel has the colour #ff00ff"]


def test_a_source_that_marks_nothing_is_remarked(picture, tmp_path):
    black = write_mask(tmp_path / "black.png", np.zeros((20, 30), bool))
    white = write_mask(tmp_path / "white.png", np.ones((20, 30), bool))
    opaque = ImageFile(picture.pixels, np.full((20, 30), 255, np.uint8))
    for photo_, source in (
        (picture, {"mask_path": black}),
        (picture, {"mask_path": white, "invert": True}),
        (opaque, {"alpha": True}),
    ):
        said = []
        assert not find_mask(photo_, **source, warn=said.append).any()
        assert said == ["nothing of the photo is marked as missing"]
    said = []
    find_mask(picture, warn=said.append)
    find_mask(picture, white, warn=said.append)
    assert said == []


def test_boxes_are_cut_at_the_border_and_add_up(picture):
    found = find_mask(picture, box=[(-5, -5, 8, 7), (28, 18, 100, 100)])
    expected = np.zeros((20, 30), bool)
    expected[:2, :3] = expected[18:, 28:] = True
    np.testing.assert_array_equal(found, expected)
    one = find_mask(picture, box=(28, 18, 100, 100))
    np.testing.assert_array_equal(one, expected & (np.arange(30) > 3))


@pytest.mark.parametrize("box", [(30, 0, 5, 5), (0, 20, 5, 5), (-5, 0, 5, 5)])
def test_a_box_beside_the_photo_is_refused(picture, box):
    with pytest.raises(InputError, match="covers no pixel .* 30 x 20"):
        find_mask(picture, box=[(0, 0, 2, 2), box])


def test_inverting_swaps_what_is_missing(picture):
    box = (3, 4, 5, 6)
    swapped = find_mask(picture, box=box, invert=True)
    np.testing.assert_array_equal(swapped, ~find_mask(picture, box=box))


def test_a_mask_of_another_size_and_the_same_shape_is_resized(picture, tmp_path):
    large = np.zeros((40, 60), bool)
    large[10:20, 20:40] = True
    said = []
    path = write_mask(tmp_path / "m.png", large)
    found = find_mask(picture, path, warn=said.append)
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
        find_mask(picture, path)


def test_sources_that_make_no_sense_are_refused(picture):
    with pytest.raises(InputError, match="give one of them"):
        find_mask(picture, box=(0, 0, 2, 2), alpha=True)
    with pytest.raises(InputError, match="no transparency"):
        find_mask(picture, alpha=True)
    with pytest.raises(InputError, match="^invert: nothing says"):
        find_mask(picture, invert=True)
    with pytest.raises(InputError, match="^dilate=3: nothing says"):
        find_mask(picture, dilate=3)
    with pytest.raises(InputError, match="dilate=-1"):
        find_mask(picture, box=(0, 0, 2, 2), dilate=-1)


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 13])
def test_dilation_adds_disks(radius):
    mask = np.random.default_rng(radius).random((24, 31)) < 0.01
    places = np.stack(np.indices(mask.shape), -1)
    squares = ((places[:, :, None] - np.argwhere(mask)) ** 2).sum(-1)
    expected = (squares <= radius**2).any(-1)
    np.testing.assert_array_equal(dilated(mask, radius), expected)
    assert not dilated(np.zeros((5, 6), bool), radius).any()


def test_dilation_comes_after_inversion(picture):
    inner = (5, 5, 20, 10)
    found = find_mask(picture, box=inner, invert=True, dilate=2)
    around = ~find_mask(picture, box=inner)
    np.testing.assert_array_equal(found, dilated(around, 2))


def test_boxes_and_colours_are_parsed():
    assert parse_box("10,20,64,48") == (10, 20, 64, 48)
    assert parse_box(" -3, 0 ,5,7 ") == (-3, 0, 5, 7)
    assert parse_colour("#ff00ff") == parse_colour("#f0f") == MAGENTA
    assert parse_colour("Magenta") == parse_colour(" #ff00ff80 ") == MAGENTA


@pytest.mark.parametrize(
    "parse, texts, remedy",
    [
        (parse_box, ["", "1,2,3", "1,2,3,4,5", "a,2,3,4", "1.5,2,3,4"], "10,20,64,48"),
        (parse_box, ["1,2,0,5"], "0 x 5 is empty"),
        (parse_colour, ["", "ff00ff", "#ff00f", "no colour"], "'#ff00ff' or by name"),
    ],
)
def test_what_is_no_box_and_no_colour_is_refused(parse, texts, remedy):
    for text in texts:
        with pytest.raises(InputError, match=remedy):
            parse(text)


def test_usual_masks_are_not_remarked(picture, mask):
    assert mask_remarks(mask, picture) == []
    assert mask_remarks(np.zeros((20, 30), bool), picture) == []


def test_much_that_is_missing_is_remarked(picture):
    mask = np.zeros((20, 30), bool)
    mask[1:-1, 1:-1] = True
    (remark,) = mask_remarks(mask, picture)
    assert remark.startswith("84 % of the photo is missing, too much")
    assert "--invert-mask" in remark
    assert mask_remarks(np.ones((20, 30), bool), picture)[0].startswith(
        "all of the photo"
    )


def test_a_known_island_looks_inverted(picture):
    mask = np.ones((20, 30), bool)
    mask[3:-3, 4:-4] = False
    assert mask.mean() < 0.6
    (remark,) = mask_remarks(mask, picture)
    assert remark.startswith(
        "the mask looks inverted: nearly all of the photo's border"
    )
    assert mask_remarks(~mask, picture) == []


@pytest.mark.parametrize("deep", [False, True])
def test_known_pixels_of_one_colour_look_inverted(picture, mask, deep):
    painted = ImageFile(np.where(mask[..., None], np.uint8(255), picture.pixels))
    if deep:
        painted = sixteen(painted)
    assert mask_remarks(mask, painted) == []
    (remark,) = mask_remarks(~mask, painted)
    assert "one colour" in remark and remark.startswith("70 %")
    small = np.zeros((20, 30), bool)
    small[:10] = True
    painted.pixels[:10] = 0
    assert mask_remarks(small, painted) == []
    assert "one colour" in mask_remarks(~small, painted)[0]


def test_a_plain_photo_tells_nothing(mask):
    assert mask_remarks(mask, ImageFile(np.full((20, 30, 3), 128, np.uint8))) == []


@pytest.mark.parametrize("folder", [bundled.MASKS, MASKS])
def test_masks_of_photos_are_not_remarked_and_their_opposites_are(folder):
    if not folder.is_dir():
        pytest.skip("no such masks here")
    rng = np.random.default_rng(0)
    picture = ImageFile(rng.integers(0, 256, (64, 64, 3), np.uint8))
    opposites = 0
    paths = list_photos(folder)[::8] if folder == MASKS else None
    paths = paths or list_photos(folder)
    for path in paths:
        mask = find_mask(picture, path)
        assert mask_remarks(mask, picture) == [] or mask.mean() > 0.6
        if mask.mean() < 0.4:
            assert any("--invert-mask" in r for r in mask_remarks(~mask, picture))
            opposites += 1
    assert opposites > len(paths) // 2


# Files of masks


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(GREY > 127),
        Image.fromarray(GREY),
        Image.fromarray(GREY).convert("P"),
        Image.fromarray(GREY).convert("RGB"),
        Image.fromarray(GREY).convert("RGBA"),
        Image.fromarray(GREY.astype(np.uint16) << 8),
    ],
    ids=["1-bit", "grey", "palette", "RGB", "RGBA", "16-bit"],
)
def test_in_masks_of_any_mode_the_lighter_half_is_missing(image, tmp_path):
    read = read_mask(saved(tmp_path, image))
    assert read.dtype == bool
    np.testing.assert_array_equal(read, GREY > 127)


def test_masks_of_floats_split_at_one_half(tmp_path):
    values = np.array([[0, 0.4, 0.6, 1]], np.float32)
    read = read_mask(saved(tmp_path, values, "x.tif"))
    assert read.tolist() == [[False, False, True, True]]


def test_grey_masks_survive_jpeg(tmp_path):
    mask = np.kron(RNG.random((4, 4)) < 0.5, np.ones((16, 16))).astype(bool)
    colours = np.repeat(mask[..., None], 3, -1) * np.uint8(255)
    read = read_mask(saved(tmp_path, colours, "x.jpg", quality=30))
    np.testing.assert_array_equal(read, mask)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@pytest.mark.parametrize("value", [0, 255])
def test_masks_without_a_hole_and_with_nothing_else_are_read(mode, value, tmp_path):
    path = saved(tmp_path, Image.new("L", (3, 2), value).convert(mode))
    assert (read_mask(path) == bool(value)).all()


def test_what_is_transparent_in_a_mask_is_not_missing(tmp_path):
    grey = np.array([[255, 255, 0, 0]], np.uint8)
    alpha = np.array([[255, 0, 255, 0]], np.uint8)
    mask = Image.fromarray(np.dstack([grey, alpha]), "LA")
    for image in (mask, mask.convert("RGBA")):
        read = read_mask(saved(tmp_path, image))
        assert read.tolist() == [[True, False, False, False]]


@pytest.mark.parametrize("paint", [(0, 0, 0), (255, 255, 255)])
def test_masks_of_transparency_alone_are_refused(paint, tmp_path):
    image = Image.new("RGBA", (4, 4), (*paint, 255))
    image.putpixel((1, 2), (*paint, 0))
    message = refusal(read_mask, saved(tmp_path, image))
    assert "only its transparency varies" in message and "white where" in message


def test_coloured_masks_are_refused(tmp_path):
    red = Image.new("RGB", (4, 4))
    red.putpixel((1, 2), (255, 0, 0))
    for image in (red, red.convert("P"), Image.fromarray(PIXELS)):
        message = refusal(read_mask, saved(tmp_path, image))
        assert "has colours; save a mask as white" in message


def test_masks_of_zeros_and_ones_are_refused(tmp_path):
    ones = (GREY > 127).astype(np.uint8)
    assert "save white as 255" in refusal(read_mask, saved(tmp_path, ones))
    deep = saved(tmp_path, ones.astype(np.uint16))
    assert "save it with 8 bits" in refusal(read_mask, deep)
