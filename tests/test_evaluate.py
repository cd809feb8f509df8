"""Laws of measuring: every sample once, in fixed batches, kept, and gone on with."""

import json
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

import dear_jax
from dear_jax import metrics
from dear_jax.errors import InputError
from dear_jax.evaluation import protocol, score_cache
from dear_jax.evaluation.evaluate import (
    READ_AHEAD,
    Batches,
    Seconds,
    _measures,
    evaluate,
)
from dear_jax.evaluation.protocol import SampleKey
from dear_jax.evaluation.score_cache import Evaluator, ScoreCache
from dear_jax.evaluation.scores import METRICS, Score
from dear_jax.images import resize
from dear_jax.images.io import list_photos, write_photo
from dear_jax.inference.devices import mesh_for, spread
from dear_jax.inference.restorer import Restorer

# Results of a device in a batch, on a CPU.
AT_ONCE = "dear_jax.evaluation.evaluate.RESULTS_AT_ONCE"


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
def samples(photos):
    return protocol.samples(photos / "photos", photos / "masks", 2)


@pytest.fixture
def pairs(monkeypatch):
    """Two photos of 32 x 32, four results, fit in a batch on four devices."""
    assert jax.local_device_count() == 4
    monkeypatch.setattr(AT_ONCE, {"cpu": 1})


def test_every_sample_is_scored_once_in_order_as_asked_and_timed(samples):
    seconds = Seconds()
    scores = evaluate(Counted(), samples, perceptual=False, seconds=seconds)
    found = [(s.photo, s.bin, s.mask) for s in scores]
    assert found == [(c.photo, c.bin, c.mask_name) for c in samples]
    assert all(score.lpips is None and score.psnr > 0 for score in scores)
    assert seconds.results == 10 and seconds.restoring > 0
    assert "10 results" in str(seconds) and "waiting for photos" in str(seconds)


def test_scores_are_the_metrics_of_output_and_truth(samples):
    scores = evaluate(Counted(), samples, perceptual=True)
    for score, sample in list(zip(scores, samples, strict=True))[5:8]:
        output = resize.bicubic(sample.image, sample.truth.shape[:2])
        pair = [np.float32(x[None]) / 255 for x in (output, sample.truth)]
        for metric in METRICS:
            expected = float(getattr(metrics, metric)(*pair)[0])
            assert getattr(score, metric) == pytest.approx(expected, rel=2e-5)


def test_batches_of_one_size_have_one_shape_the_last_included(samples, pairs):
    assert Batches(samples).photos == 2
    system = Counted()
    scores = evaluate(system, samples, perceptual=False)
    # a b | c, d of another size | e
    assert system.shapes == [(4, 16, 16, 3)] * 2 + [(4, 16, 20, 3), (4, 16, 16, 3)]
    assert len(scores) == 10


def test_the_size_of_batches_changes_no_score(samples, pairs, monkeypatch):
    some = evaluate(Counted(), samples, perceptual=False)
    monkeypatch.setattr(AT_ONCE, {"cpu": 64})
    assert Batches(samples).photos == 5
    alone = evaluate(Counted(), samples, perceptual=False)
    for one, other in zip(some, alone, strict=True):
        # Sums of float32 in another order.
        assert one.psnr == pytest.approx(other.psnr, rel=1e-5)


def test_pasting_back_at_scale_1_leaves_only_errors_in_the_holes(photos):
    whole = protocol.samples(photos / "photos", photos / "masks", 1)
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


def test_a_system_cannot_spoil_what_is_shown(samples):
    seen = {}

    def note(sample, output):
        seen[sample.photo, sample.bin] = sample.image

    evaluate(Spoiling(), samples, perceptual=False, on_restored=note)
    for sample in samples:
        np.testing.assert_array_equal(seen[sample.photo, sample.bin], sample.image)


