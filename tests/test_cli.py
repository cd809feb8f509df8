"""The command `dear`: help, mistakes, options, progress, models, compilation cache."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from eval_folders import write_random_weights
from tiny import SMALLEST, tiny_fields

import dear_jax
from dear_jax.cli import cache, models, progress, values
from dear_jax.cli import main as command
from dear_jax.cli.progress import ProgressDisplay, duration
from dear_jax.errors import InputError
from dear_jax.images.io import write_photo

ROOT = Path(__file__).parents[1]
INTERRUPTED = "interrupted: what is written is whole\n"


def python(*arguments) -> subprocess.CompletedProcess:
    """Python, in a process of its own."""
    run = [sys.executable, *map(str, arguments)]
    return subprocess.run(run, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture
def dear(capsys):
    """A function that runs the command: (status, output, errors)."""

    def run(*arguments) -> tuple[int, str, str]:
        try:
            status = command.main([str(argument) for argument in arguments])
        except SystemExit as end:  # Of help and version.
            status = end.code or 0
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("name", ["", "restore", "models", "export"])
def test_help_fits_a_terminal_and_shows_examples(dear, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = dear(*name.split(), "--help")
    assert status == 0 and "examples:\n" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "SUPPRESS" not in out and "None" not in out


def test_help_and_version_do_without_jax():
    run = python(
        "-c",
        "import sys; from dear_jax.cli.main import main\n"
        "for argv in (['--version'], ['--help'], ['restore', '--help'], "
        "['models', '--help'], ['export', '--help'], ['restore', 'x', '--foo']):\n"
        "    try: main(argv)\n"
        "    except SystemExit: pass\n"
        "slow = {'jax', 'flax', 'cv2', 'matplotlib', 'tqdm', 'scipy'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n",
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(f"dear_jax {dear_jax.__version__}\n")


def test_the_module_is_the_command():
    run = python("-m", "dear_jax", "restore")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("error: ") and run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "",
            "name a command: restore, mask, serve, models, export; see dear --help",
        ),
        ("restor", "invalid choice"),
        ("--foo", "unknown arguments --foo; see dear --help"),
        ("models x.png", "x.png; see dear models --help"),
        ("models --weights none", "--weights none: no such folder"),
        ("restore", "PHOTO"),
        ("restore x.png", "nothing to do: give --scale, --size"),
        ("restore x.png --foo", "arguments --foo; see dear restore --help"),
        ("restore x.png --foo y.png", "--foo y.png"),
        ("restore x.png --scale 2 --size 9x9", "not allowed with"),
        ("restore x.png --mask m --mask-alpha", "--mask m and --mask-alpha"),
        ("restore x.png --mask m --box 1,1,1,1", "--mask m and --box: one"),
        ("restore x.png --scale 0.5", "--scale 0.5: give a number"),
        ("restore x.png --scale nan", "--scale nan: give a number"),
        ("restore x.png --scale 2x", "--scale 2x: give a number"),
        ("restore x.png --size 0x100", "--size 0x100: give WIDTHxHEIGHT"),
        ("restore x.png --size 0x9", "--size 0x9: give WIDTHxHEIGHT"),
        ("restore x.png --box 1,2,3", "1,2,3"),
        ("restore x.png --mask-color greenish", "greenish"),
        ("restore x.png --scale 2 --invert-mask", "--invert-mask"),
        ("restore x.png --scale 2 --dilate 3", "--dilate 3"),
        ("restore x.png --mask m --dilate -3", "--dilate -3"),
        ("restore x.png --scale 2 --max-memory 4", "--max-memory 4"),
        ("restore x.png --scale 2 --texture 2", "--texture 2: give a number from 0"),
        ("restore x.png --scale 2 --denoise 1.5", "give a number from 0 to 1, or auto"),
        ("restore x.png --keep-known --scale 2 --denoise auto", "--keep-known keeps"),
        ("restore x.png --keep-known --scale 2 --denoise 0.3", "--keep-known keeps"),
        *(
            (f"restore x.png --scale 2 --part={part}", f"--part {part}: give I/N")
            for part in ("0/3", "4/3", "3", "1/0", "a/b", "-1/3")
        ),
        ("restore none.png --scale 2", "none.png: no such file or folder"),
        ("restore x.png --scale 2 y.png", "x.png: no such file"),
    ],
)
def test_a_mistake_is_one_line(dear, line, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, errors = dear(*line.split())
    assert (status, out) == (2, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert message in errors
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_one_line(dear, monkeypatch):
    def interrupt(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "model_list", interrupt)
    assert dear("models") == (130, "", INTERRUPTED)


def test_ctrl_c_while_libraries_load_ends_the_command_at_once(tmp_path):
    """Raised as an exception there, extensions may crash or lose it."""
    (tmp_path / "x.png").write_bytes(b"")
    run = python(
        "-c",
        "import signal, sys\n"
        "class Loses:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        try:\n"
        "            if name == 'jax': signal.raise_signal(signal.SIGINT)\n"
        "        except KeyboardInterrupt: pass\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Loses())\n"
        "from dear_jax.cli.main import main\n"
        f"sys.exit(main(['restore', {str(tmp_path / 'x.png')!r}, '--scale', '2']))\n",
    )
    assert (run.returncode, run.stderr) == (130, INTERRUPTED)


def test_interrupts_end_at_once_only_where_they_would_be_raised():
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler in (signal.default_int_handler, signal.SIG_IGN):
            signal.signal(signal.SIGINT, handler)
            with command.exit_on_interrupt():
                raised = handler is signal.default_int_handler
                assert (signal.getsignal(signal.SIGINT) != handler) == raised
            assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "line",
    [
        ["-m", "dear_jax", "models"],
        ["run_eval.py", "--model", "classical", "--limit", "1", "--out"],
    ],
)
def test_a_closed_output_ends_a_command_without_a_word(line, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    run = [sys.executable, *line, *[tmp_path] * (line[-1] == "--out")]
    with os.fdopen(writing) as pipe:
        ended = subprocess.run(run, stdout=pipe, stderr=subprocess.PIPE, cwd=ROOT)
    assert b"Error" not in ended.stderr and ended.returncode == 141


@pytest.mark.parametrize(
    "redirected, status, said",
    [
        ("2>&-", 0, "is there"),
        (">&-", 0, ""),
        (">/dev/full", 1, "error: stdout cannot be written (No space left on device)"),
    ],
)
def test_closed_or_full_streams_spoil_nothing(redirected, status, said, tmp_path):
    photo, out = tmp_path / "p.png", tmp_path / "out.png"
    write_photo(photo, np.zeros((8, 8, 3), np.uint8))
    line = [sys.executable, "-m", "dear_jax", "restore", photo, "--scale", "2"]
    line = " ".join(map(str, [*line, "-o", out, "--model", "telea+bicubic"]))
    ended = subprocess.run(
        f"{line} {redirected}", shell=True, capture_output=True, text=True, cwd=ROOT
    )
    assert ended.returncode == status and out.stat().st_size > 60
    assert (out.name if said == "is there" else said) in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_names_that_an_output_cannot_encode_are_escaped(tmp_path):
    photo, out = tmp_path / "\u00fc.png", tmp_path / "\u00fc2.png"
    write_photo(photo, np.zeros((8, 8, 3), np.uint8))
    line = [sys.executable, "-m", "dear_jax", "restore", photo, "--scale", "2"]
    ended = subprocess.run(
        [*line, "-o", out, "--model", "telea+bicubic"], capture_output=True, cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert ended.returncode == 0 and rb"\xfc2.png: 8 x 8" in ended.stdout


def test_a_kind_of_device_that_is_not_there_is_one_line():
    line = [sys.executable, "-c", "import dear_jax; dear_jax.load('telea+bicubic')"]
    ended = subprocess.run(
        line, capture_output=True, text=True, cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "nonsense"},
    )  # fmt: skip
    assert "JAX finds no device (JAX_PLATFORMS=nonsense): " in ended.stderr


def test_sizes_are_width_by_height():
    assert values.parse_size("1920x1080") == (1080, 1920)
    assert values.parse_size(" 300 X 20 ") == (20, 300)
    assert values.parse_size("300") == values.parse_size("300x") == (None, 300)
    assert values.parse_size("x20") == (20, None)
    assert values.parse_fit("300x20") == (20, 300)
    for text in ("x", "", "0x20", "20x-3", "a"):
        with pytest.raises(InputError, match="--size"):
            values.parse_size(text)
    with pytest.raises(InputError, match="--fit"):
        values.parse_fit("300x")


def test_amounts_of_memory_have_a_unit():
    amounts = {
        **{"4G": 4 * 2**30, "4GiB": 4 * 2**30, "4GB": 4 * 10**9, "1.5 g": 3 * 2**29},
        **{"500M": 500 * 2**20, "500mb": 500 * 10**6, "20k": 20 * 2**10, "1T": 2**40},
    }
    assert {text: values.parse_memory(text) for text in amounts} == amounts
    for text in ("", "G", "4", "-4G", "4P", "4Gi b", "4 gigs", "1e3M"):
        with pytest.raises(InputError, match="--max-memory"):
            values.parse_memory(text)


def test_models_lists_what_files_say(dear, tmp_path):
    write_random_weights(tmp_path / "mine.safetensors", **tiny_fields("dear"))
    upscaler = {"architecture": "edsr", **SMALLEST["edsr"], "scale": 3}
    write_random_weights(tmp_path / "up.safetensors", **upscaler)
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    status, out, errors = dear("models", "--weights", tmp_path)
    assert (status, errors) == (0, "")
    assert "  dear-lite  [dear-lite: fills and enlarges, any scale]" in out
    assert "4.4 MB, 2.17 M parameters" in out and "non-commercial" in out
    assert "mine.safetensors  [dear: fills and enlarges, any scale]" in out
    assert "up.safetensors  [edsr-baseline: enlarges, x3]" in out
    assert "broken.safetensors: not a readable safetensors file" in out
    for name in ("telea", "bicubic", "misf", "big-lama", "elan-full", "lte-fast"):
        assert name in out
    assert "lpips" not in out
    assert max(map(len, out.splitlines())) <= 88


@pytest.fixture
def surroundings(tmp_path, monkeypatch):
    """The environment of a process that has not imported JAX yet."""
    monkeypatch.delitem(sys.modules, "jax")
    monkeypatch.setattr(os, "environ", {"XDG_CACHE_HOME": str(tmp_path)})
    return os.environ


def test_compiled_programs_are_kept_in_the_users_cache(surroundings, tmp_path):
    folder = cache.use_compilation_cache()
    assert folder.parent == tmp_path / "dear_jax" / "xla" and folder.is_dir()
    assert surroundings["JAX_COMPILATION_CACHE_DIR"] == str(folder)


def test_a_cache_that_the_user_named_is_used(surroundings, tmp_path):
    surroundings["JAX_COMPILATION_CACHE_DIR"] = "gs://mine"
    assert cache.use_compilation_cache() is None
    assert surroundings["JAX_COMPILATION_CACHE_DIR"] == "gs://mine"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reason", ["switched off", "no place", "JAX is there"])
def test_otherwise_no_cache_is_used(surroundings, tmp_path, reason, monkeypatch):
    if reason == "switched off":
        surroundings["DEAR_JAX_CACHE"] = "OFF"
    elif reason == "no place":
        (tmp_path / "dear_jax").touch()
    else:
        monkeypatch.setitem(sys.modules, "jax", None)
    assert cache.use_compilation_cache() is None
    assert "JAX_COMPILATION_CACHE_DIR" not in surroundings


def test_jax_takes_the_cache(tmp_path):
    run = python(
        "-c",
        f"import os; os.environ['XDG_CACHE_HOME'] = {str(tmp_path)!r}\n"
        "for name in ('JAX_COMPILATION_CACHE_DIR', 'DEAR_JAX_CACHE'):\n"
        "    os.environ.pop(name, None)\n"
        "from dear_jax.cli.cache import use_compilation_cache\n"
        "folder = use_compilation_cache()\n"
        "from jax import config\n"
        "assert config.jax_compilation_cache_dir == str(folder) != 'None'\n"
        "assert config.jax_persistent_cache_min_compile_time_secs == 0\n"
        "assert config.jax_persistent_cache_min_entry_size_bytes == -1\n",
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_a_damaged_cache_is_said_in_a_line_and_mended(tmp_path, content):
    write_photo(tmp_path / "p.png", np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    write_random_weights(tmp_path / "tiny.safetensors", **tiny_fields("dear-lite"))
    line = [sys.executable, "-m", "dear_jax", "restore", tmp_path / "p.png"]
    line += ["--scale=2", "--model", tmp_path / "tiny.safetensors"]
    line += ["-o", tmp_path / "o.png", "--overwrite"]
    names = ("JAX_COMPILATION_CACHE_DIR", "DEAR_JAX_CACHE")
    environment = {k: v for k, v in os.environ.items() if k not in names}
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    said = []
    for _ in range(3):
        ended = subprocess.run(
            line, capture_output=True, text=True, cwd=ROOT, env=environment
        )
        assert ended.returncode == 0, ended.stderr
        said.append("damaged programs" in ended.stderr)
        assert "persistent compilation" not in ended.stderr
        programs = list(tmp_path.rglob("*-cache"))
        assert programs and all(file.stat().st_size > 10 for file in programs)
        if len(said) == 1:
            for file in programs:
                file.write_bytes(content)
    assert said == [False, bool(content), False]


def test_a_cache_has_a_bound_and_the_oldest_go_first(tmp_path):
    for age in range(4):
        (tmp_path / f"{age}-cache").write_bytes(bytes(100))
        os.utime(tmp_path / f"{age}-cache", (1000 - age, 1000))
    cache._prune(tmp_path, 250)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0-cache", "1-cache"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time, which passes when it is set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def work(display: ProgressDisplay, clock: list, seconds: float, steps: int = 10):
    with display.on("a.png") as advance:
        for step in range(steps):
            clock[0] += seconds / steps
            advance(step + 1, steps)


def test_without_a_terminal_only_long_work_is_shown_at_times(clock):
    stream = io.StringIO()
    with ProgressDisplay(3, stream) as display:
        for _ in range(3):
            work(display, clock, seconds=5)
        assert stream.getvalue() == ""
        work(display, clock, seconds=200, steps=200)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[0] == "a.png: 15%, 3 min left"
    assert lines[-1] == "a.png: 90%, 20 s left"


def test_lines_count_the_photos_done_also_those_that_fail():
    display = ProgressDisplay(3, io.StringIO())
    with display.on("a") as advance:
        advance(0, 0)  # There may be nothing to do.
    assert display.numbered("a") == "[1/3] a"
    with pytest.raises(KeyError), display.on("b"):
        raise KeyError
    assert display.numbered("b") == "[2/3] b"
    assert ProgressDisplay(1, io.StringIO()).numbered("a") == "a"


def test_a_terminal_shows_a_bar_over_the_photos(clock):
    stream = Terminal()
    with ProgressDisplay(2, stream) as display:
        work(display, clock, seconds=0.1)
        display.print("a line")
        work(display, clock, seconds=0.1)
    shown = stream.getvalue()
    assert "0/2 photos" in shown and "a line\n" in shown
    assert "a.png" not in shown


def test_a_terminal_shows_a_bar_inside_what_takes_long(clock, monkeypatch):
    monkeypatch.setattr(progress, "_LONG", 0)
    stream = Terminal()
    with ProgressDisplay(1, stream) as display:
        work(display, clock, seconds=60)
    assert "a.png: " in stream.getvalue() and "photos" not in stream.getvalue()


def test_durations_are_rounded():
    expected = {3.21: "3.2 s", 45.2: "45 s", 100: "2 min", 3899: "1 h 5 min"}
    assert {seconds: duration(seconds) for seconds in expected} == expected
