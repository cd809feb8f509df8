"""Pickles that want to run code are refused, and nothing of them is run."""

import copyreg
import os
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest
from torch_files import (
    Code,
    call,
    code,
    legacy_file,
    name,
    pickled,
    storage,
    tensor,
    zip_file,
)

from dear_jax.convert.checkpoint import read_checkpoint
from dear_jax.convert.unpickle import Inert
from dear_jax.errors import InputError

NUMBERS = np.arange(4, dtype=np.float32)


def attacks(canary):
    """Name of an attack -> opcodes with which Python's pickle makes the canary."""
    shell = f"touch {canary}"
    python = f"open({str(canary)!r}, 'w').close()"
    mark, text = b"(", code(shell)
    setter = code({"__setstate__": name("os.system")}) + b"b"
    run = code((name("os.system"), (shell,)))
    mapped = Code(name("builtins.map") + run + b"\x81")
    return {
        "os.system": call("os.system", shell),
        "posix.system": call("posix.system", shell),
        "builtins.eval": call("builtins.eval", python),
        "builtins.exec": call("builtins.exec", python),
        "subprocess.Popen": call("subprocess.Popen", ("touch", str(canary))),
        "builtins.map with NEWOBJ": call("builtins.set", mapped),
        "STACK_GLOBAL": Code(
            code("os") + code("system") + b"\x93" + code((shell,)) + b"R"
        ),
        "INST": Code(mark + text + b"ios\nsystem\n"),
        "OBJ": Code(mark + name("os.system") + text + b"o"),
        "EXT1": Code(b"\x82\x7b" + code((shell,)) + b"R"),
        "EXT1 once unpickled": Code(b"\x82\x7c" + code((shell,)) + b"R"),
        "argument of a tensor": call(
            "torch._utils._rebuild_tensor_v2", call("os.system", shell)
        ),
        "state with a setter": Code(call("argparse.Namespace") + setter + text + b"b"),
        "key of a dict": code({call("os.system", shell): 1}),
    }


NAMES = list(attacks("canary"))
PLACES = {
    "plain": pickled,
    "zip": zip_file,
    "legacy": legacy_file,
    "legacy magic": lambda attack: legacy_file({}, magic=attack),
    "legacy system": lambda attack: legacy_file({}, system=attack),
    "legacy keys": lambda attack: legacy_file({}, keys=attack),
    "persistent id": lambda attack: zip_file(Code(code((attack,)) + b"Q")),
}


@pytest.fixture(autouse=True)
def extensions():
    """Extension codes of os.system, one of them as if it had been met before."""
    for number in (0x7B, 0x7C):
        copyreg.add_extension("os" if number == 0x7B else "posix", "system", number)
    copyreg._extension_cache[0x7C] = os.system
    yield
    copyreg.remove_extension("os", "system", 0x7B)
    copyreg.remove_extension("posix", "system", 0x7C)
    copyreg._extension_cache.pop(0x7B, None)


def refused(data: bytes, path) -> str:
    """Reads a file that must be refused; returns the one line that says why."""
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attack", NAMES)
def test_code_in_a_pickle_is_refused_and_not_run(attack, place, tmp_path):
    canary = tmp_path / "canary"
    refused(PLACES[place](attacks(canary)[attack]), tmp_path / "file.pth")
    assert not canary.exists()


@pytest.mark.parametrize("attack", [n for n in NAMES if n != "argument of a tensor"])
def test_the_attacks_would_work_in_pythons_unpickler(attack, tmp_path):
    canary = tmp_path / "canary"
    try:
        pickle.loads(pickled(attacks(canary)[attack]))
    except (TypeError, AttributeError):
        pass  # After the deed.
    for _ in range(200):
        if canary.exists():
            return
        time.sleep(0.01)
    pytest.fail("no canary")


@pytest.mark.parametrize("path", ["os.system", "torch.nn.modules.linear.Linear"])
def test_the_refusal_names_the_global(path, tmp_path):
    message = refused(pickled({"x": call(path)}), tmp_path / "file.pth")
    assert f"refers to {path}" in message


def test_bystanders_are_inert_whatever_is_done_to_them(tmp_path):
    deeds = b"(" + code("key") + code(1) + b"u" + b"(" + code(2) + b"e"
    state = code({"x": 1}) + b"b"
    made = call("pytorch_lightning.utilities.parsing.AttributeDict", "argument")
    again = code((1,)) + b"\x81"
    content = {
        "bystander": Code(made + deeds + state),
        "made of a class": Code(name("omegaconf.os.system") + again),
    }
    (tmp_path / "file.ckpt").write_bytes(zip_file(content))
    read = read_checkpoint(tmp_path / "file.ckpt")
    assert all(isinstance(value, Inert) for value in read.values())


