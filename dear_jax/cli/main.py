"""The command `dear`, also `python -m dear_jax`.

A module for each subcommand has `add_parser(subparsers)` and `run(flags) -> int`. They
import what is slow to import only when they run, so that help comes at once.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

import dear_jax
from dear_jax.cli.start import INTERRUPTED, nobody_reads
from dear_jax.errors import InputError

COMMANDS = ("restore", "models", "export")
DESCRIPTION = """\
Completes and enlarges photographs: what is missing is filled in and the whole
drawn at any larger size, by one model, on whatever computer this is."""
EXAMPLES = """\
examples:
  dear restore photo.png --mask mask.png --scale 6 -o out.png
      white in mask.png is missing; out.png has six times the photo's sides
  dear restore old/ --mask masks/ --size 1920x1080 -o new/
      all photos of a folder, each with the mask of its name
  dear models
      what can be loaded, how large it is and under which terms

`dear COMMAND --help` tells all of a command."""


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are told like all others, and whose help is laid out.

    Args:
      arguments: of `argparse.ArgumentParser`; texts keep their lines.
    """

    def __init__(self, **arguments):
        arguments.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        arguments.setdefault("allow_abbrev", False)
        super().__init__(**arguments)

    def error(self, message: str):
        """Raises InputError."""
        raise InputError(f"{message}; see {self.prog} --help")


def parser() -> Parser:
    """The parser of all commands; its flags have `run`, the command, and `parser`."""
    whole = Parser(prog="dear", description=DESCRIPTION, epilog=EXAMPLES)
    whole.add_argument(
        "--version", action="version", version=f"dear_jax {dear_jax.__version__}"
    )
    commands = whole.add_subparsers(title="commands", metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"dear_jax.cli.{name}")
        module.add_parser(commands)
        own = commands.choices[name]
        own.set_defaults(run=module.run, parser=own)
    return whole


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags; photos may also stand behind options, which argparse cannot do."""
    whole = parser()
    argv = list(sys.argv[1:] if argv is None else argv)
    # What begins with a minus would be taken for an option: --box -5,0,20,20.
    for i in [i for i, word in enumerate(argv[:-1]) if word == "--box"][::-1]:
        argv[i : i + 2] = [f"--box={argv[i + 1]}"]
    flags, rest = whole.parse_known_args(argv)
    if rest and (not hasattr(flags, "photos") or any(r[0:1] == "-" for r in rest)):
        getattr(flags, "parser", whole).error(f"unknown arguments {' '.join(rest)}")
    if rest:
        flags.photos += rest
    return flags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status.

    0: done; 1: some photos of several could not be restored; 2: a mistake, told in
    one line; 130: interrupted; 141: who reads what is printed has left.
    """
    try:
        flags = _parse(argv)
        if not hasattr(flags, "run"):
            raise InputError(f"name a command: {', '.join(COMMANDS)}; see dear --help")
        status = flags.run(flags)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        return nobody_reads()
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130
