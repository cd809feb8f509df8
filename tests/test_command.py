"""The command `dear`: help, mistakes, amounts, the list of models, its cache."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from eval_folders import write_random_weights
from tiny import SMALLEST, tiny_fields

import dear_jax
from dear_jax.cli import quantities, start
from dear_jax.cli.main import COMMANDS, main
from dear_jax.errors import InputError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def said(capsys):
    """A function that runs the command: (status, output, errors)."""

    def run(*arguments) -> tuple[int, str, str]:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:  # Of help and version.
            status = end.code or 0
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_fits_a_terminal_and_shows_examples(said, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = said(*command, "--help")
    assert status == 0
    assert "examples:\n" in out
    assert max(map(len, out.splitlines())) <= 80
    assert "SUPPRESS" not in out and "None" not in out


def test_help_and_version_do_without_jax():
    code = (
        "import sys; from dear_jax.cli.main import main\n"
        "for argv in (['--version'], ['--help'], ['restore', '--help'], "
        "['models', '--help'], ['export', '--help'], ['restore', 'x', '--foo']):\n"
        "    try: main(argv)\n"
        "    except SystemExit: pass\n"
        "slow = {'jax', 'flax', 'cv2', 'matplotlib', 'tqdm', 'scipy'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_version_is_the_packages(said):
    assert said("--version") == (0, f"dear_jax {dear_jax.__version__}\n", "")


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "dear_jax", "restore"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
    assert ended.stdout == ""


@pytest.mark.parametrize(
    "arguments, told",
    [
        ([], "name a command"),
        (["restor"], "invalid choice"),
        (["restore"], "PHOTO"),
        (["restore", "x.png"], "nothing to do: give --scale or --size"),
        (["restore", "x.png", "--scale", "2", "--size", "9x9"], "not allowed with"),
        (["restore", "x.png", "--mask", "m", "--mask-alpha"], "not allowed with"),
        (["restore", "x.png", "--mask", "m", "--box", "1,1,1,1"], "not allowed with"),
        (["restore", "x.png", "--foo"], "arguments --foo; see dear restore --help"),
        (["restore", "x.png", "--foo", "y.png"], "--foo y.png"),
        (["models", "x.png"], "x.png; see dear models --help"),
        (["restore", "x.png", "--scale", "2", "y.png"], "x.png: no such file"),
        (["restore", "x.png", "--scale", "0.5"], "--scale 0.5: give a number"),
        (["restore", "x.png", "--scale", "nan"], "--scale nan: give a number"),
        (["restore", "x.png", "--scale", "2x"], "--scale 2x: give a number"),
        (["restore", "x.png", "--size", "100"], "--size 100: give WIDTHxHEIGHT"),
        (["restore", "x.png", "--size", "0x9"], "--size 0x9: give WIDTHxHEIGHT"),
        (["restore", "x.png", "--box", "1,2,3"], "1,2,3"),
        (["restore", "x.png", "--mask-color", "greenish"], "greenish"),
        (["restore", "x.png", "--scale", "2", "--invert-mask"], "--invert-mask"),
        (["restore", "x.png", "--scale", "2", "--dilate", "3"], "--dilate 3"),
        (["restore", "x.png", "--mask", "m", "--dilate", "-3"], "--dilate -3"),
        (["restore", "x.png", "--scale", "2", "--max-memory", "4"], "--max-memory 4"),
        (["restore", "none.png", "--scale", "2"], "none.png: no such file or folder"),
        (["restore", "x", "--scale", "2", "--process_id", "0"], "--coordinator"),
        (["models", "--weights", "none"], "--weights none: no such folder"),
    ],
)
def test_mistakes_are_told_in_one_line(said, arguments, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, errors = said(*arguments)
    assert (status, out) == (2, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert told in errors
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_is_one_line(said, monkeypatch):
    from dear_jax.cli import models

    def interrupt(flags):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "run", interrupt)
    assert said("models") == (130, "", "interrupted: what is written is whole\n")


def test_ctrl_c_while_libraries_load_ends_the_command_at_once(tmp_path):
    """Raised as an exception there, extensions may crash or lose it."""
    (tmp_path / "x.png").write_bytes(b"")
    code = (
        "import signal, sys\n"
        "class Loses:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        try:\n"
        "            if name == 'jax': signal.raise_signal(signal.SIGINT)\n"
        "        except KeyboardInterrupt: pass\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Loses())\n"
        "from dear_jax.cli.main import main\n"
        f"sys.exit(main(['restore', {str(tmp_path / 'x.png')!r}, '--scale', '2']))\n"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 130
    assert ended.stderr == "interrupted: what is written is whole\n"


@pytest.mark.parametrize(
    "command", [["-m", "dear_jax", "models"], ["run_eval.py", "--limit", "1", "--out"]]
)
def test_a_reader_that_leaves_ends_a_command_without_a_word(command, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, *command, *[tmp_path] * (command[-1] == "--out")]
    with os.fdopen(writing) as pipe:
        ended = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, cwd=ROOT)
    assert b"Error" not in ended.stderr and ended.returncode == 141


def test_interrupts_end_at_once_only_where_they_would_be_raised():
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler in (signal.default_int_handler, signal.SIG_IGN):
            signal.signal(signal.SIGINT, handler)
            with start.interrupts_end():
                raised = handler is signal.default_int_handler
                assert (signal.getsignal(signal.SIGINT) != handler) == raised
            assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_sizes_are_width_by_height():
    assert quantities.parse_size("1920x1080") == (1080, 1920)
    assert quantities.parse_size(" 300 X 20 ") == (20, 300)


@pytest.mark.parametrize(
    "text, count",
    [
        ("4G", 4 * 2**30),
        ("4GiB", 4 * 2**30),
        ("4GB", 4 * 10**9),
        ("500M", 500 * 2**20),
        ("500mb", 500 * 10**6),
        ("1.5 g", 3 * 2**29),
        ("20k", 20 * 2**10),
        ("1T", 2**40),
    ],
)
def test_amounts_of_memory_are_understood(text, count):
    assert quantities.parse_memory(text) == count


@pytest.mark.parametrize("text", ["", "G", "4", "-4G", "4P", "4Gi b", "4 gigs", "1e3M"])
def test_other_amounts_are_refused(text):
    with pytest.raises(InputError, match="--max-memory"):
        quantities.parse_memory(text)


def test_models_lists_what_files_say(said, tmp_path):
    fields = tiny_fields("dear")
    write_random_weights(tmp_path / "mine.safetensors", **fields)
    write_random_weights(
        tmp_path / "up.safetensors",
        **{"architecture": "edsr"} | {**SMALLEST["edsr"], "scale": 3},
    )
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    status, out, errors = said("models", "--weights", tmp_path)
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
def own_cache(monkeypatch):
    """JAX without a cache, and with what it had afterwards."""
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update(names[0], None)
    monkeypatch.delenv("DEAR_JAX_CACHE", raising=False)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_compiled_programs_are_kept_in_the_users_cache(
    own_cache, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = start.keep_compiled()
    assert folder.parent == tmp_path / "dear_jax" / "xla"
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0


def test_a_cache_that_the_user_named_is_used(own_cache, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    assert start.keep_compiled() == tmp_path / "mine"


def test_the_cache_can_be_switched_off(own_cache, monkeypatch):
    monkeypatch.setenv("DEAR_JAX_CACHE", "OFF")
    assert start.keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_without_a_writable_place_nothing_is_kept(own_cache, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert start.keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir is None
