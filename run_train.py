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
Slurm needs no flags: srun starts the processes, one a GPU, e.g.
  srun --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 --kill-on-bad-exit \\
      python run_train.py --config=FILE --workdir=DIR
Nor do Open MPI, indexed Kubernetes jobs and TPU pods; JAX_COORDINATOR_ADDRESS,
JAX_NUM_PROCESSES and JAX_PROCESS_ID do instead of the flags. The batch, its order
and the result do not depend on the number of machines: a run may go on on another.

SIGTERM and Ctrl-C save and stop; the exit code is 0. It is 2 for what is wrong with
the command, the configuration or the data, which is said in one line.
"""

import os
import re
from logging import getLogger
from tempfile import TemporaryDirectory

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from dear_jax.errors import InputError
from dear_jax.multihost import exit_status, initialize

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration file, e.g. configs/quickstart.py.", lock_config=True
)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; made if need be.")
ACCEPT_CHANGES = flags.DEFINE_bool(
    "accept_changes", False, "Go on with a run although the configuration differs."
)
PROFILE = flags.DEFINE_bool(
    "profile", False, "Write a trace of a few steps to WORKDIR/profile."
)
COORDINATOR = flags.DEFINE_string(
    "coordinator",
    os.environ.get("JAX_COORDINATOR_ADDRESS"),
    "HOST:PORT of process 0; HOST sees the others, PORT is free.",
)
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    os.environ.get("JAX_NUM_PROCESSES"),
    "Number of processes; 1 alone: do not look for others.",
)
PROCESS_ID = flags.DEFINE_integer(
    "process_id",
    os.environ.get("JAX_PROCESS_ID"),
    "Number of this process, from 0 to num_processes - 1.",
)
flags.mark_flags_as_required(["config", "workdir"])


# What the libraries of flags raise for wrong flags, overrides and files.
MISTAKES = (
    *(flags.Error, LookupError, AttributeError, TypeError, ValueError),
    *(OSError, SyntaxError),
)


def parse(argv: list[str]) -> list[str]:
    """Parses the flags, or ends with one line that says what is wrong."""
    with exit_status(), TemporaryDirectory() as links:
        try:
            rest = flags.FLAGS(without_colons(argv, links))
            if not isinstance(CONFIG.value, ConfigDict):
                CONFIG.value.model  # noqa: B018  Raises why there is no such file.
        except MISTAKES as error:
            raise InputError(reason(error)) from None
        if rest[1:]:
            raise InputError(f"unknown argument {rest[1]!r}; flags begin with --")
        return rest


def without_colons(argv: list[str], folder: str) -> list[str]:
    """The arguments, a configuration whose path has a colon as a link without.

    The library takes what follows the first colon for the file's argument.

    Args:
      argv: of the command.
      folder: where the link is made.
    """
    text = "\n".join(argv)
    match = re.search(r"(?m)^--?config[=\n](.*)$", text)
    parts = match[1].split(":") if match else []
    files = [":".join(parts[:n]) for n in range(len(parts), 1, -1)]
    file = next(filter(os.path.isfile, files), None)
    if match is None or file is None:
        return argv
    link = os.path.join(folder, "config.py")
    os.symlink(os.path.abspath(file), link)
    changed = text[: match.start(1)] + link + text[match.start(1) + len(file) :]
    return changed.split("\n")


def reason(error: Exception) -> str:
    """What is wrong with flags or configuration, in one line."""
    if isinstance(error, LookupError | AttributeError):
        # The library quotes names twice.
        text = str(error).replace("\\n", " ").replace("\\", "")
        text = text[1:-1] if text[:1] in ("'", '"') else text
        return f"--config: {text}; the file of the configuration says more"
    if isinstance(error, SyntaxError):
        return f"--config: no Python: {error}"
    return str(error).strip().splitlines()[-1].split("InputError: ")[-1]


def main(_) -> None:
    """Trains as the flags say, as one of several processes if there are several."""
    # Orbax logs what it also raises, for each array of a state.
    logging.set_verbosity(logging.FATAL)
    getLogger("asyncio").setLevel("CRITICAL")
    with exit_status():
        initialize(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
        from dear_jax.training.train import train

        train(
            CONFIG.value,
            WORKDIR.value,
            accept_changes=ACCEPT_CHANGES.value,
            profile=PROFILE.value,
        )


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