@pytest.mark.parametrize(
    "target", ["torch.FloatStorage", "collections.OrderedDict", "omegaconf.DictConfig"]
)
def test_names_cannot_be_changed(target, tmp_path):
    change = code((None, {"make": name("omegaconf.x")})) + b"b"
    refused(pickled({"x": Code(name(target) + change)}), tmp_path / "file.pth")
    (tmp_path / "fine.pth").write_bytes(pickled({"x": call("collections.OrderedDict")}))
    assert read_checkpoint(tmp_path / "fine.pth") == {"x": {}}


@pytest.mark.parametrize(
    "offset, shape, strides",
    [
        (1, (4,), (1,)),
        (0, (2, 2), (3, 1)),
        (-1, (2,), (1,)),
        (3, (2,), (-1,)),
        (0, (5,), (0,)),
        (0, (2,), (2**62,)),
        (2**62, (1,), (1,)),
        (0, (2,), (1, 1)),
        (0, (2.0,), (1,)),
    ],
)
@pytest.mark.parametrize("write", [zip_file, legacy_file])
def test_tensors_outside_their_storage_are_refused(
    write, offset, shape, strides, tmp_path
):
    view = tensor("0", NUMBERS, offset, shape, strides)
    refused(write({"x": view}, {"0": NUMBERS}), tmp_path / "file.pth")


def _nested(depth: int, doubled: bool) -> Code:
    """A tuple of a tuple of ..., each once or twice in the next."""
    step = b"q\x00h\x00\x86" if doubled else b"\x85"
    return Code(b")" + step * depth)


BOMB = _nested(100, doubled=True)
FLOATS = name("torch.FloatStorage")
A = storage("0", NUMBERS)


@pytest.mark.parametrize(
    "content",
    [
        Code(BOMB + b"Q"),
        Code(BOMB + BOMB + b"\x93"),
        Code(code("two\nlines") + code("x") + b"\x93"),
        call("torch.Size", BOMB),
        call("_codecs.encode", BOMB, "latin1"),
        call("collections.OrderedDict", BOMB),
        Code(b"\x96" + struct.pack("<Q", 2**36)),
        Code(b"\x8f(" + BOMB + b"\x90"),
        {
            "x": Code(
                tensor("0", NUMBERS, 0, (4,), (1,)) + code((1, (9,), 0, 0, b"")) + b"b"
            )
        },
        {"x": Code(tensor("0", NUMBERS, 0, (4,), (1,)) + BOMB + code(1) + b"s")},
        call("numpy.dtype", BOMB),
        call("numpy.core.numeric._frombuffer", b"1", call("numpy.dtype", "u1"), BOMB),
        {"x": tensor("0", NUMBERS, 0, BOMB, (1, 1))},
        {"x": tensor("0", NUMBERS, BOMB, (1,), (1,))},
        Code(b"}" + BOMB + code(1) + b"s"),
        Code(code(1) + BOMB + b"R"),
        Code(BOMB + code(1) + b"R"),
        Code(BOMB + code(1) + b"\x81"),
        Code(BOMB + BOMB + b"b"),
        _nested(100_000, doubled=False),
        Code(b"\x8e" + struct.pack("<Q", 2**60)),
        Code(b"B" + struct.pack("<I", 2**31)),
        Code(code(1) + b"r" + struct.pack("<I", 2**32 - 1)),
        Code(b"00"),
        Code(b"e"),
        Code(b"u"),
        call("torch._utils._rebuild_tensor_v2", 1, 2, 3, 4),
        call("numpy.core.multiarray.scalar", call("numpy.dtype", "f4"), 2**50),
        call("numpy.dtype", "(99999,99999)f4"),
        call("_codecs.encode", "x", "punycode"),
        Code(call("numpy.dtype", "f4") + code((3, BOMB, None)) + b"b"),
        Code(code(("storage", FLOATS, BOMB, "cpu", 1)) + b"Q"),
        call("torch.Size", call("torch._utils._rebuild_tensor_v2", A, 0, BOMB, ())),
        call("torch.Size", ("x" * 99,) * 9),
        {"x": tensor("0", NUMBERS, 0, (1,) * 65, (1,) * 65)},
        {"x": tensor("0", NUMBERS, 0, (2**70, 0), (1, 1))},
        # A storage of more than the file.
        {"x": Code(code(("storage", FLOATS, "0", "cpu", 2**40)) + b"Q")},
    ],
)
@pytest.mark.parametrize("write", [pickled, zip_file, legacy_file])
def test_bombs_and_nonsense_are_refused_quickly(content, write, tmp_path):
    start = time.monotonic()
    refused(write(content), tmp_path / "file.pth")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("keys", [(BOMB,), (1,), ("x",), ("x" * 10_000,), Code(b"}")])