@pytest.mark.parametrize("change", [lambda x: x / 255, lambda x: x[:, 1:]])
def test_output_of_wrong_type_or_size_is_refused(samples, change, monkeypatch):
    system = Counted()
    monkeypatch.setattr(
        system, "batch", lambda *_, **__: change(np.zeros((12, 32, 32, 3)))
    )
    with pytest.raises(ValueError, match="'counted' returned .* must return uint8"):
        evaluate(system, samples, perceptual=False)


class Stopped(Exception):
    pass


def _stop_after(count):
    done = []

    def on_progress(more):
        done.append(more)
        if sum(done) > count:
            raise Stopped

    return on_progress


def test_a_stopped_evaluation_goes_on_to_the_same_digits(samples, pairs, tmp_path):
    expected = evaluate(Counted(), samples, perceptual=False)
    with pytest.raises(Stopped):
        cache = ScoreCache(tmp_path, "x", {})
        evaluate(Counted(), samples, cache, False, on_progress=_stop_after(5))
    system, progress = Counted(), []
    cache = ScoreCache(tmp_path, "x", {})
    scores = evaluate(system, samples, cache, False, on_progress=progress.append)
    assert scores == expected
    assert len(system.shapes) == 3 and sum(progress) == len(samples)
    again = Counted()
    assert evaluate(again, samples, ScoreCache(tmp_path, "x", {}), False) == expected
    assert again.shapes == []


def _score(photo_name="a.png", psnr=20.0):
    return Score("s", photo_name, "m.png", "01-10", 4.0, psnr, 0.5, 0.1, 0.2)


def _key(photo_name="a.png", digest="1"):
    return SampleKey(photo_name, digest, "01-10", "2")


def test_a_line_cut_short_by_a_kill_is_measured_anew(tmp_path):
    cache = ScoreCache(tmp_path, "x", {})
    cache.update({_key("a.png"): _score("a.png"), _key("b.png"): _score("b.png")})
    cache.path.write_bytes(cache.path.read_bytes()[:-10])
    after = ScoreCache(tmp_path, "x", {})
    assert after.get(_key("a.png")) == _score("a.png")
    assert after.get(_key("b.png")) is None
    after.update({_key("b.png"): _score("b.png")})
    again = ScoreCache(tmp_path, "x", {})
    assert again.get(_key("a.png")) == _score("a.png")
    assert again.get(_key("b.png")) == _score("b.png")


def test_two_writers_of_one_cache_lose_nothing(tmp_path):
    one, other = ScoreCache(tmp_path, "x", {}), ScoreCache(tmp_path, "x", {})
    one.update({_key("a.png"): _score("a.png")})
    other.update({_key("b.png"): _score("b.png")})
    one.update({_key("c.png"): _score("c.png")})
    after = ScoreCache(tmp_path, "x", {})
    for name in ("a.png", "b.png", "c.png"):
        assert after.get(_key(name)) == _score(name)


def test_another_photo_or_mask_of_the_same_name_is_another_key(tmp_path):
    cache = ScoreCache(tmp_path, "x", {})
    cache.update({_key(): _score()})
    after = ScoreCache(tmp_path, "x", {})
    assert after.get(_key()) == _score()
    assert after.get(_key(digest="other")) is None
    assert after.get(_key()._replace(mask_digest="other")) is None


def test_caches_hold_infinite_scores_in_plain_json(tmp_path):
    cache = ScoreCache(tmp_path, "x", {})
    cache.update({_key(): _score(psnr=float("inf"))})
    for line in cache.path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    assert ScoreCache(tmp_path, "x", {}).get(_key()).psnr == float("inf")


def test_a_foreign_line_is_passed_over(tmp_path):
    cache = ScoreCache(tmp_path, "x", {})
    cache.path.write_text('[1]\n{"photo": 3}\nnonsense\n')
    cache = ScoreCache(tmp_path, "x", {})
    cache.update({_key(): _score()})
    assert ScoreCache(tmp_path, "x", {}).get(_key()) == _score()


