"""How much memory there is: what is free, within the limits of all groups."""

import pytest

from dear_jax.inference.memory import allowed_memory, free_memory, resident_memory

MIB = 2**20
TWO = ("", "memory.max", "memory.current", "inactive_file")
ONE = (
    "memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
)


@pytest.fixture
def machine(tmp_path):
    """A function that writes what /proc tells; 8 GiB are free."""

    def tell(groups: str):
        (tmp_path / "self").mkdir()
        (tmp_path / "self/cgroup").write_text(groups)
        (tmp_path / "meminfo").write_text("MemAvailable: 8388608 kB\nOdd: 1 kB\n")
        return tmp_path, tmp_path / "groups"

    return tell


def limit(groups, version, place, most, used, files=0):
    """Writes a group's files; most, used and files in MiB, or most a word."""
    mounted, *names, stat = version
    folder = groups / mounted / place
    folder.mkdir(parents=True, exist_ok=True)
    most = most if isinstance(most, str) else str(most * MIB)
    for name, value in zip(names, (most, str(used * MIB)), strict=True):
        (folder / name).write_text(value + "\n")
    (folder / "memory.stat").write_text(f"anon 1\n{stat} {files * MIB}\n")


@pytest.mark.parametrize(
    "version, said", [(TWO, "0::/a/b\n"), (ONE, "9:cpu:/\n4:memory:/a/b\n0::/\n")]
)
def test_the_tightest_of_the_groups_around_decides(machine, version, said):
    proc, groups = machine(said)
    assert free_memory(proc, groups) == 8192 * MIB
    limit(groups, version, "a/b", 3000, 1000)
    assert free_memory(proc, groups) == 2000 * MIB
    limit(groups, version, "a", 1500, 1000)
    assert free_memory(proc, groups) == 500 * MIB
    limit(groups, version, "", 1000, 1200)
    assert free_memory(proc, groups) == 0


@pytest.mark.parametrize("version", [TWO, ONE])
def test_inside_a_container_its_group_is_the_mount(machine, version):
    proc, groups = machine("4:memory:/docker/1234\n0::/docker/1234\n")
    limit(groups, version, "", 4000, 1000)
    assert free_memory(proc, groups) == 3000 * MIB


def test_files_read_before_give_way(machine):
    proc, groups = machine("0::/\n")
    limit(groups, TWO, "", 4000, 3990, files=3000)
    assert free_memory(proc, groups) == 3010 * MIB


@pytest.mark.parametrize("version, none", [(TWO, "max"), (ONE, 2**43)])
def test_groups_without_a_limit_limit_nothing(machine, version, none):
    proc, groups = machine("4:memory:/\n0::/\n")
    limit(groups, version, "", none, 1000)
    assert free_memory(proc, groups) == 8192 * MIB


def test_where_nothing_tells_there_are_four_gibibytes(tmp_path):
    assert free_memory(tmp_path, tmp_path) == 4 * 2**30


def test_what_the_process_holds_counts_as_free_to_it():
    assert allowed_memory() >= resident_memory() > 0
