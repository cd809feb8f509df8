"""Laws of measuring: every case once, in fixed batches, kept, and gone on with."""

import json
import threading

import jax
import numpy as np
import pytest

from dear_jax import metrics
from dear_jax.errors import InputError
from dear_jax.evaluation import batches, gallery, protocol
from dear_jax.evaluation.batches import Batches
from dear_jax.evaluation.evaluate import Seconds, _measures, evaluate
from dear_jax.evaluation.journal import Journal, Place
from dear_jax.evaluation.measuring import Measuring
from dear_jax.evaluation.scores import METRICS, Score
from dear_jax.images import resize
from dear_jax.images.io import list_photos, write_photo
from dear_jax.inference.devices import mesh_for, spread
from dear_jax.inference.restorer import Restorer

# Results of a device in a batch, on a CPU.
AT_ONCE = "dear_jax.evaluation.batches.RESULTS_AT_ONCE"


class Counted(Restorer):
    """Enlarges by bicubic and remembers the sizes of its batches."""

    def __init__(self, name="counted"):
        super().__init__(name)
        self.shapes = []

    def restore(self, images, masks, target, levels):
        self.shapes.append(images.shape)
        return np.stack([resize.bicubic(image, target) for image in images])

    def fingerprint(self):
        return self.name


@pytest.fixture
def photos(tmp_path):
    """Five photos, the fourth of another size, and two bins of masks."""
    rng = np.random.default_rng(0)
    for i, name in enumerate("abcde"):
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        size = (32, 40 if i == 3 else 32)
        write_photo(tmp_path / f"photos/{name}.png", resize.bicubic(coarse, size))
    for name, ratio in (("01-10/x", 0.1), ("01-10/y", 0.05), ("20-30/z", 0.25)):
        mask = np.zeros((40, 40), np.uint8)
        mask[: round(40 * ratio)] = 255
        write_photo(tmp_path / f"masks/{name}.png", mask)
    return tmp_path


@pytest.fixture
def cases(photos):
    return protocol.cases(photos / "photos", photos / "masks", 2)


@pytest.fixture
def pairs(monkeypatch):
    """Two photos of 32 x 32, four results, fit in a batch on four devices."""
    assert jax.local_device_count() == 4
    monkeypatch.setattr(AT_ONCE, {"cpu": 1})


def test_every_case_is_scored_once_in_order(cases):
    scores = evaluate(Counted(), cases, perceptual=False)
    found = [(s.photo, s.bin, s.mask) for s in scores]
    assert found == [(c.photo, c.bin, c.mask_name) for c in cases]


def test_scores_are_the_metrics_of_output_and_truth(cases):
    scores = evaluate(Counted(), cases, perceptual=True)
    for score, case in list(zip(scores, cases, strict=True))[5:8]:
        output = resize.bicubic(case.image, case.truth.shape[:2])
        pair = [np.float32(x[None]) / 255 for x in (output, case.truth)]
        for metric in METRICS:
            expected = float(getattr(metrics, metric)(*pair)[0])
            assert getattr(score, metric) == pytest.approx(expected, rel=2e-5)


def test_lpips_is_measured_only_if_asked_for(cases):
    score = evaluate(Counted(), cases, perceptual=False)[0]
    assert score.lpips is None and score.psnr > 0


def test_batches_of_one_size_have_one_shape_the_last_included(cases, pairs):
    assert Batches(cases).photos == 2
    system = Counted()
    scores = evaluate(system, cases, perceptual=False)
    # a b | c, d of another size | e
    assert system.shapes == [(4, 16, 16, 3)] * 2 + [(4, 16, 20, 3), (4, 16, 16, 3)]
    assert len(scores) == 10


def test_the_size_of_batches_changes_no_score(cases, pairs, monkeypatch):
    some = evaluate(Counted(), cases, perceptual=False)
    monkeypatch.setattr(AT_ONCE, {"cpu": 64})
    assert Batches(cases).photos == 5
    alone = evaluate(Counted(), cases, perceptual=False)
    for one, other in zip(some, alone, strict=True):
        # Sums of float32 in another order.
        assert one.psnr == pytest.approx(other.psnr, rel=1e-5)