def test_a_long_title_makes_a_short_name(tmp_path):
    cache = ScoreCache(tmp_path, "ä" * 10 + "x" * 500, {})
    cache.update({_key(): _score()})
    assert len(cache.path.name.encode()) < 120


def test_other_facts_or_other_code_is_another_cache(tmp_path, monkeypatch):
    path = ScoreCache(tmp_path, "x", {"scale": 2}).path
    assert ScoreCache(tmp_path, "x", {"scale": 2}).path == path
    assert ScoreCache(tmp_path, "x", {"scale": 3}).path != path
    monkeypatch.setattr(
        "dear_jax.evaluation.score_cache._surroundings", lambda: "changed"
    )
    assert ScoreCache(tmp_path, "x", {"scale": 2}).path != path


@pytest.mark.parametrize(
    ("file", "decides"),
    [
        ("evaluation/sheets.py", False),
        ("training/logging.py", False),
        ("models/edsr.py", True),
        ("inference/restorer.py", True),
        ("evaluation/protocol_v2.py", True),
        ("evaluation/evaluate.py", True),
    ],
)
def test_only_code_that_decides_scores_is_part_of_the_key(tmp_path, file, decides):
    def digest():
        return score_cache.code_digest.__wrapped__(tmp_path)

    code = Path(dear_jax.__file__).parent
    for path in code.rglob("*.py"):
        copy = tmp_path / path.relative_to(code)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    before = digest()
    (tmp_path / file).write_text('"""Another docstring."""\n')
    assert (digest() != before) == decides


def test_every_pattern_of_code_in_the_key_finds_files():
    code = Path(dear_jax.__file__).parent
    assert all(any(code.glob(pattern)) for pattern in score_cache.CODE)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file.*cannot be written.*--out"):
        ScoreCache(tmp_path / "file", "x", {})


def test_an_unreadable_photo_is_named_and_what_was_measured_is_kept(
    photos, tmp_path, pairs
):
    (photos / "photos/d.png").write_bytes(b"no photo")
    samples = protocol.samples(photos / "photos", photos / "masks", 2)
    cache = ScoreCache(tmp_path / "j", "x", {})
    with pytest.raises(InputError, match="d.png"):
        evaluate(Counted(), samples, cache, False)
    kept = ScoreCache(tmp_path / "j", "x", {})
    assert kept.get(SampleKey(*samples.keys(0)[0])) is not None


def test_reading_ahead_holds_few_groups_at_once(samples, monkeypatch):
    read, lock = [], threading.Lock()
    whole = protocol.MaskedSamples.of_photo

    def of_photo(self, index):
        with lock:
            read.append(index)
        return whole(self, index)

    monkeypatch.setattr(AT_ONCE, {"cpu": 0})
    ahead = Batches(samples)
    monkeypatch.setattr(protocol.MaskedSamples, "of_photo", of_photo)
    found = ahead.groups(lambda indices: False)
    next(found)
    assert max(read) <= READ_AHEAD
    found.close()


def test_a_perfect_result_is_perfect(photos):
    whole = protocol.samples(photos / "photos", "none", 1)
    for score in evaluate(Counted(), whole):
        assert score.psnr == float("inf") and score.l1 == 0
        assert score.ssim == pytest.approx(1) and score.lpips < 1e-9


def test_batches_of_rare_shapes_are_hardly_padded(samples, monkeypatch):
    monkeypatch.setattr(AT_ONCE, {"cpu": 64})
    batching = Batches(samples)
    # Ten results of five photos, on four devices.
    assert batching.size((32, 32, 3), 2) == 12
    assert batching.size((32, 40, 3), 2) == 4
    assert batching.size((9000, 9000, 3), 2) == 4


