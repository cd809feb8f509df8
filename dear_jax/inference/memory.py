"""How much memory there is for this process, on the device that works."""

import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

import jax

# Of what is free, what a plan may use if nobody says.
SHARE = 0.8
_STATM = Path("/proc/self/statm")

# Where control groups tell limit, use and what of the use is files read before, which
# give way: by the hierarchy's name in /proc/self/cgroup (version 2 has none).
_GROUPS = {
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": (
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
}


def allowed_memory() -> int:
    """Bytes that a plan may count on: most of what is free, on the device that works.

    What this process has taken already counts as free to it.
    """
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        if "bytes_limit" in stats:
            return int(SHARE * stats["bytes_limit"])
    return int(SHARE * free_memory()) + resident_memory()


def resident_memory() -> int:
    """Bytes of memory that this process holds now; 0 where nothing says.

    Without /proc the most that it ever held.
    """
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * mmap.PAGESIZE
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on most systems, bytes on macOS.
    return most * (1 if sys.platform == "darwin" else 1024)


def free_memory(
    proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")
) -> int:
    """Bytes of memory that are free, within the limits of this process's groups.

    Containers and batch systems such as Slurm limit by control groups, of version 1
    or 2; each group is also held to the limits of those that it is in.
    """
    free = 4 * 2**30  # Where nothing says.
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        known = dict(line.split(":") for line in lines)
        free = int(known["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        pass
    return max(0, min([free, *_left_in(proc, groups)]))


def _left_in(proc: Path, groups: Path) -> Iterator[int]:
    """Bytes that each group which this process is in, and which has a limit, has."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, inside = line.split(":", 2)
        for name in names.split(","):
            if name in _GROUPS:
                mounted, *files = _GROUPS[name]
                # Inside a container the path may be the host's; its end is the mount.
                place = Path(inside.strip("/"))
                for folder in (place, *place.parents):
                    yield from _left(groups / mounted / folder, *files)


def _left(folder: Path, limit: str, used: str, files: str) -> Iterator[int]:
    try:
        most = int((folder / limit).read_text())
        now = int((folder / used).read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        yield most - now + int(dict(line.split() for line in lines)[files])
    except (OSError, ValueError, KeyError):  # No group, or no limit: the word "max".
        pass
