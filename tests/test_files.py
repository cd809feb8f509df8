"""Files take their place whole, and with the rights that files usually have."""

import os
import stat

import numpy as np
import pytest
from safetensors.numpy import save_file

from dear_jax.errors import InputError
from dear_jax.files import replacing, write_text


@pytest.mark.skipif(os.name != "posix", reason="rights as POSIX has them")
@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o002, 0o664)])
def test_a_file_has_the_usual_rights_whoever_wrote_it(umask, mode, tmp_path):
    path = tmp_path / "x.safetensors"
    before = os.umask(umask)
    try:
        with replacing(path) as partial:
            save_file({"x": np.ones(1)}, partial)
            partial.chmod(0o600)  # As some versions of safetensors leave it.
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "x").write_text("old")
    with pytest.raises(KeyError), replacing(tmp_path / "x") as partial:
        partial.write_text("new")
        raise KeyError
    with (
        pytest.raises(InputError, match="cannot be written"),
        replacing(tmp_path / "x"),
    ):
        pass  # Nothing was written.
    assert (tmp_path / "x").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_an_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    path = tmp_path / "table.txt"
    write_text(path, "old")
    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1
