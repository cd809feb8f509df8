"""Checksums tell arrays apart."""

import numpy as np
import pytest

from dear_jax.checkpointing.checksums import checksum


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "int64", "bool"])
def test_a_changed_bit_changes_the_checksum(dtype):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 2, (70, 3)).astype(dtype)
    before = checksum(array)
    for place_ in (0, 71, array.nbytes - 1):
        content = bytearray(array.tobytes())
        content[place_] ^= 1 if dtype == "bool" else 0x80
        changed = np.frombuffer(bytes(content), array.dtype)
        assert checksum(changed) != before


def test_moved_and_negated_values_change_the_checksum():
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    others = (values[::-1], np.roll(values, 1), -values, values[:-1], np.abs(values))
    assert len({checksum(v) for v in (values, *others)}) == 6


def test_the_checksum_is_the_same_by_its_definition():
    values = np.array([[1, 2], [0xFFFFFFFF, 7]], np.uint32)
    total = 0
    for place_, word in enumerate(values.ravel().tolist()):
        word ^= place_ * 0x9E3779B1 % 2**32
        word = (word ^ word >> 16) * 0x85EBCA6B % 2**32
        word = (word ^ word >> 13) * 0xC2B2AE35 % 2**32
        total += word ^ word >> 16
    assert checksum(values) == total % 2**32
    assert checksum(values[:0]) == 0 and checksum(values.T) != checksum(values)
