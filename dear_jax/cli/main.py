"""The command `dear`, also `python -m dear_jax`.

The module of a command has `add_parser(commands)`. Its parser's default `prepare` is a
function of the flags that checks them, loads libraries and models, and returns the
function that does the work and returns the exit status. What is slow to import is
imported in `prepare`, so that help appears at once.
"""

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import dear_jax
from dear_jax.cli import export, mask, models, options, serve
from dear_jax.cli.cache import use_compilation_cache
from dear_jax.errors import InputError

DESCRIPTION = """\
Completes and enlarges photographs: what is missing is filled in and the whole
drawn at any larger size, by one model, on whatever computer this is."""
EXAMPLES = """\
examples:
  dear restore photo.png --mask mask.png --scale 6 -o out.png
      white in mask.png is missing; out.png has six times the photo's sides
  dear restore old/ --mask masks/ --size 1920x1080 -o new/
      all photos of a folder, each with the mask of its name
  dear restore scans/ --mask auto --scale 2 -o new/
      damage is found; `dear mask` shows what
  dear models
      what can be loaded, how large it is and under which terms

`dear COMMAND --help` describes a command and all its options."""
INTERRUPTED = "interrupted: what is written is whole"
_UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT)


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `InputError`, and whose texts keep their lines.

    Args:
      arguments: of `argparse.ArgumentParser`.
    """

    def __init__(self, **arguments):
        arguments.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        arguments.setdefault("allow_abbrev", False)
        super().__init__(**arguments)

    def error(self, message: str):
        """Raises InputError."""
        raise InputError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status, see `exit_status`."""
    open_streams()
    return exit_status(lambda: _prepared(argv)())


def open_streams() -> None:
    """Makes stdout and stderr take whatever is printed.

    What an encoding such as ASCII lacks is escaped. A closed one becomes the null
    device, and so do closed numbers of files, or else a photo could be written under
    the number to which libraries print.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # Takes the lowest number that is free.
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def exit_status(command: Callable[[], int], interrupted: str = INTERRUPTED) -> int:
    """Runs a command; what ends it early becomes one line on stderr and a status.

    Args:
      command: returns its own status: 0, or 1 if a part of the work failed.
      interrupted: the line after Ctrl-C.

    Returns:
      The command's status; 1 if stdout cannot be written, 2 for an InputError, 130 if
      interrupted, 141, without a line, if the reader of stdout has closed it, as
      `head` does.
    """
    try:
        status = command()
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # What is still buffered would be written at exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # As of a process that SIGPIPE ended.
    except OSError as error:
        # Of a full disk, say: whatever was to be written elsewhere is InputError.
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"error: stdout cannot be written ({error.strerror})", file=sys.stderr)
        return 1
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Inside, Ctrl-C ends the process at once, with `INTERRUPTED` and status 130.

    For what loads libraries and writes nothing: KeyboardInterrupt, raised while an
    extension begins or Python collects garbage, may crash the process or be lost.
    """
    before = signal.getsignal(signal.SIGINT)
    here = threading.current_thread() is threading.main_thread()
    if not here or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _exit_interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _exit_interrupted(*_) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(130)


def _prepared(argv: Sequence[str] | None) -> Callable[[], int]:
    """The work of a command line."""
    with exit_on_interrupt():
        flags = _parse(list(sys.argv[1:] if argv is None else argv))
        use_compilation_cache()
        return flags.prepare(flags)


def _parse(argv: list[str]) -> argparse.Namespace:
    """The flags; photos may also stand behind options, which argparse cannot do."""
    parser = Parser(prog="dear", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument(
        "--version", action="version", version=f"dear_jax {dear_jax.__version__}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for module in (options, mask, serve, models, export):
        module.add_parser(commands)
    # What begins with a minus would be taken for an option: --box -5,0,20,20.
    for i in [i for i, word in enumerate(argv[:-1]) if word == "--box"][::-1]:
        argv[i : i + 2] = [f"--box={argv[i + 1]}"]
    flags, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(flags, "photos") or any(r[0:1] == "-" for r in rest)):
        getattr(flags, "parser", parser).error(f"unknown arguments {' '.join(rest)}")
    if not hasattr(flags, "prepare"):
        named = ", ".join(commands.choices)
        raise InputError(f"name a command: {named}; see dear --help")
    if rest:
        flags.photos += rest
    return flags
