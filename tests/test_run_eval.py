"""The command run_eval.py: by scale and as the paper's tables."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import SMALLEST, TINY

import run_eval
from dear_jax import photo, registry, resize
from dear_jax.evaluation import by_scale, protocol, report
from dear_jax.evaluation.evaluate import evaluate
from dear_jax.evaluation.scores import Score
from dear_jax.registry import VARIANTS
from dear_jax.systems.catalogue import open_system
from dear_jax.tables.paper import paper_tables
from dear_jax.tables.setup import read_setup
from dear_jax.weights import Weights, write_weights

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folders(tmp_path):
    """Three photos of two sizes, and two bins of two and one masks."""
    rng = np.random.default_rng(0)
    for name, size in (("a", (32, 32)), ("b", (32, 32)), ("c", (32, 40))):
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        photo.write_photo(tmp_path / f"photos/{name}.png", resize.bicubic(coarse, size))
    for name, ratio in (("01-10/x", 0.1), ("01-10/y", 0.05), ("20-30/z", 0.25)):
        mask = np.zeros((40, 40), np.uint8)
        mask[: round(40 * ratio)] = 255
        photo.write_photo(tmp_path / f"masks/{name}.png", mask)
    return tmp_path / "photos", tmp_path / "masks"


@pytest.fixture
def command(folders, tmp_path):
    """Calls run_eval.main in this process on the small folders."""
    data, masks = map(str, folders)
    usual = ["--data", data, "--masks", masks, "--out", str(tmp_path / "out")]
    return lambda *flags: run_eval.main([*usual, *flags])


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
    fields = {**registry.fields_of("edsr"), **SMALLEST["edsr"], "scale": 3}
    variables = registry.init_variables(registry.build(fields), 0)
    weights = Weights(variables, fields, {})
    write_weights(tmp_path / "w" / "mine.safetensors", weights)
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
        (["--out", __file__], "cannot be a folder"),
    ],
)
def test_bad_flags_are_named_with_a_remedy(command, capsys, flags, words):
    assert command(*flags) == 2
    assert words in capsys.readouterr().err


def test_loaded_models_stand_beside_the_classical_row(command, tmp_path, monkeypatch):
    def load(name, weights):
        found = open_system("classical")
        found.name = name if name == "classical" else "dear"
        found.fingerprint = lambda: name
        return found

    monkeypatch.setattr(by_scale, "load", load)
    assert command("--model", "one,two", "--limit", "1") == 0
    rows = _scores(tmp_path / "out" / "scale-4.json")
    systems = ["classical", "dear", "two"]
    assert [row.system for row in rows] == [name for name in systems for _ in range(2)]


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


@pytest.mark.parametrize("number", paper_tables())
def test_every_table_is_filled_with_what_there_is(number, command, tmp_path, capsys):
    setup = tmp_path / "setup.toml"
    setup.write_text('[systems]\nDEAR = "classical"\n[extra]\nblack = "bicubic"\n')
    flags = ["--table", str(number), "--setup", str(setup), "--limit", "1"]
    assert command(*flags) == 0
    shown = capsys.readouterr().out
    out, table = tmp_path / "out", paper_tables()[number]
    assert (out / f"table-{number}.txt").read_text() in shown
    assert shown.startswith(f"Table {number}") and "protocol v1" in shown
    for row in table.rows:
        assert row.label in shown
    found = json.loads((out / f"table-{number}.json").read_text())
    assert found
    assert {path.suffix for path in out.glob(f"table-{number}*")} == {
        ".txt",
        ".md",
        ".csv",
        ".json",
        ".png",
    }


def test_tables_share_what_they_measured(command, tmp_path, capsys):
    setup = tmp_path / "setup.toml"
    setup.write_text('[systems]\nDEAR = "classical"\n"+PIM" = "classical"\n')
    flags = ["--setup", str(setup), "--limit", "1"]
    assert command("--table", "6", *flags) == 0
    assert "every result was there already" not in capsys.readouterr().out
    assert command("--table", "5", *flags) == 0
    assert "every result was there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--table", "7"], "tables 1 to 6"),
        (["--table", "1", "--setup", "no.toml"], "no.toml: no such setup"),
        (["--table", "1", "--model", "lte"], "--model goes with --scale"),
        (["--scale", "4", "--setup", "x"], "goes with --table"),
    ],
)
def test_flags_that_do_not_go_together_are_named(command, capsys, flags, words):
    assert command(*flags) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, words",
    [
        ("[systems]\nDEER = 'x'", "systems.DEER is unknown; choose from"),
        ("[data.CelebHQ]\nphotos = 'x'", "data.CelebHQ is unknown; .*CelebAHQ"),
        ("[data.FFHQ]\nmasks = 'x'", "data.FFHQ names no photos"),
        ("[data.FFHQ]\nphoto = 'x'", "data.FFHQ.photo is unknown"),
        ("[table9.systems]\nDEAR = 'x'", "table9 is unknown"),
        ("[table1.system]\nDEAR = 'x'", "table1.system is unknown"),
        ("DEAR", "not a setup of tables"),
    ],
)
def test_what_a_setup_gets_wrong_is_named(command, capsys, tmp_path, text, words):
    (tmp_path / "s.toml").write_text(text)
    assert command("--table", "1", "--setup", str(tmp_path / "s.toml")) == 2
    message = capsys.readouterr().err
    assert re.search(words, message) and message.count("\n") == 1


def test_a_setup_of_one_table_goes_before_the_general_one(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(
        '[systems]\nDEAR = "a"\nLTE = "b"\n[table6.systems]\nDEAR = "c"\n'
        '[data.FFHQ]\nphotos = "p"\n[table3.data.FFHQ]\nphotos = "q"\n'
    )
    assert read_setup(path, 6).systems == {"DEAR": "c", "LTE": "b"}
    assert read_setup(path, 1).systems == {"DEAR": "a", "LTE": "b"}
    assert read_setup(path, 3).data["FFHQ"].photos == "q"
    assert read_setup(path, 1).data["FFHQ"].photos == "p"


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.toml")))
def test_the_setups_that_come_along_can_be_read_for_every_table(path):
    for number in paper_tables():
        assert set(paper_tables()[number].datasets) & set(read_setup(path, number).data)
