"""How a command starts: soon, as compiled programs are kept, and easy to interrupt.

Programs lie in JAX_COMPILATION_CACHE_DIR, or else in ~/.cache/dear_jax/xla (or below
XDG_CACHE_HOME), which may be removed at any time. DEAR_JAX_CACHE=off keeps none.
"""

import hashlib
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INTERRUPTED = "interrupted: what is written is whole"
UNREAD = 128 + 13  # As of a process that SIGPIPE ended.
_OFF = frozenset({"off", "0", "no", "false"})


def keep_compiled() -> Path | None:
    """Has JAX keep what it compiles from now on, and look there first.

    Without a place that can be written, or if the user wants none, nothing changes.

    Returns:
      The folder, None if nothing is kept.
    """
    if os.environ.get("DEAR_JAX_CACHE", "").lower() in _OFF:
        return None
    import jax

    named = jax.config.jax_compilation_cache_dir  # JAX has read its own variable.
    folder = Path(named) if named else cache_folder()
    if "://" not in str(named) and not _writable(folder):
        return None
    jax.config.update("jax_compilation_cache_dir", named or str(folder))
    # Even what compiles soon: the many small programs are seconds together.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def cache_folder() -> Path:
    """The folder for programs compiled on processors of this kind.

    Machines may share a home, but programs use instructions that others lack.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    kind = hashlib.sha256(_processor().encode()).hexdigest()[:8]
    return Path(os.path.expanduser(home)) / "dear_jax" / "xla" / kind


def nobody_reads() -> int:
    """What is still to be printed goes nowhere: its reader has left, as `head` does.

    Returns:
      The exit status.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNREAD


@contextmanager
def interrupts_end() -> Iterator[None]:
    """Until left, Ctrl-C ends the process at once, with `INTERRUPTED` and status 130.

    For what loads libraries and writes nothing: KeyboardInterrupt, raised while an
    extension begins or Python collects garbage, may crash the process or be lost.
    """
    before = signal.getsignal(signal.SIGINT)
    here = threading.current_thread() is threading.main_thread()
    if not here or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end_interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_interrupted(*_) -> None:
    os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(130)


def _processor() -> str:
    """What the processor can do, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    except OSError:
        pass
    return f"{platform.machine()} {platform.processor()}"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
