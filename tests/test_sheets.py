"""Laws of sheets, previews and figures: what stands where, and what is enlarged."""

import numpy as np
import pytest
from tiny import tiny_config

from dear_jax.errors import InputError
from dear_jax.evaluation import figures, sheets
from dear_jax.evaluation.examples import examples_sheet, outlined
from dear_jax.evaluation.figures import Example, Stages
from dear_jax.evaluation.protocol import Sample
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.sheets import HOLE_COLOUR, draw_preview, preview_sheet
from dear_jax.evaluation.zoom import COLOURS, Box, enlarged, with_boxes, zoom_boxes
from dear_jax.images import resize
from dear_jax.images.io import read_photo


def noise(size=(48, 48), seed=0):
    return np.random.default_rng(seed).integers(0, 200, (*size, 3), np.uint8)


def flat(colour, size=(48, 48)):
    return np.full((*size, 3), colour, np.uint8)


def places(drawn, colour):
    """Corners (top, left) of the first and last pixel of a colour."""
    rows, columns = np.nonzero((drawn == np.array(colour, np.uint8)).all(-1))
    assert rows.size, f"{colour} is not in the sheet"
    return (rows.min(), columns.min()), (rows.max(), columns.max())


def extent(drawn, colour):
    """First and last row, first and last column, of pixels of a colour."""
    (top, left), (bottom, right) = places(drawn, colour)
    return top, bottom, left, right


def test_sheet_grows_by_one_cell_and_gap_per_picture():
    tile, cell, gap = np.full((4, 8, 3), 200, np.uint8), 64, 2
    small = sheets.contact_sheet([[tile]], ["a"], cell=cell)
    large = sheets.contact_sheet([[tile] * 3] * 2, ["a", "b", "c"], cell=cell)
    grown = np.array(large.shape) - small.shape
    assert grown.tolist() == [cell + gap, 2 * (cell + gap), 0]
    assert large.dtype == np.uint8 and (large[0] == 255).all()
    # A 4 x 8 picture is enlarged to 32 x 64 in its cell.
    assert (small == 200).all(-1).sum() == 32 * 64


def test_sheet_enlarges_with_nearest_neighbour_and_refuses_rows_without_titles():
    board = np.indices((8, 8)).sum(0) % 2 * 200
    tile = np.repeat(board[..., None], 3, -1).astype(np.uint8)
    drawn = sheets.contact_sheet([[tile]], [""], cell=64)
    assert set(np.unique(drawn)) == {0, 200, 255}
    with pytest.raises(ValueError, match="row 0 has 1 pictures for 2 titles"):
        sheets.contact_sheet([[tile]], ["a", "b"])


def test_show_mask_paints_holes_and_nothing_else():
    image = np.random.default_rng(0).integers(0, 200, (6, 5, 3), np.uint8)
    mask = np.random.default_rng(1).random((6, 5)) < 0.5
    shown = sheets.show_mask(image, mask)
    assert (shown[mask] == sheets.HOLE_COLOUR).all()
    np.testing.assert_array_equal(shown[~mask], image[~mask])


def test_heat_gets_lighter_with_the_value():
    colours = sheets.heat(np.linspace(0, 1, 256)[None])[0].astype(float)
    luma = colours @ [0.299, 0.587, 0.114]
    assert (np.diff(luma) > -0.5).all() and luma[0] < 40 and luma[-1] > 220
    clipped = sheets.heat(np.array([[-1.0, 2.0, np.nan]]))[0]
    np.testing.assert_array_equal(clipped, colours[[0, -1, 0]])


# Previews


GREEN, BLUE = (0, 200, 0), (0, 0, 200)


@pytest.mark.parametrize(
    ("target", "height"), [((40, 60), 256), ((300, 450), 300), ((1000, 1500), 768)]
)
def test_photo_and_result_have_one_height(target, height):
    drawn = preview_sheet(flat(GREEN, (20, 30)), None, flat(BLUE, target))
    top, bottom, left, right = extent(drawn, GREEN)
    assert (bottom - top + 1, right - left + 1) == (height, round(1.5 * height))
    top_of_result, bottom_of_result, begin, end = extent(drawn, BLUE)
    assert (top_of_result, bottom_of_result) == (top, bottom)
    assert end - begin == right - left and begin > right


