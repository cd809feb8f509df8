"""The parity script passes what is equal and nothing else."""

import json
from pathlib import Path

import numpy as np
import parity
import parity_models
import pytest

from dear_jax.errors import InputError

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
META = {"op": "KernelConv", "kernel_size": 3}
UNIT = {"op": "FourierUnit", "in_channels": 1, "out_channels": 1, "fft_norm": "ortho"}


def write(path: Path, meta: dict | None, arrays: dict) -> str:
    more = {} if meta is None else {"meta_json": np.array(json.dumps(meta))}
    np.savez(path, **arrays, **more)
    return str(path)


@pytest.fixture
def filtered() -> dict:
    """The filter of every pixel by its definition, [1, 2, 4, 5] NCHW."""
    rng = np.random.default_rng(0)
    feature = rng.normal(size=(1, 2, 4, 5))
    kernels = rng.normal(size=(1, 18, 4, 5))
    padded = np.pad(feature, ((0, 0), (0, 0), (1, 1), (1, 1)))
    output = np.zeros_like(feature)
    for c, dy, dx in np.ndindex(2, 3, 3):
        window = padded[:, c, dy : dy + 4, dx : dx + 5]
        output[:, c] += kernels[:, 9 * c + 3 * dy + dx] * window
    arrays = {"input/feature": feature, "input/kernels": kernels, "output": output}
    return {key: value.astype(np.float32) for key, value in arrays.items()}


def fourier_unit() -> dict:
    """A state_dict of the smallest Fourier unit, and an input."""
    norm = {
        key: np.ones(2) for key in ("weight", "bias", "running_mean", "running_var")
    }
    return {
        "input/feature": np.ones((1, 1, 4, 4), np.float32),
        "output": np.ones((1, 1, 4, 4), np.float32),
        "param/conv_layer.weight": np.ones((2, 2, 1, 1)),
        **{f"param/bn.{key}": value for key, value in norm.items()},
    }


def test_what_is_equal_passes(filtered, tmp_path, capsys):
    assert parity.main([write(tmp_path / "a.npz", META, filtered)]) == 0
    printed = capsys.readouterr().out
    assert "output" in printed and "1 equal, 0 differing" in printed


@pytest.mark.parametrize("value", [1e-3, np.nan, np.inf])
def test_one_value_that_differs_fails(value, filtered, tmp_path, capsys):
    filtered["output"][0, 1, 2, 3] += value
    assert parity.main([write(tmp_path / "a.npz", META, filtered)]) == 1
    assert "DIFFERS" in capsys.readouterr().out


@pytest.mark.parametrize(
    "meta, change, says",
    [
        ({"op": "Unknown"}, {}, "unknown operator"),
        ({"something": "else"}, {}, "unknown kind"),
        (None, {}, "unknown kind"),
        ({"model": "MISF", "kernel_size": 5}, {}, "kernel_size 5"),
        (META, {"output": np.zeros((1, 2, 4, 4), np.float32)}, "ours is"),
        ({"names": [], "values": {}}, {"output": np.zeros(0)}, "lacks"),
        ({"cases": []}, {}, "nothing in it was compared"),
    ],
)
def test_what_cannot_be_compared_fails_and_says_why(
    meta, change, says, filtered, tmp_path, capsys
):
    path = write(tmp_path / "a.npz", meta, {**filtered, **change})
    assert parity.main([path]) == 1
    assert "FAILED" in (printed := capsys.readouterr().out) and says in printed


def test_a_file_that_is_no_reference_fails(tmp_path, capsys):
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 hello")
    (tmp_path / "b.npz").write_bytes(b"hello")
    np.save(tmp_path / "c.npy", np.ones(3))
    files = [str(tmp_path / file) for file in ("a.npz", "b.npz", "c.npy", "none.npz")]
    assert parity.main(files) == 1
    assert "4 failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda arrays: arrays.pop("param/bn.bias"), "missing bn.bias"),
        (lambda arrays: arrays.update({"param/new": np.ones(1)}), "unknown new"),
    ],
)
def test_parameters_lacking_or_left_over_fail(change, says, tmp_path, capsys):
    arrays = fourier_unit()
    change(arrays)
    assert parity.main([write(tmp_path / "a.npz", UNIT, arrays)]) == 1
    assert says in capsys.readouterr().out


def test_files_that_need_weights_are_skipped_and_named(filtered, tmp_path, capsys):
    photo = {"a/lr": np.zeros((4, 4, 3), np.uint8), "a/sr": np.zeros((8, 8, 3))}
    skipped = write(tmp_path / "published.npz", None, photo)
    assert parity.main([skipped]) == 3
    assert "published.npz\n  SKIPPED" in capsys.readouterr().out
    assert parity.main([skipped, write(tmp_path / "a.npz", META, filtered)]) == 0
    assert "1 equal, 0 differing, 0 failed, 1 skipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    "given, told, fits",
    [
        (512, 1024, True),  # Neither limits the 8 * 2^3 = 64 channels.
        (64, 1024, True),
        (32, 32, True),
        (32, 1024, False),
        (512, 32, False),
    ],
)
def test_lamas_largest_width_is_compared_only_where_it_limits(given, told, fits):
    fields = {"architecture": "lama", "width": 8, "downsamplings": 3}
    fields["largest_width"] = given
    if fits:
        parity_models._check_fields(fields, {"largest_width": told})
    else:
        with pytest.raises(InputError, match=f"largest_width is {given}"):
            parity_models._check_fields(fields, {"largest_width": told})


@pytest.mark.parametrize("empty", [None, {"name": "mlp", "args": None}])
def test_null_in_a_specification_is_as_absent(empty, tmp_path, capsys):
    golden = GOLDEN / "liif_pixelwrap_0.npz"
    if not golden.exists():
        pytest.skip("no reference files here")
    meta, arrays = parity.read(golden)
    meta["spec"]["args"]["imnet_spec"] = empty
    assert parity.main([write(tmp_path / "a.npz", meta, arrays)]) == 0
    assert "1 equal" in capsys.readouterr().out