def test_pasting_back_at_scale_1_leaves_only_errors_in_the_holes(photos):
    whole = protocol.cases(photos / "photos", photos / "masks", 1)
    for score in evaluate(Counted(), whole, perceptual=False):
        # What bicubic keeps at scale 1 is known; the holes stay black.
        assert score.l1_pasted == pytest.approx(score.l1)
        assert score.psnr_pasted == pytest.approx(score.psnr)
    for score in evaluate(Inverted(), whole, perceptual=False):
        assert score.l1_pasted < score.l1


class Inverted(Counted):
    def restore(self, images, masks, target, levels):
        return 255 - super().restore(images, masks, target, levels)


class Spoiling(Counted):
    def restore(self, images, masks, target, levels):
        images[:] = 7
        masks[:] = True
        return super().restore(images, masks, target, levels)


def test_a_system_cannot_spoil_what_is_shown(cases):
    seen = {}

    def note(case, output):
        seen[case.photo, case.bin] = case.image

    evaluate(Spoiling(), cases, perceptual=False, on_restored=note)
    for case in cases:
        np.testing.assert_array_equal(seen[case.photo, case.bin], case.image)


@pytest.mark.parametrize("change", [lambda x: x / 255, lambda x: x[:, 1:]])
def test_output_of_wrong_type_or_size_is_refused(cases, change, monkeypatch):
    system = Counted()
    monkeypatch.setattr(
        system, "batch", lambda *_, **__: change(np.zeros((12, 32, 32, 3)))
    )
    with pytest.raises(ValueError, match="'counted' returned .* must return uint8"):
        evaluate(system, cases, perceptual=False)


class Stopped(Exception):
    pass


def _stop_after(count):
    done = []

    def on_progress(more):
        done.append(more)
        if sum(done) > count:
            raise Stopped

    return on_progress


def test_a_stopped_evaluation_goes_on_to_the_same_digits(cases, pairs, tmp_path):
    expected = evaluate(Counted(), cases, perceptual=False)
    with pytest.raises(Stopped):
        journal = Journal(tmp_path, "x", {})
        evaluate(Counted(), cases, journal, False, on_progress=_stop_after(5))
    system, progress = Counted(), []
    journal = Journal(tmp_path, "x", {})
    scores = evaluate(system, cases, journal, False, on_progress=progress.append)
    assert scores == expected
    assert len(system.shapes) == 3 and sum(progress) == len(cases)
    again = Counted()
    assert evaluate(again, cases, Journal(tmp_path, "x", {}), False) == expected
    assert again.shapes == []


def _score(photo_name="a.png", psnr=20.0):
    return Score("s", photo_name, "m.png", "01-10", 4.0, psnr, 0.5, 0.1, 0.2)


def _place(photo_name="a.png", digest="1"):
    return Place(photo_name, digest, "01-10", "2")


def test_a_line_cut_short_by_a_kill_is_measured_anew(tmp_path):
    journal = Journal(tmp_path, "x", {})
    journal.add({_place("a.png"): _score("a.png"), _place("b.png"): _score("b.png")})
    journal.path.write_bytes(journal.path.read_bytes()[:-10])
    after = Journal(tmp_path, "x", {})
    assert after.get(_place("a.png")) == _score("a.png")
    assert after.get(_place("b.png")) is None
    after.add({_place("b.png"): _score("b.png")})
    again = Journal(tmp_path, "x", {})
    assert again.get(_place("a.png")) == _score("a.png")
    assert again.get(_place("b.png")) == _score("b.png")


def test_two_writers_of_one_journal_lose_nothing(tmp_path):
    one, other = Journal(tmp_path, "x", {}), Journal(tmp_path, "x", {})
    one.add({_place("a.png"): _score("a.png")})
    other.add({_place("b.png"): _score("b.png")})
    one.add({_place("c.png"): _score("c.png")})
    after = Journal(tmp_path, "x", {})
    for name in ("a.png", "b.png", "c.png"):
        assert after.get(_place(name)) == _score(name)