def test_holes_are_magenta_and_nothing_else_is():
    mask = np.zeros((8, 8), bool)
    mask[:2, :4] = True
    result = flat(BLUE, (256, 256))
    drawn = preview_sheet(flat(GREEN, (8, 8)), mask, result)
    top, bottom, left, right = extent(drawn, sheets.HOLE_COLOUR)
    assert (bottom - top + 1, right - left + 1) == (64, 128)
    assert (drawn == sheets.HOLE_COLOUR).all(-1).sum() == 64 * 128
    without = preview_sheet(flat(GREEN, (8, 8)), np.zeros((8, 8), bool), result)
    assert not (without == sheets.HOLE_COLOUR).all(-1).any()


def test_a_result_of_usual_size_is_shown_pixel_by_pixel():
    result = np.random.default_rng(0).integers(0, 256, (260, 300, 3), np.uint8)
    drawn = preview_sheet(flat(GREEN, (26, 30)), None, result)
    top, _, left, right = extent(drawn, GREEN)
    begin = right + 1 + left  # The gap between pictures is the margin.
    shown = drawn[top : top + 260, begin : begin + 300]
    np.testing.assert_array_equal(shown, result)


def test_floats_look_as_their_bytes():
    rng = np.random.default_rng(0)
    image, result = (rng.integers(0, 256, (n, n, 3), np.uint8) for n in (8, 16))
    floats = [a / np.float32(255) for a in (image, result)]
    mask = rng.random((8, 8)) < 0.3
    floats[0][mask] = np.nan  # Nobody knows what is in holes.
    expected = preview_sheet(image, mask, result)
    found = preview_sheet(floats[0], mask, floats[1])
    np.testing.assert_array_equal(found, expected)


def test_importance_is_one_more_picture():
    image, result = flat(GREEN, (8, 8)), flat(BLUE, (16, 16))
    two = preview_sheet(image, None, result)
    three = preview_sheet(image, None, result, np.ones((8, 8), np.float32))
    assert three.shape[1] - two.shape[1] == 256 + 8
    light = sheets.heat(np.ones((1, 1)))[0, 0]
    assert (three == light).all(-1).sum() == 256 * 256


def test_panoramas_stand_below_each_other():
    drawn = preview_sheet(flat(GREEN, (10, 80)), None, flat(BLUE, (40, 320)))
    assert extent(drawn, GREEN)[1] < extent(drawn, BLUE)[0]
    assert extent(drawn, GREEN)[2:] == extent(drawn, BLUE)[2:]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_any_shape_can_be_drawn(size):
    mask = np.ones(size, bool)
    result = flat(BLUE, (size[0] * 2, size[1] * 2))
    importance = np.full(size, np.nan)
    drawn = preview_sheet(flat(GREEN, size), mask, result, importance)
    assert drawn.dtype == np.uint8 and max(drawn.shape) < 6000


def test_previews_are_written_whole(tmp_path):
    pictures = flat(GREEN, (8, 8)), None, flat(BLUE, (16, 16))
    draw_preview(tmp_path / "new" / "p.png", *pictures)
    read = read_photo(tmp_path / "new" / "p.png")
    np.testing.assert_array_equal(read, preview_sheet(*pictures))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        draw_preview(tmp_path / "file" / "p.png", *pictures)


# Figures


CELL = 64


def sample(size=(48, 48), scale=4, missing=True, name="photo.png"):
    truth = noise(size)
    small = tuple(round(side / scale) for side in size)
    mask = np.zeros(small, bool)
    mask[: small[0] // 2, : small[1] // 3] = missing
    image = np.where(mask[..., None], np.uint8(0), resize.bicubic(truth, small))
    return Sample(0, name, truth, image, mask, scale, "10-20", "a.png")


def colours_of(count):
    """Colours that no other part of a sheet has."""
    return [(7 * i + 3, 255 - 5 * i, 111) for i in range(count)]


def covered(box, size):
    field = np.zeros(size, int)
    field[box.top : box.top + box.side, box.left : box.left + box.side] = 1
    assert field.sum() == box.side**2, "the box leaves the photo"
    return field


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 2), (11, 11), (11, 90), (48, 48), (90, 64), (256, 256)]
)
@pytest.mark.parametrize("ratio", [0, 0.3, 1])
def test_boxes_lie_inside_the_photo_and_apart(size, ratio):
    mask = np.random.default_rng(1).random(size) < ratio
    boxes = zoom_boxes(noise(size), mask, count=3)
    assert 1 <= len(boxes) <= 3
    assert sum(covered(box, size) for box in boxes).max() == 1


