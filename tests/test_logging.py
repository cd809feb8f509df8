"""What a run tells is whole, true and never the end of it."""

import json
import math
import resource
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from dear_jax.errors import InputError
from dear_jax.training import throughput
from dear_jax.training.logging import Log, read_metrics
from dear_jax.training.throughput import Rates

SHEET = np.zeros((4, 6, 3), np.uint8)


@pytest.fixture
def clock(monkeypatch):
    """A clock that is moved by hand."""

    class Clock:
        now = 0.0

    monkeypatch.setattr(throughput.time, "monotonic", lambda: Clock.now)
    return Clock


def lines(workdir: Path) -> list[dict]:
    """The lines of the file, read as strictly as JSON is."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def found_events(folder: Path) -> list:
    """All whole events in a folder, in the order in which TensorBoard reads them."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    found = []
    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place + 16 <= len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            body = data[place + 12 : place + 12 + length]
            if len(data) < place + 16 + length:
                break
            (check,) = struct.unpack_from("<I", data, place + 12 + length)
            assert check == masked_crc32c(body)
            found.append(Event.FromString(body))
            place += 16 + length
    return found


def scalars(folder: Path) -> list[tuple[int, str, float]]:
    return [
        (event.step, value.tag, value.simple_value)
        for event in found_events(folder)
        for value in event.summary.value
        if not value.HasField("image")
    ]


def make_log(workdir, start=0, flops=0.0, peak=None, **options) -> Log:
    """The log of a run of 100 steps of 8 photos each."""
    return Log(workdir, 100, start, Rates(start, 8, flops, peak), **options)


class Fullness:
    """Makes files that grow beyond a size fail as on a full disk."""

    def __init__(self, size: int):
        self._limits = (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1])

    def __enter__(self):
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)

    def __exit__(self, *error):
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


# Rates.


def test_rates_are_of_the_time_since_the_last_report(tmp_path, clock):
    with make_log(tmp_path, 10, flops=3e12, peak=1e14) as log:
        clock.now = 60.0
        log.advance(50)  # The first step compiles.
        for _ in range(4):
            clock.now += 0.5
            log.advance(0.1)
        log.train(15, {"loss": 1.0})
        clock.now += 1
        log.advance(0.75)
        log.train(16, {"loss": 1.0})
    first, second = lines(tmp_path)
    assert first["step_seconds"] == 0.5 and first["images_per_second"] == 16
    assert first["data_wait_share"] == pytest.approx(0.2)
    assert first["tflops_per_second"] == 6 and first["peak_share"] == 0.06
    assert second["step_seconds"] == 1 and second["data_wait_share"] == 0.75


def test_evaluations_take_no_time_from_training(tmp_path, clock):
    with make_log(tmp_path) as log:
        log.evaluation(0, {"psnr": 20.0}, SHEET)
        for _ in range(4):
            clock.now += 1
            log.advance(0.5)
        clock.now += 100
        log.evaluation(4, {"psnr": 20.0}, SHEET)
        clock.now += 2
        log.advance()
        log.train(5, {"loss": 1.0})
    report = lines(tmp_path)[-1]
    assert report["step_seconds"] == 2 and report["data_wait_share"] == 0


def test_a_report_without_a_counted_step_has_no_rates(tmp_path):
    with make_log(tmp_path, flops=1e9, peak=1e12) as log:
        log.advance(1.0)
        log.train(1, {"loss": 1.0})
    (report,) = lines(tmp_path)
    assert report.keys() == {"step", "kind", "loss", "host_memory_gib"}


def test_what_is_not_known_is_not_told(tmp_path):
    with make_log(tmp_path) as log:
        for _ in range(2):
            log.advance()
        log.train(2, {"loss": 1.0})
    (report,) = lines(tmp_path)
    assert "images_per_second" in report and "tflops_per_second" not in report
    assert "peak_share" not in report and "device_memory_gib" not in report


# The bar.


def test_the_bar_is_short_and_names_what_is_remarkable(tmp_path, clock, capsys):
    with make_log(tmp_path, flops=1e12, peak=1e13) as log:
        for waited in (0.0, 0.5):
            clock.now += 1
            log.advance(waited)
        log.train(2, {"loss": 0.123456})
    told = capsys.readouterr().err
    assert "loss 0.1235, 8.0 images/s, 10 % of peak, waiting for data 50 %" in told


# The file.


def test_a_report_is_a_line_with_its_step_and_kind(tmp_path, capsys):
    with make_log(tmp_path) as log:
        log.train(2, {"loss": 0.5, "l1": 0.25})
        log.evaluation(2, {"psnr": 20.0}, SHEET)
    first, second = lines(tmp_path)
    assert (first["step"], first["kind"], first["l1"]) == (2, "train", 0.25)
    assert second == {"step": 2, "kind": "evaluate", "psnr": 20.0}
    assert "step 2: psnr 20" in capsys.readouterr().out


def test_numbers_that_json_has_no_word_for_are_text_and_come_back(tmp_path):
    with make_log(tmp_path) as log:
        log.train(2, {"loss": math.nan, "l1": math.inf, "skipped": 2.0})
    (line,) = lines(tmp_path)
    assert (line["loss"], line["l1"]) == ("nan", "inf")
    (report,) = read_metrics(tmp_path)
    assert math.isnan(report["loss"]) and report["l1"] == math.inf


def test_skipped_steps_are_said(tmp_path, capsys):
    with make_log(tmp_path) as log:
        log.train(2, {"loss": 1.0, "skipped": 0.0})
        assert "skipped" not in capsys.readouterr().out
        log.train(4, {"loss": 1.0, "skipped": 2.0})
    assert "step 4: 2 steps without a finite loss skipped" in capsys.readouterr().out


