"""Trains a model: python run_train.py --config=configs/quickstart.py --workdir=DIR

The same command continues a run that was stopped or killed. Every field of the
configuration can be changed: --config.train.steps=1000 --config.data.side=48. The
configurations in configs/ say what they need and how long they take. After a colon
they take the system to train: --config=configs/celebahq.py:elan,scale=6; see
configs/systems.py.

One process drives all GPUs of its machine, one or eight, by the command above. For
two machines give each the same command, each with its number, and a WORKDIR that
both see:
  python run_train.py --config=FILE --workdir=DIR \\
      --coordinator=HOST_OF_0:1234 --num_processes=2 --process_id=0     (or 1)
Slurm needs no flags: srun starts the processes, one a machine or one a GPU, e.g.
  srun --nodes=2 --ntasks-per-node=1 --gpus-per-node=8 --kill-on-bad-exit \\
      python run_train.py --config=FILE --workdir=DIR
Nor do Open MPI, indexed Kubernetes jobs and TPU pods; JAX_COORDINATOR_ADDRESS,
JAX_NUM_PROCESSES and JAX_PROCESS_ID do instead of the flags. The batch, its order
and the result do not depend on the number of machines: a run may go on on another.

SIGTERM and Ctrl-C save and stop; the exit code is 0. It is 2 for what is wrong with
the command, the configuration or the data, which is told in one line.
"""

import os
import runpy
import sys
import traceback
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
ACCEPT_CHANGES = flags.DEFINE_bool(
    "accept_changes", False, "Go on with a run although the configuration differs."
)
PROFILE = flags.DEFINE_bool(
    "profile", False, "Write a trace of a few steps to WORKDIR/profile."
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0; HOST sees the others, PORT is free."
)
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "Number of processes; 1 alone: do not look for others."
)
PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Number of this process, from 0 to num_processes - 1."
)


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
    """Trains as the flags say, as one of several processes if there are several."""
    from dear_jax.distributed import processes
    from dear_jax.distributed.alarm import Alarm

    logging.set_verbosity(logging.WARNING)  # Orbax tells a page per checkpoint.
    try:
        processes.initialise(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    with Alarm(end_for_another) as alarm:
        try:
            train()
        except BaseException as error:
            if isinstance(error, InputError):
                end_by_mistake(error, alarm)
            if processes.several():
                end_by_bug(error, alarm)
            raise
    processes.shutdown()


def train() -> None:
    """The training that the flags ask for."""
    from dear_jax.training.loop import train

    train(
        CONFIG.value,
        WORKDIR.value,
        accept_changes=ACCEPT_CHANGES.value,
        profile=PROFILE.value,
    )


def end_by_mistake(error: InputError, alarm) -> None:
    """Ends all processes; one of them says why, the first if it can."""
    from dear_jax.distributed.processes import is_of_another

    if alarm.ring(str(error), 2, is_of_another(error)):
        print(f"error: {error}", file=sys.stderr)
    end(2)


def end_by_bug(error: BaseException, alarm) -> None:
    """Ends all processes, this one with its traceback."""
    from dear_jax.distributed.processes import is_of_another

    traceback.print_exception(error)
    message = f"{type(error).__name__}; its own output has more"
    alarm.ring(message, 1, is_of_another(error))
    end(130 if isinstance(error, KeyboardInterrupt) else 1)


def end_for_another(message: str | None, code: int) -> None:
    """Ends this process because another one had to."""
    if message is not None:
        print(f"error: {message}", file=sys.stderr)
    end(code)


def end(code: int) -> None:
    """Ends the process, if it is one of several without JAX's farewell.

    That waits for the others, which may wait for this one, and then dumps core.
    """
    from dear_jax.distributed.processes import several

    if not several():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
