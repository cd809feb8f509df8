"""Trains a model: python run_train.py --config=configs/quickstart.py --workdir=DIR

The same command continues a run that was stopped or killed. Every field of the
configuration can be changed: --config.train.steps=1000 --config.data.side=48. The
configurations in configs/ say what they need and how long they take. After a colon
they take the system to train: --config=configs/celebahq.py:elan,scale=6; see
configs/systems.py.
"""

import runpy
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from dear_jax.errors import InputError

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration file, e.g. configs/quickstart.py.", lock_config=True
)
# What the flags library raises for wrong overrides.
MISTAKES = (AttributeError, KeyError, TypeError, ValueError)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; made if need be.")


def parse(argv: list[str]) -> list[str]:
    """Parses the flags, or ends with one line that says what is wrong."""
    try:
        check_keys(argv)
        rest = flags.FLAGS(argv)
        if rest[1:]:
            raise InputError(f"unknown argument {rest[1]!r}; flags begin with --")
        for flag in (CONFIG, WORKDIR):
            if flag.value is None:
                raise InputError(f"--{flag.name} is missing; see --help")
        return rest
    except (InputError, flags.Error, *MISTAKES) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)


def check_keys(argv: list[str]) -> None:
    """Raises InputError for a missing file or an override of no field, naming some.

    The flags library would end with a traceback.
    """
    joined = " ".join(argv).replace("--config ", "--config=").split()
    files = [a.removeprefix("--config=") for a in joined if a.startswith("--config=")]
    if not files:
        return
    config = read_config(files[-1])
    for arg in argv:
        if arg.startswith("--config."):
            check_key(config, arg.split("=")[0].split(".")[1:])


def check_key(config: ConfigDict, keys: list[str]) -> None:
    """Raises InputError unless the nested keys lead to a field of the configuration."""
    part, path = config, "config"
    for key in keys:
        names = sorted(part) if isinstance(part, ConfigDict) else []
        if key not in names:
            known = ", ".join(names) or "no fields, it is a value"
            raise InputError(f"{path} has no field {key!r}; it has {known}")
        part, path = part[key], f"{path}.{key}"


def read_config(where: str) -> ConfigDict:
    """Runs FILE or FILE:SYSTEM; InputError if it is missing or no such file."""
    file, *system = where.split(":", 1)
    if not Path(file).is_file():
        raise InputError(f"{file}: no such file; see configs/ for those there are")
    try:
        get_config = runpy.run_path(file)["get_config"]
    except (SyntaxError, KeyError) as error:
        raise InputError(
            f"{file}: not a configuration, which is Python with a function get_config "
            f"({error})"
        ) from None
    return get_config(*system)


def main(_) -> None:
    """Trains as the flags say."""
    from dear_jax.training.loop import train

    logging.set_verbosity(logging.WARNING)  # Orbax tells a page per checkpoint.
    try:
        train(CONFIG.value, WORKDIR.value)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
