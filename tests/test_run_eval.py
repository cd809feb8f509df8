"""The command run_eval.py by scale; as the paper's tables: test_table_command.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from eval_folders import command_on, write_masks, write_photos, write_random_weights
from tiny import SMALLEST, TINY

from dear_jax.evaluation import by_scale, protocol, report
from dear_jax.evaluation.evaluate import evaluate
from dear_jax.evaluation.scores import Score
from dear_jax.inference.loading import open_system
from dear_jax.models import registry
from dear_jax.models.registry import VARIANTS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def command(tmp_path):
    return command_on(tmp_path)


@pytest.fixture
def folders(tmp_path):
    return write_photos(tmp_path / "photos"), write_masks(tmp_path / "masks")


def _run(*flags):
    command = [sys.executable, str(ROOT / "run_eval.py"), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def _scores(path):
    return [Score.from_row(row) for row in json.loads(path.read_text())["rows"]]


def test_all_are_the_papers_baselines_beside_ours(command, tmp_path, monkeypatch):
    monkeypatch.setattr(by_scale, "BASELINES", ("telea+edsr", "bilinear+misf"))
    small = {**VARIANTS, "edsr-baseline": {"architecture": "edsr", **SMALLEST["edsr"]}}
    small["misf"] = {"architecture": "misf", **SMALLEST["misf"]}
    small["dear"] = {"architecture": "dear", **TINY["dear"]}
    monkeypatch.setattr(registry, "VARIANTS", small)
    assert command("--model", "all", "--limit", "1") == 0
    rows = _scores(tmp_path / "out" / "scale-4.json")
    assert list(dict.fromkeys(row.system for row in rows)) == [
        "classical",
        "dear-lite",
        "telea+edsr (untrained)",
        "bilinear+misf (untrained)",
        "dear (untrained)",
    ]


def test_a_named_system_is_never_run_untrained(command, capsys, tmp_path):
    flags = ["--weights", str(tmp_path / "none"), "--limit", "1"]
    assert command("--model", "misf+bicubic", *flags) == 2
    assert "no weights of misf" in capsys.readouterr().err


def test_a_scale_without_weights_is_dashes_if_another_has_them(
    command, tmp_path, capsys
):
    mine = tmp_path / "w" / "mine.safetensors"
    write_random_weights(mine, "edsr", **SMALLEST["edsr"], scale=3)
    flags = ["--model", "edsr", "--weights", str(tmp_path / "w"), "--limit", "1"]
    assert command(*flags, "--scale", "2,3") == 0
    table = capsys.readouterr().out
    assert "edsr: edsr has weights for x3 only" in table
    assert "weights mine.safetensors" in table
    assert command(*flags, "--scale", "2") == 2
    assert "edsr has weights for x3 only" in capsys.readouterr().err


def test_command_writes_table_json_and_sheet(folders, tmp_path):
    data, masks = folders
    out = tmp_path / "new" / "results"
    flags = ["--data", data, "--masks", masks, "--out", out, "--limit", 2]
    done = _run("--model", "classical", "--scale", "3,1.5", *flags)
    assert done.returncode == 0, done.stderr
    table = (out / "table.txt").read_text()
    assert table in done.stdout and str(out / "scale-3.png") in done.stdout
    names = {"scale-1.5.json", "scale-1.5.png", "scale-3.json", "scale-3.png"}
    others = {"table.txt", "scores", "pictures"}
    assert {p.name for p in out.iterdir()} == names | others
    again = evaluate(open_system("classical"), protocol.cases(data, masks, 3, 2))
    for found, expected in zip(_scores(out / "scale-3.json"), again, strict=True):
        assert (found.photo, found.bin) == (expected.photo, expected.bin)
        assert found.psnr == pytest.approx(expected.psnr, rel=1e-5)


def test_the_ends_are_drawn_for_every_model_beside_the_classical_row(command, tmp_path):
    path = tmp_path / "mine.safetensors"
    write_random_weights(path, "dear-lite", **TINY["dear-lite"])
    assert command("--model", path, "--scale", "2", "--ends", "2") == 0
    drawn = {p.name for p in (tmp_path / "out").glob("*.png")}
    ends = {"scale-2-mine-worst.png", "scale-2-mine-median.png"}
    assert drawn == {"scale-2.png"} | ends


def test_bad_input_ends_in_one_line_and_status_2(folders, tmp_path):
    done = _run("--data", "no/such", "--masks", folders[1], "--out", tmp_path / "out")
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: no/such: no such folder")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--scale", "many"], "give numbers"),
        (["--scale", "0"], "at least 1"),
        (["--limit", "0"], "at least 1"),
        (["--ends", "-1"], "from 0 on"),
        (["--table", "1", "--ends", "2"], "goes with --scale"),
        (["--out", __file__], "cannot be a folder"),
    ],
)
def test_bad_flags_are_named_with_a_remedy(command, capsys, flags, words):
    assert command(*flags) == 2
    assert words in capsys.readouterr().err


def test_models_that_call_themselves_the_same_are_called_as_asked_for(
    command, tmp_path, monkeypatch
):
    own, loaded = {"one": "dear", "two": "dear", "x/one": "one"}, []

    def load(name, weights):
        loaded.append(name)
        found = open_system("classical")
        found.name = own.get(name, name)
        found.fingerprint = lambda: name
        return found

    monkeypatch.setattr(by_scale, "load", load)
    assert command("--model", "one,two,x/one", "--limit", "1", "--scale", "2,4") == 0
    assert loaded == ["classical", *own]  # Each once for all scales.
    rows = _scores(tmp_path / "out" / "scale-4.json")
    systems = ["classical", *own]
    assert [row.system for row in rows] == [name for name in systems for _ in range(2)]


def test_a_label_means_the_same_weights_at_every_scale(command, tmp_path):
    files = [tmp_path / f"w{scale}" / "edsr.safetensors" for scale in (2, 3)]
    for scale, file in zip((2, 3), files, strict=True):
        write_random_weights(file, "edsr", **SMALLEST["edsr"], scale=scale)
    flags = ["--limit", "1", "--scale", "2,3", "--model"]
    assert command(*flags, f"{files[0]},{files[1]}") == 0
    for scale, file in zip((2, 3), files, strict=True):
        rows = _scores(tmp_path / "out" / f"scale-{scale}.json")
        assert {row.system for row in rows} == {"classical", str(file)}
    table = (tmp_path / "out" / "table.txt").read_text()
    second = table.split("\nx3:")[1]
    dashes = [line for line in second.splitlines() if line.endswith("| -")]
    assert len(dashes) == 4 and all(line.startswith(str(files[0])) for line in dashes)


def test_a_file_is_called_by_its_stem_where_that_is_clear(command, tmp_path):
    file = tmp_path / "w" / "edsr.safetensors"
    write_random_weights(file, "edsr", **SMALLEST["edsr"], scale=2)
    out = tmp_path / "out" / "scale-2.json"
    flags = ["--limit", "1", "--scale", "2", "--weights", str(file.parent)]
    assert command(*flags, "--model", str(file)) == 0
    assert {row.system for row in _scores(out)} == {"classical", "edsr"}
    assert command(*flags, "--model", f"{file},edsr") == 0
    assert {row.system for row in _scores(out)} == {"classical", "edsr", str(file)}


def test_names_that_are_not_utf8_are_measured_and_said(command, tmp_path, capsys):
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        write_photos(strange, [os.fsdecode(b"caf\xe9")])
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    flags = ["--data", strange, "--out", strange / "out", "--model", "classical"]
    assert command(*flags) == 0
    assert r"caf\udce9" in capsys.readouterr().out
    rows = _scores(strange / "out" / "scale-4.json")
    assert {os.fsencode(row.photo) for row in rows} == {b"caf\xe9.png"}


def test_a_stopped_command_goes_on_and_ends_the_same(
    command, tmp_path, monkeypatch, capsys
):
    write = report.write_json

    def write_then_stop(path, *rest):
        if path.name == "scale-3.json":
            raise KeyboardInterrupt
        write(path, *rest)

    flags = ["--model", "classical", "--scale", "2,3", "--limit", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(report, "write_json", write_then_stop)
        assert command(*flags) == 130
    assert "the same command goes on" in capsys.readouterr().err
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"scale-2.json", "scale-2.png", "scores", "pictures"}
    assert command(*flags) == 0
    assert "every result was there already" in capsys.readouterr().out
    assert (tmp_path / "out" / "table.txt").exists()