def test_another_photo_or_mask_of_the_same_name_is_another_place(tmp_path):
    journal = Journal(tmp_path, "x", {})
    journal.add({_place(): _score()})
    after = Journal(tmp_path, "x", {})
    assert after.get(_place()) == _score()
    assert after.get(_place(digest="other")) is None
    assert after.get(_place()._replace(mask_digest="other")) is None


def test_journals_hold_infinite_scores_in_plain_json(tmp_path):
    journal = Journal(tmp_path, "x", {})
    journal.add({_place(): _score(psnr=float("inf"))})
    for line in journal.path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert Journal(tmp_path, "x", {}).get(_place()).psnr == float("inf")


def test_a_foreign_line_is_passed_over(tmp_path):
    journal = Journal(tmp_path, "x", {})
    journal.path.write_text('[1]\n{"photo": 3}\nnonsense\n')
    journal = Journal(tmp_path, "x", {})
    journal.add({_place(): _score()})
    assert Journal(tmp_path, "x", {}).get(_place()) == _score()


def test_a_long_title_makes_a_short_name(tmp_path):
    journal = Journal(tmp_path, "ä" * 10 + "x" * 500, {})
    journal.add({_place(): _score()})
    assert len(journal.path.name.encode()) < 120


def test_other_facts_or_other_code_is_another_journal(tmp_path, monkeypatch):
    path = Journal(tmp_path, "x", {"scale": 2}).path
    assert Journal(tmp_path, "x", {"scale": 2}).path == path
    assert Journal(tmp_path, "x", {"scale": 3}).path != path
    monkeypatch.setattr("dear_jax.evaluation.journal._surroundings", lambda: "changed")
    assert Journal(tmp_path, "x", {"scale": 2}).path != path


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file.*cannot be written.*--out"):
        Journal(tmp_path / "file", "x", {})


def test_an_unreadable_photo_is_named_and_what_was_measured_is_kept(
    photos, tmp_path, pairs
):
    (photos / "photos/d.png").write_bytes(b"no photo")
    cases = protocol.cases(photos / "photos", photos / "masks", 2)
    journal = Journal(tmp_path / "j", "x", {})
    with pytest.raises(InputError, match="d.png"):
        evaluate(Counted(), cases, journal, False)
    kept = Journal(tmp_path / "j", "x", {})
    assert kept.get(Place(*cases.places(0)[0])) is not None


def test_reading_ahead_holds_few_groups_at_once(cases, monkeypatch):
    read, lock = [], threading.Lock()
    whole = protocol.MaskedCases.of_photo

    def of_photo(self, index):
        with lock:
            read.append(index)
        return whole(self, index)

    monkeypatch.setattr(batches, "RESULTS_AT_ONCE", {"cpu": 0})
    ahead = Batches(cases)
    monkeypatch.setattr(protocol.MaskedCases, "of_photo", of_photo)
    found = ahead.groups(lambda indices: False)
    next(found)
    assert max(read) <= batches.READ_AHEAD
    found.close()


def test_a_perfect_result_is_perfect(photos):
    whole = protocol.cases(photos / "photos", "none", 1)
    for score in evaluate(Counted(), whole):
        assert score.psnr == float("inf") and score.l1 == 0
        assert score.ssim == pytest.approx(1) and score.lpips < 1e-9


def test_batches_of_rare_shapes_are_hardly_padded(cases, monkeypatch):
    monkeypatch.setattr(AT_ONCE, {"cpu": 64})
    batching = Batches(cases)
    # Ten results of five photos, on four devices.
    assert batching.size((32, 32, 3), 2) == 12
    assert batching.size((32, 40, 3), 2) == 4
    assert batching.size((9000, 9000, 3), 2) == 4


def test_a_larger_set_measures_only_what_is_new(photos, tmp_path, pairs):
    few, every = (
        protocol.cases(photos / "photos", photos / "masks", 2, limit)
        for limit in (2, None)
    )
    evaluate(Counted(), few, Journal(tmp_path / "j", "x", {}), False)
    system = Counted()
    evaluate(system, every, Journal(tmp_path / "j", "x", {}), False)
    assert len(system.shapes) == 3  # c, d of another size, e; not a and b