def test_usual_photos_have_room_for_two_boxes_away_from_the_sides():
    for box in zoom_boxes(noise((64, 64)), np.zeros((64, 64), bool)):
        assert 1 <= box.top and box.top + box.side <= 63
        assert 1 <= box.left and box.left + box.side <= 63
    assert len(zoom_boxes(noise((64, 64)), np.zeros((64, 64), bool))) == 2


def test_first_box_is_in_the_hole_and_second_on_the_known_detail():
    truth, mask = flat(100, (96, 96)), np.zeros((96, 96), bool)
    mask[20:50, 10:40] = True
    truth[60:80, 60:80] = noise((20, 20))
    hole, detail = zoom_boxes(truth, mask)
    assert mask[covered(hole, mask.shape) > 0].mean() >= 0.9
    inside = covered(detail, mask.shape)[60:80, 60:80].sum()
    assert inside == detail.side**2


def test_of_equally_missing_places_the_one_with_detail_is_enlarged():
    truth, mask = flat(100, (96, 96)), np.ones((96, 96), bool)
    truth[30:46, 50:66] = noise((16, 16))
    (box,) = zoom_boxes(truth, mask, count=1)
    assert covered(box, mask.shape)[30:46, 50:66].sum() == box.side**2


def test_pixels_under_holes_do_not_count_as_known_detail():
    truth, mask = flat(100, (96, 96)), np.zeros((96, 96), bool)
    mask[:, :48] = True
    truth[:, :48] = noise((96, 48))
    truth[40:56, 70:86] = 100 + noise((16, 16)) // 100
    detail = zoom_boxes(truth, mask)[1]
    assert covered(detail, mask.shape)[40:56, 70:86].sum() == detail.side**2


def test_enlarged_parts_are_the_pixels_of_the_box():
    picture, box = noise(), Box(8, 16, 8)
    part = np.asarray(enlarged(picture, [box], 48, 80)[0])
    exact = picture[8:16, 16:24].repeat(10, 0).repeat(10, 1)
    np.testing.assert_array_equal(part[2:-2, 2:-2], exact[2:-2, 2:-2])
    assert (part[0] == COLOURS[0]).all() and (part[:, -1] == COLOURS[0]).all()


def test_the_same_part_is_cut_from_pictures_of_any_size():
    small = noise((12, 12))
    large, box = small.repeat(4, 0).repeat(4, 1), [Box(4, 24, 16)]
    for picture in (small, large):
        part = np.asarray(enlarged(picture, box, 48, 80)[0])
        np.testing.assert_array_equal(part[40, 40], small[3, 8])


def test_frames_cover_nothing_of_what_they_frame():
    picture = noise()
    drawn = np.asarray(with_boxes(picture, (48, 48), [Box(8, 16, 8)], 48))
    np.testing.assert_array_equal(drawn[8:16, 16:24], picture[8:16, 16:24])
    assert (drawn[7, 16:24] == COLOURS[0]).all()
    assert (drawn[8:16, 24] == COLOURS[0]).all()


def test_enlarged_pixels_are_equal_squares_up_to_mixed_borders():
    board = np.indices((5, 5)).sum(0)[..., None].repeat(3, -1).astype(np.uint8) * 20
    drawn = np.asarray(sheets.resized(board, (33, 33)))
    centres = np.round((np.arange(5) + 0.5) * 33 / 5 - 0.5).astype(int)
    np.testing.assert_array_equal(drawn[np.ix_(centres, centres)], board)


