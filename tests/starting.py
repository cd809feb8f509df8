"""Starting real processes, for tests of several."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax

ROOT = Path(__file__).parents[1]
SURROUNDINGS = ("JAX_", "SLURM_", "OMPI_", "KUBERNETES_", "JOB_COMPLETION_INDEX")


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("", 0))
        return door.getsockname()[1]


def environment(devices: int) -> dict[str, str]:
    """For a process of some CPU devices of its own, with the user's XLA_FLAGS."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(SURROUNDINGS)}
    flags = f"--xla_force_host_platform_device_count={devices}"
    return {
        **ours,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def start(*command: str, devices: int = 2) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(devices),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(runs: list[subprocess.Popen], seconds: float = 300) -> list:
    """Returns (exit code, output, errors) of each; none survives or may take longer."""
    ended, until, late = [], time.monotonic() + seconds, False
    for run in runs:
        try:
            texts = run.communicate(timeout=max(until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            late = True
            for other in runs:
                other.kill()
            texts = run.communicate()
        ended.append((run.returncode, *texts))
    assert not late, ended
    return ended