def test_metrics_on_several_devices_exchange_nothing(cases):
    batch = next(next(Batches(cases).groups(lambda indices: False)))
    pair = spread(batch.truths), spread(batch.truths)
    mesh = mesh_for(len(batch.truths))
    program = _measures(True, mesh).lower(*pair).compile().as_text()
    assert mesh is not None
    for exchange in ("all-to-all", "collective-permute", "all-gather", "all-reduce"):
        assert exchange not in program


def test_seconds_say_where_the_time_went(cases):
    seconds = Seconds()
    evaluate(Counted(), cases, perceptual=False, seconds=seconds)
    assert seconds.results == 10 and seconds.restoring > 0
    assert "10 results" in str(seconds) and "waiting for photos" in str(seconds)


def test_pictures_show_each_photo_once_with_the_bins_in_turn(cases):
    shown = gallery.shown_cases(cases, rows=3)
    assert [(c.photo, c.bin) for c in shown] == [
        ("a.png", "01-10"),
        ("b.png", "20-30"),
        ("c.png", "01-10"),
    ]


@pytest.mark.parametrize("other", ["system", "scale"])
def test_another_system_or_scale_is_measured_anew(photos, tmp_path, other):
    def cases(scale=2.0):
        return protocol.cases(photos / "photos", photos / "masks", scale, 2)

    shown = gallery.shown_cases(cases())
    measuring = Measuring(tmp_path, Silent())
    measuring.measure(Counted(), cases(), shown, "A")
    system, changed = Counted(), cases()
    if other == "system":
        system.fingerprint = lambda: "other"
    else:
        changed = cases(scale=4.0)
    measuring.measure(system, changed, gallery.shown_cases(changed), "A")
    assert system.shapes


class Silent:
    total = 0

    def update(self, count): ...
    def set_description(self, text): ...


def test_the_worst_come_first_and_the_median_is_in_the_middle(cases):
    psnr = [30.0, 10.0, 20.0, 40.0, 15.0, 25.0, 31.0, 32.0, 33.0, 34.0]
    places = [(case.photo, case.bin) for case in cases]
    scores = [
        Score("A", name, "m.png", bin_, 2.0, p, 0.5, 0.1)
        for (name, bin_), p in zip(places, psnr, strict=True)
    ]
    parts = gallery.worst_and_median(cases, scores, 2)
    found = {
        name: [places.index((case.photo, case.bin)) for case in part]
        for name, part in parts.items()
    }
    assert found == {"worst": [1, 4], "median": [0, 6]}
    assert len(gallery.worst_and_median(cases, scores, 99)["median"]) == 10


def test_measured_again_nothing_is_restored_and_pictures_are_the_same(cases, tmp_path):
    shown = gallery.shown_cases(cases)
    first = Measuring(tmp_path, Silent()).measure(Counted(), cases, shown, "A")
    system = Counted()
    again = Measuring(tmp_path, Silent()).measure(system, cases, shown, "B")
    assert system.shapes == []
    assert {score.system for score in first.scores} == {"A"}
    assert {score.system for score in again.scores} == {"B"}
    assert [s.psnr for s in again.scores] == [s.psnr for s in first.scores]
    for case, one, other in zip(shown, first.pictures, again.pictures, strict=True):
        np.testing.assert_array_equal(one, other)
        expected = resize.bicubic(case.image, case.truth.shape[:2])
        np.testing.assert_array_equal(one, expected)


def test_a_lost_picture_is_made_again(cases, tmp_path):
    shown = gallery.shown_cases(cases)
    measuring = Measuring(tmp_path, Silent())
    first = measuring.measure(Counted(), cases, shown, "A")
    for path in list_photos(tmp_path / "pictures")[:2]:
        path.unlink()
    again = measuring.measure(Counted(), cases, shown, "A")
    for one, other in zip(first.pictures, again.pictures, strict=True):
        np.testing.assert_array_equal(one, other)