def test_a_larger_set_measures_only_what_is_new(photos, tmp_path, pairs):
    few, every = (
        protocol.samples(photos / "photos", photos / "masks", 2, limit)
        for limit in (2, None)
    )
    evaluate(Counted(), few, ScoreCache(tmp_path / "j", "x", {}), False)
    system = Counted()
    evaluate(system, every, ScoreCache(tmp_path / "j", "x", {}), False)
    assert len(system.shapes) == 3  # c, d of another size, e; not a and b


def test_metrics_on_several_devices_exchange_nothing(samples):
    batch = next(next(Batches(samples).groups(lambda indices: False)))
    pair = spread(batch.truths), spread(batch.truths)
    mesh = mesh_for(len(batch.truths))
    program = _measures(True, mesh).lower(*pair).compile().as_text()
    assert mesh is not None
    for exchange in ("all-to-all", "collective-permute", "all-gather", "all-reduce"):
        assert exchange not in program


def test_pictures_show_each_photo_once_with_the_bins_in_turn(samples):
    shown = score_cache.shown_samples(samples, rows=3)
    assert [(c.photo, c.bin) for c in shown] == [
        ("a.png", "01-10"),
        ("b.png", "20-30"),
        ("c.png", "01-10"),
    ]


@pytest.mark.parametrize("other", ["system", "scale"])
def test_another_system_or_scale_is_measured_anew(photos, tmp_path, other):
    def samples(scale=2.0):
        return protocol.samples(photos / "photos", photos / "masks", scale, 2)

    shown = score_cache.shown_samples(samples())
    evaluator = Evaluator(tmp_path, Silent())
    evaluator.evaluate(Counted(), samples(), shown, "A")
    system, changed = Counted(), samples()
    if other == "system":
        system.fingerprint = lambda: "other"
    else:
        changed = samples(scale=4.0)
    evaluator.evaluate(system, changed, score_cache.shown_samples(changed), "A")
    assert system.shapes


class Silent:
    total = 0

    def update(self, count): ...
    def set_description(self, text): ...


def test_the_worst_come_first_and_the_median_is_in_the_middle(samples):
    psnr = [30.0, 10.0, 20.0, 40.0, 15.0, 25.0, 31.0, 32.0, 33.0, 34.0]
    keys = [(sample.photo, sample.bin) for sample in samples]
    scores = [
        Score("A", name, "m.png", bin_, 2.0, p, 0.5, 0.1)
        for (name, bin_), p in zip(keys, psnr, strict=True)
    ]
    parts = score_cache.worst_and_median(samples, scores, 2)
    found = {
        name: [keys.index((sample.photo, sample.bin)) for sample in part]
        for name, part in parts.items()
    }
    assert found == {"worst": [1, 4], "median": [0, 6]}
    assert len(score_cache.worst_and_median(samples, scores, 99)["median"]) == 10


def test_measured_again_nothing_is_restored_but_lost_pictures(samples, tmp_path):
    shown = score_cache.shown_samples(samples)
    first = Evaluator(tmp_path, Silent()).evaluate(Counted(), samples, shown, "A")
    system = Counted()
    again = Evaluator(tmp_path, Silent()).evaluate(system, samples, shown, "B")
    assert system.shapes == []
    assert {score.system for score in first.scores} == {"A"}
    assert {score.system for score in again.scores} == {"B"}
    assert [s.psnr for s in again.scores] == [s.psnr for s in first.scores]
    for sample, one, other in zip(shown, first.pictures, again.pictures, strict=True):
        np.testing.assert_array_equal(one, other)
        expected = resize.bicubic(sample.image, sample.truth.shape[:2])
        np.testing.assert_array_equal(one, expected)
    for path in list_photos(tmp_path / "pictures")[:2]:
        path.unlink()
    lost = Evaluator(tmp_path, Silent()).evaluate(system, samples, shown, "B")
    assert system.shapes
    for one, other in zip(first.pictures, lost.pictures, strict=True):
        np.testing.assert_array_equal(one, other)