@pytest.mark.parametrize("count", [1, 5, 20])
def test_comparison_shows_every_output_once_in_reading_order(count):
    colours = colours_of(count)
    outputs = {f"system {i}": flat(colour) for i, colour in enumerate(colours)}
    drawn = figures.comparison_sheet([Example(sample(), outputs)], cell=CELL)
    found = [places(drawn, colour) for colour in colours]
    starts = [start for start, _ in found]
    assert starts == sorted(starts)
    # Each stands in its own column of one line: CELL wide, in one piece.
    assert all(end[1] - start[1] == CELL - 1 for start, end in found)
    corner = places(drawn, sheets.HOLE_COLOUR)[0]
    assert corner[0] == starts[0][0] and corner[1] < starts[0][1]
    lines = len({start[0] for start in starts})
    assert lines == -(-(count + 2) // figures.WIDEST)


@pytest.mark.parametrize("size", [(48, 80), (80, 48), (12, 12), (48, 200)])
def test_photos_of_any_shape_and_without_holes_are_shown(size):
    one = sample(size, scale=2, missing=False)
    drawn = figures.comparison_sheet([Example(one, {"a": one.truth})], cell=CELL)
    assert drawn.dtype == np.uint8 and drawn.shape[-1] == 3
    assert (drawn[0] == 255).all() and (drawn[:, -1] == 255).all()
    drawn = figures.stages_sheet(one, [Stages("a", None, one.truth)], cell=CELL)
    assert (drawn[0] == 255).all() and (drawn[:, -1] == 255).all()


def test_another_example_is_another_block_of_the_same_kind():
    one = Example(sample(missing=False), {"a": flat(9), "b": flat(8)})
    single = figures.comparison_sheet([one], cell=CELL)
    double = figures.comparison_sheet([one, one], cell=CELL)
    margin = CELL // 16
    block = single[margin:-margin]
    height = block.shape[0]
    np.testing.assert_array_equal(double[margin : margin + height], block)
    np.testing.assert_array_equal(double[-margin - height : -margin], block)


@pytest.mark.parametrize("count", [8, 9, 12, 17])
def test_many_examples_fill_columns_of_equal_length(count):
    colours = colours_of(count)
    shown = [Example(sample(), {"a": flat(colour)}) for colour in colours]
    drawn = figures.comparison_sheet(shown, cell=CELL)
    starts = [places(drawn, colour)[0] for colour in colours]
    lefts = sorted({left for _, left in starts})
    assert len(lefts) == -(-count // figures.TALLEST)
    # Downwards first, then on to the right.
    assert starts == sorted(starts, key=lambda start: (start[1], start[0]))
    length = -(-count // len(lefts))
    tops = [top for top, left in starts if left == lefts[0]]
    assert len(tops) == length
    beside = [top for top, _ in starts[length : 2 * length]]
    assert beside == tops[: len(beside)]


def test_outputs_do_not_move_the_boxes():
    def boxes_drawn(output):
        example = Example(sample(), {"a": output})
        drawn = figures.comparison_sheet([example], cell=CELL)
        return (drawn == np.array(COLOURS[1], np.uint8)).all(-1)

    np.testing.assert_array_equal(boxes_drawn(flat(50)), boxes_drawn(noise(seed=3)))


def test_psnr_is_written_only_where_it_is_given():
    def drawn(**given):
        example = Example(sample(), {"a": flat(50)}, **given)
        return figures.comparison_sheet([example], cell=CELL)

    plain, other = drawn(), drawn(psnr={"another": 20.0})
    np.testing.assert_array_equal(plain, other)
    noted = drawn(psnr={"a": 20.0})
    rows, columns = np.nonzero((noted != plain).any(-1))
    (top, left), (_, right) = places(plain, (50, 50, 50))
    assert rows.size and rows.max() < top
    assert left <= columns.min() and columns.max() <= right


def heading_of(name):
    """The part of a sheet above the pictures."""
    one = Example(sample(name=name), {"a": flat(50)})
    drawn = figures.comparison_sheet([one], cell=CELL)
    return drawn[: CELL // 16 + 12]


def test_headings_tell_photos_of_like_names_apart_within_the_width():
    names = ["x/a.png", "y/a.png", "a.jpg", *(60 * "x" + f"{i}.png" for i in (1, 2))]
    seen = [heading_of(name) for name in names]
    for i, one in enumerate(seen):
        assert not any(np.array_equal(one, other) for other in seen[:i])
    assert len({one.shape for one in seen}) == 1  # Long ones do not widen the sheet.
    np.testing.assert_array_equal(heading_of("\udce9.png"), heading_of(r"\udce9.png"))


def test_a_sheet_with_holes_says_below_what_magenta_means(monkeypatch):
    monkeypatch.setattr(figures, "holes_note", lambda cell: note)
    note = sheets.words("magenta", 20, (1, 2, 3))
    whole, holes = (
        figures.comparison_sheet(
            [Example(sample(missing=missing), {"a": flat(50)})] * 2, cell=CELL
        )
        for missing in (False, True)
    )
    assert not (whole == (1, 2, 3)).all(-1).any()
    (top, _), _ = places(holes, (1, 2, 3))
    assert top > places(holes, (50, 50, 50))[1][0]
    assert holes.shape[0] == whole.shape[0] + note.height + CELL // 8


def test_an_example_has_the_scores_of_its_own_pictures():
    shown = [sample(name="a.png"), sample(name="b.png")]
    made = {"one": [flat(1), flat(2)], "two": [flat(3), flat(4)]}
    values = {"one": {"a": 1.0, "b": 2.0}, "two": {"a": 3.0, "b": 4.0}}
    scores = {
        label: [
            Score(label, f"{name}.png", "a.png", hole_ratio, 4.0, psnr, 0.5, 0.1)
            for name in "ba"
            for hole_ratio, psnr in (("10-20", values[label][name]), ("20-30", 9.0))
        ]
        for label in made
    }
    first, second = figures.examples(shown, made, scores)
    assert (first.sample, second.sample) == tuple(shown)
    assert first.psnr == {"one": 1.0, "two": 3.0}
    assert second.psnr == {"one": 2.0, "two": 4.0}
    for example, i in ((first, 0), (second, 1)):
        assert all(example.outputs[label] is made[label][i] for label in made)
    with pytest.raises(ValueError, match="no examples"):
        figures.comparison_sheet([])


def test_stages_stand_in_order_and_are_enlarged_below():
    one, colours = sample(), colours_of(5)
    filled, result, holes, other, single = (flat(c) for c in colours)
    chains = [
        Stages("misf+elan", filled[:12, :12], result),
        Stages("elan+misf", holes, other),
        Stages("dear", None, single),
    ]
    drawn = figures.stages_sheet(one, chains, cell=CELL)
    found = [places(drawn, colour) for colour in colours]
    (b1, b2, c1, c2, d), ends = zip(*found, strict=True)
    height = drawn.shape[0]
    assert b2[0] < b1[0] < c1[0] == c2[0] == d[0]  # small ones stand at mid-height
    # The last columns of pictures end where the sheet does, and so do enlarged parts.
    assert ends[1][1] == ends[4][1] == drawn.shape[1] - 1 - 2 * (CELL // 32)
    below = drawn[int(0.65 * height) :]
    lefts = [places(below, colour)[0][1] for colour in colours]
    assert lefts == sorted(set(lefts))


def test_stages_can_be_many_of_one_size_or_of_long_names():
    one = sample(scale=1)
    way = Stages("a", flat(30), flat(40))
    few = figures.stages_sheet(one, [way], cell=CELL)
    many = figures.stages_sheet(one, [way] * 7, cell=CELL)
    assert many.shape[0] > few.shape[0] and many.shape[1] >= few.shape[1]
    long = [Stages(200 * "x", None, flat(30)), Stages("b", None, flat(40))]
    short = [Stages("x", None, flat(30)), long[1]]
    assert (
        len({figures.stages_sheet(one, x, cell=CELL).shape for x in (long, short)}) == 1
    )


def test_training_examples_are_drawn_with_their_masks_and_targets():
    config = tiny_config(**{"data.degrade.share": 0.5, "data.damage.share": 0.5})
    sheet = examples_sheet(config, 5)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    assert np.array_equal(sheet, examples_sheet(config, 5))
    assert (sheet == HOLE_COLOUR).all(2).any(), "no mask is outlined"


def test_an_outline_hides_nothing_of_the_mask():
    mask = np.zeros((9, 9), bool)
    mask[3:6, 2:4] = True
    image = np.zeros((9, 9, 3), np.uint8)
    drawn = (outlined(image, mask) == HOLE_COLOUR).all(2)
    assert drawn.sum() == 5 * 4 - 6 and not (drawn & mask).any()
