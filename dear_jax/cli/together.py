"""A command as one of several processes: they share the work and end together."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable

from dear_jax.cli.start import INTERRUPTED
from dear_jax.errors import InputError


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say which of several processes this is."""
    group = parser.add_argument_group(
        "many machines",
        "One of several processes, each with the same command: under Slurm (srun),\n"
        "Open MPI and the like nothing is to be said; elsewhere",
    )
    add = group.add_argument
    add("--coordinator", metavar="HOST:PORT", help="process 0, which others can reach")
    # With underscores, as JAX and run_train.py have them.
    add("--num_processes", type=int, metavar="N", help="how many there are")
    add("--process_id", type=int, metavar="I", help="which this is, from 0")


def together(flags: argparse.Namespace, work: Callable[[], int]) -> int:
    """Connects this process with the others, if there are any, and does the work.

    Args:
      flags: with those of `add_flags`.
      work: returns an exit status, in all processes the same. What ends it in one
        process ends it in all.

    Returns:
      The exit status.

    Raises:
      InputError: if the processes do not meet; if there is one process, also what
        `work` raises.
    """
    from dear_jax.distributed import processes

    processes.initialise(flags.coordinator, flags.num_processes, flags.process_id)
    if not processes.several():
        return work()
    import jax

    from dear_jax.distributed.alarm import Alarm

    # The devices of all are counted together, however little some have to do.
    jax.local_devices()
    with Alarm(_end_for_another) as alarm:
        try:
            status = work()
        except BaseException as error:
            _end_all(error, alarm)
    processes.shutdown()
    return status


def _end_all(error: BaseException, alarm) -> None:
    """Ends all processes; one of them says why."""
    from dear_jax.distributed.processes import is_of_another

    if isinstance(error, InputError):
        if alarm.ring(str(error), 2, is_of_another(error)):
            print("error:", " ".join(str(error).split()), file=sys.stderr)
        _end(2)
    interrupted = isinstance(error, KeyboardInterrupt)
    if interrupted:
        print(INTERRUPTED, file=sys.stderr)
    else:
        traceback.print_exception(error)
    code = 130 if interrupted else 1
    message = f"{type(error).__name__}; its own output has more"
    alarm.ring("interrupted" if interrupted else message, code, is_of_another(error))
    _end(code)


def _end_for_another(message: str | None, code: int) -> None:
    if message is not None:
        print(f"error: {message}", file=sys.stderr)
    _end(code)


def _end(code: int) -> None:
    """Ends at once; JAX's farewell would wait for the others and dump core."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