def test_nonsense_as_the_keys_of_a_legacy_file_is_refused_quickly(keys, tmp_path):
    start = time.monotonic()
    content = {"x": tensor("0", NUMBERS, 0, (4,), (1,))}
    data = legacy_file(content, keys=keys) + struct.pack("<q", 4) + bytes(16)
    assert len(refused(data, tmp_path / "file.pth")) < 1000
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("coded", [True, False])
def test_arrays_that_share_their_numbers_do_not_fill_the_memory(coded, order, tmp_path):
    count, shares = 250_000, 400
    text = Code(code("1234" * count) + b"q\x01")
    dtype = Code(call("numpy.dtype", "f4") + code((3, order)) + b"bq\x02")
    shared, its_dtype = Code(b"h\x01"), Code(b"h\x02")
    numbers = call("_codecs.encode", shared, "latin1") if coded else shared
    state = code((1, (count,), its_dtype, False, numbers)) + b"b"
    array = Code(call("numpy.core.multiarray._reconstruct") + state)
    arrays = {str(i): array for i in range(shares)}
    tracemalloc.start()
    try:
        data = pickled({"text": text, "dtype": dtype, **arrays})
        assert "more numbers than bytes" in refused(data, tmp_path / "file.pth")
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    one = pickled({"text": text, "dtype": dtype, "x": array})
    (tmp_path / "fine.pth").write_bytes(one)
    found = read_checkpoint(tmp_path / "fine.pth")["x"]
    assert found.shape == (count,)
    assert found[5] == np.frombuffer(b"1234", f"{order}f4")[0]


def test_what_is_shared_a_hundred_times_over_is_walked_once(tmp_path):
    (tmp_path / "file.pth").write_bytes(pickled({"x": BOMB, "y": 1}))
    assert read_checkpoint(tmp_path / "file.pth")["y"] == 1


def is_read(path) -> bool:
    """Whether a file is read, or else refused in one line."""
    try:
        return isinstance(read_checkpoint(path), dict)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return False


def whole_files() -> list[bytes]:
    """Checkpoints of every kind, rich in opcodes."""
    content = {
        "x": tensor("0", NUMBERS, 1, (2,), (1,)),
        "shared": Code(code(("a", 2.5, None, True)) + b"q\x05"),
        "again": Code(b"h\x05"),
        "others": call("argparse.Namespace"),
        "ordered": call("collections.OrderedDict", ()),
    }
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(2), "c": [{1, 2}]}
    return [
        zip_file(content, {"0": NUMBERS}),
        legacy_file(content, {"0": NUMBERS}),
        *(pickle.dumps(arrays, protocol) for protocol in (2, 4, 5)),
    ]


@pytest.mark.parametrize("kind", range(5))
def test_damaged_checkpoints_are_read_or_refused_in_one_line(kind, tmp_path):
    whole = whole_files()[kind]
    path = tmp_path / "file.pth"
    path.write_bytes(whole)
    assert read_checkpoint(path)
    rng = np.random.default_rng(kind)
    refusals = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            # A byte of the file more often than any: opcodes among them.
            data[place] = rng.choice(np.frombuffer(whole, np.uint8))
        path.write_bytes(data)
        refusals += not is_read(path)
    assert 30 < refusals


def test_pieces_in_any_order_are_read_or_refused_and_never_take_long(tmp_path):
    values = [
        *map(code, (1, 2**40, "x", "f4", b"abcd", (), (1,), (1, 1), {"a": 1}, None)),
        *(code((1, (1,), 0, False, b"abcd")), code((3, ">")), BOMB, A, Code(b"h\x01")),
        *(Code(b"]"), Code(b"\x8f"), tensor("0", NUMBERS, 0, (4,), (1,))),
        call("numpy.dtype", "f4"),
        call("numpy.core.multiarray._reconstruct"),
        *map(name, ("omegaconf.x", "torch.FloatStorage", "collections.OrderedDict")),
        *map(name, ("torch.Size", "numpy.dtype", "numpy.core.numeric._frombuffer")),
        *map(name, ("_codecs.encode", "torch._utils._rebuild_tensor_v2")),
    ]
    steps = [b"q\x01", b"\x85", b"\x86", b"R", b"\x81", b"b", b"s", b"a", b"Q"]
    steps += [b"(" + values[i] + values[j] + b"u" for i, j in ((2, 12), (12, 2))]
    steps += [b"(" + value + b"e" for value in values[:8]]
    steps += [b"(" + value + b"\x90" for value in values[:8]]
    path, rng = tmp_path / "file.pth", np.random.default_rng(0)
    for _ in range(500):
        body = b"}" + code("key") + values[rng.integers(len(values))]
        for _ in range(rng.integers(1, 6)):
            body += values[rng.integers(len(values))]
            for _ in range(rng.integers(1, 3)):
                body += steps[rng.integers(len(steps))]
        data = zip_file(Code(body), {"0": NUMBERS})
        start = time.monotonic()
        path.write_bytes(data)
        is_read(path)
        assert time.monotonic() - start < 5
