"""Settings of all tests: four CPU devices and strict arrays.

Four devices let data-parallel code be tested without accelerators. Strictness
makes a silent broadcast between ranks or a silent change of dtype an error.
"""

import getpass
import os
import subprocess
import tempfile

import jax
import numpy as np
import pytest
from tiny import draw_like

from dear_jax.images.io import write_photo

# Tests compare to 1e-6, which accelerators do not promise; JAX_PLATFORMS overrides.
jax.config.update("jax_platforms", os.environ.get("JAX_PLATFORMS") or "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_configure(config):
    """Compiles the programs of fast tests quickly rather than well.

    Most of them run once, on a few pixels. Those of slow and long tests are compiled as
    users' programs are; JAX_DISABLE_MOST_OPTIMIZATIONS=0 does so for all.
    """
    if "not slow" not in config.option.markexpr:
        return
    if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") != "0":
        jax.config.update("jax_disable_most_optimizations", True)
        if jax.__version_info__ < (0, 11):
            # Its newer way to emit fused loops takes three times as long to compile;
            # later versions have no other.
            flags = os.environ.get("XLA_FLAGS", "")
            os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_use_fusion_emitters=false"


def pytest_collection_modifyitems(items):
    """Begins with the longest, so that no worker is left alone with them at the end."""
    longest = ("test_train.py", "test_start.py", "test_step.py", "test_any_size.py")
    items.sort(key=lambda item: item.path.name not in longest)


@pytest.fixture(scope="module")
def optax_promotion():
    """Optax multiplies floats by integer counts; the strict tests are the model's."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="session")
def draw_params():
    """A function (module, *example arguments) -> parameters.

    See `draw_like`.
    """

    def draw(module, *arguments, method=None, gain=2, seed=0):
        shapes = jax.eval_shape(
            lambda key: module.init(key, *arguments, method=method), jax.random.key(0)
        )
        return draw_like(shapes, gain, seed)

    return draw


# Many tests compile the same programs; the second time they are read from here.
jax.config.update(
    "jax_compilation_cache_dir",
    os.path.join(tempfile.gettempdir(), f"dear_jax-tests-of-{getpass.getuser()}"),
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True, scope="module")
def forget_compiled_programs():
    """Frees the memory of the programs that a file of tests has compiled."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="module")
def mask_folder(tmp_path_factory):
    """Three masks in two subfolders."""
    path = tmp_path_factory.mktemp("masks")
    rng = np.random.default_rng(1)
    for i, part in enumerate(["01-10", "01-10", "10-20"]):
        mask = rng.random((24, 32)) < 0.1 * (i + 1)
        write_photo(path / part / f"{i}.png", mask.astype(np.uint8) * 255)
    return path


@pytest.fixture
def make_disk(tmp_path):
    """A function that mounts a file system of a size, such as "400k", on a folder."""
    mounted = []

    def make(size: str):
        path = tmp_path / "disk"
        path.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("file systems cannot be mounted here")
        mounted.append(path)
        return path

    yield make
    for path in mounted:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