def test_reports_after_the_step_a_run_goes_on_from_are_dropped(tmp_path):
    with make_log(tmp_path) as log:
        for step in (2, 4, 6):
            log.train(step, {"loss": float(step)})
    before = (tmp_path / "metrics.jsonl").read_bytes().splitlines()
    with make_log(tmp_path, 4):
        pass
    assert (tmp_path / "metrics.jsonl").read_bytes().splitlines() == before[:2]


def test_a_run_that_begins_anew_begins_its_file_anew(tmp_path):
    for _ in range(2):
        with make_log(tmp_path) as log:
            log.evaluation(0, {"psnr": 20.0}, SHEET)
    assert len(lines(tmp_path)) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b'{"step": 3, "kind": "tr',
        b"\xff\xfe\x80",
        bytes(300),
        b"[1, 2]",
        b"7",
        b'{"kind": "train"}',
        b'{"step": "3", "kind": "train"}',
        b'{"step": 3}',
        b"[" * 100_000,
    ],
)
def test_lines_of_garbage_do_not_count_and_go_when_the_run_goes_on(garbage, tmp_path):
    sound = b'{"step": 2, "kind": "train", "loss": 1.0}'
    last = b'{"step": 4, "kind": "train", "loss": 1.0}'
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join([sound, garbage, last]))
    assert [report["step"] for report in read_metrics(tmp_path)] == [2, 4]
    with make_log(tmp_path, 4):
        pass
    assert path.read_bytes() == sound + b"\n" + last + b"\n"


def test_metrics_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    for act in (lambda: read_metrics(tmp_path), lambda: make_log(tmp_path)):
        with pytest.raises(InputError, match="metrics.jsonl: cannot be"):
            act()


# TensorBoard.


def test_events_hold_the_same_numbers_and_the_sheets(tmp_path):
    with make_log(tmp_path) as log:
        log.train(2, {"loss": 0.5})
        log.evaluation(2, {"psnr": 20.0}, SHEET)
    found = scalars(tmp_path / "tensorboard")
    assert (2, "train/loss", 0.5) in found and (2, "evaluate/psnr", 20.0) in found
    images = [
        value.image
        for event in found_events(tmp_path / "tensorboard")
        for value in event.summary.value
        if value.HasField("image")
    ]
    assert [(image.height, image.width) for image in images] == [(4, 6)]


def test_events_of_a_run_that_goes_on_replace_those_after_its_step(tmp_path):
    with make_log(tmp_path, 7):
        pass
    starts = [
        event.step
        for event in found_events(tmp_path / "tensorboard")
        if event.HasField("session_log")
    ]
    assert starts == [8]  # TensorBoard forgets what is of this step or later.


# What goes wrong.


def test_a_full_disk_stops_nothing_and_loses_no_report(tmp_path, capsys):
    with make_log(tmp_path) as log:
        log.train(2, {"loss": 1.0})
        (path,) = (tmp_path / "tensorboard").iterdir()
        with Fullness(50):
            for step in range(4, 30):
                log.train(step, {"loss": 1.0})
            log.evaluation(30, {"psnr": 1.0}, SHEET)
            assert [line["step"] for line in lines(tmp_path)] == [2]
        log.train(32, {"loss": 1.0})
    assert [line["step"] for line in lines(tmp_path)] == [2, *range(4, 31), 32]
    told = capsys.readouterr().out
    assert told.count("metrics.jsonl: cannot be written (File too large)") == 1
    assert told.count("tensorboard: cannot be written (File too large)") == 1
    found = [step for step, tag, _ in scalars(path.parent) if tag == "train/loss"]
    assert found == [2]  # TensorBoard's file goes on with the next start.


def test_reports_that_never_found_room_are_told_at_the_end(tmp_path, capsys):
    log = make_log(tmp_path)
    with Fullness(50), log:
        log.train(2, {"loss": 1.0})
    assert "metrics.jsonl: the last reports are lost" in capsys.readouterr().out
    assert lines(tmp_path) == []


def test_a_workdir_that_vanishes_stops_nothing_and_is_told(tmp_path, capsys):
    workdir = tmp_path / "run"
    workdir.mkdir()
    with make_log(workdir) as log:
        workdir.rename(tmp_path / "elsewhere")
        log.train(2, {"loss": 1.0})
        log.evaluation(2, {"psnr": 1.0}, SHEET)
    assert "cannot be written (No such file" in capsys.readouterr().out
    assert not workdir.exists()


def test_a_place_for_no_events_is_refused_before_training(tmp_path):
    (tmp_path / "tensorboard").write_text("")
    with pytest.raises(InputError, match="tensorboard: cannot be written"):
        make_log(tmp_path)


def test_other_processes_write_and_say_nothing(tmp_path, capsys):
    with make_log(tmp_path, writes=False) as log:
        log.advance(0.1)
        log.train(2, {"loss": 1.0, "skipped": 1.0})
        log.evaluation(2, {"psnr": 1.0}, SHEET)
        log.say("hello")
    told = capsys.readouterr()
    assert not list(tmp_path.iterdir()) and not told.out and not told.err


def test_a_report_costs_no_more_than_a_few_milliseconds(tmp_path):
    with make_log(tmp_path) as log:
        log.train(1, {"loss": 1.0})  # Imports what it needs.
        took = []
        for step in range(2, 12):
            began = time.perf_counter()
            log.train(step, {f"part_{i}": 1.0 for i in range(10)} | {"loss": 1.0})
            took.append(time.perf_counter() - began)
    assert min(took) < 0.02
