"""JAX's persistent cache of compiled programs, as the commands use it."""

import hashlib
import os
import platform
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_OFF = frozenset({"off", "0", "no", "false"})
# Bytes; what was not used for longest goes first. A photo's programs take a megabyte.
_MOST = 1 << 30
_UNREADABLE = "Error reading persistent compilation cache entry"


def use_compilation_cache() -> Path | None:
    """Sets JAX's persistent compilation cache, unless JAX is imported already.

    Programs are kept in JAX_COMPILATION_CACHE_DIR, or else in ~/.cache/dear_jax/xla
    (or below XDG_CACHE_HOME), up to a gigabyte, which may be removed at any time.
    DEAR_JAX_CACHE=off keeps none, nor does a place that cannot be written. Programs
    that are damaged, as after a full disk, are removed and compiled again.

    Returns:
      The default folder, None if that is not used.
    """
    off = os.environ.get("DEAR_JAX_CACHE", "").lower() in _OFF
    if off or "jax" in sys.modules:
        return None
    # Even what compiles soon is kept: the many small programs are seconds together.
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    # Machines may share a home, but programs use instructions that others lack.
    kind = hashlib.sha256(_processor().encode()).hexdigest()[:8]
    folder = Path(os.path.expanduser(home)) / "dear_jax" / "xla" / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _prune(folder, _MOST)
    except OSError:
        return None
    if not os.access(folder, os.W_OK | os.X_OK):
        return None
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    warnings.showwarning = _healing(folder, warnings.showwarning)
    return folder


def _prune(folder: Path, most: int) -> None:
    """Removes empty programs, and the oldest of more than so many bytes."""
    files = [(entry.path, entry.stat()) for entry in os.scandir(folder)]
    total = 0
    for path, about in sorted(files, key=lambda file: -file[1].st_atime):
        total += about.st_size
        if total > most or not about.st_size and path.endswith("-cache"):
            _remove(Path(path))


def _healing(folder: Path, show: Callable[..., None]) -> Callable[..., None]:
    """Shows warnings; at the first of a damaged program all are removed instead.

    JAX warns of each, and leaves it where it is. The file is not named.
    """
    healed = False

    def shown(message: Any, *arguments: Any, **options: Any) -> None:
        nonlocal healed
        if _UNREADABLE not in str(message):
            show(message, *arguments, **options)
        elif not healed:
            healed = True
            for file in folder.iterdir():
                _remove(file)
            print(
                f"warning: {folder}: held damaged programs; they are compiled again",
                file=sys.stderr,
            )

    return shown


def _remove(file: Path) -> None:
    with suppress(OSError):  # Another process, or nobody, may.
        file.unlink(missing_ok=True)


def _processor() -> str:
    """What the processor can do, as the system states it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    except OSError:
        pass
    return f"{platform.machine()} {platform.processor()}"
