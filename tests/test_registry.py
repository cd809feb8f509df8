"""Names of models: what tells variants apart, and what their fields can be."""

import itertools
import re

import pytest

from dear_jax.errors import InputError
from dear_jax.models.registry import (
    ARCHITECTURES,
    VARIANTS,
    build,
    fields_of,
    is_a,
    role_of,
    variant_of,
)


@pytest.mark.parametrize("variant, other", list(itertools.permutations(VARIANTS, 2)))
def test_no_variant_is_taken_for_another(variant, other):
    assert is_a(fields_of(variant), variant)
    assert not is_a(fields_of(variant), other)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_of_its_architecture_whatever_its_widths(variant):
    fields = fields_of(variant)
    assert build(fields) is not None
    if fields["architecture"] not in VARIANTS:
        assert is_a(fields, fields["architecture"])
    assert is_a({**fields, "width": 7}, variant)


def test_the_ablation_adds_one_part_after_another():
    names = ("dear-base", "dear-detail", "dear-attention", "dear")
    parts = ("detail", "attention", "importance")
    for count, name in enumerate(names):
        fields = fields_of(name)
        assert [fields[part] for part in parts] == [i < count for i in range(3)]
        rest = {k: v for k, v in fields.items() if k not in parts}
        assert rest == {k: v for k, v in fields_of("dear").items() if k not in parts}


def test_an_architecture_means_its_first_variant():
    assert variant_of("lpips") == "lpips-alexnet"
    assert variant_of("dear") == "dear"
    assert {variant_of(name) for name in ARCHITECTURES} <= VARIANTS.keys()
    assert role_of(fields_of("lpips-vgg16")) == "features"


@pytest.mark.parametrize(
    "name, network, says",
    [
        ("dear", "alexnet", "choose from 'paper', 'lite'"),
        ("lpips", "paper", "choose from 'alexnet', 'vgg16'"),
    ],
)
def test_each_architecture_has_choices_of_its_own(name, network, says):
    with pytest.raises(InputError, match=f"network = '{network}'; {says}"):
        build({**fields_of(name), "network": network})


@pytest.mark.parametrize(
    "name, field, value, says",
    [
        ("dear", "width", "x", "'x'; give a whole number"),
        ("dear", "width", 64.0, "64.0; give a whole number"),
        ("dear", "width", True, "True; give a whole number"),
        ("dear", "width", None, "None; give a whole number"),
        ("dear", "width", [64], "[64]; give a whole number"),
        ("dear", "width", 0, "0; too small"),
        ("dear", "detail_kernel", "3", "'3'; give a whole number"),
        ("dear", "detail_kernel", 4, "4; must be odd"),
        ("dear", "detail", 1, "1; give true or false"),
        ("dear", "detail", "yes", "'yes'; give true or false"),
        ("dear", "network", ["lite"], "['lite']; give a text"),
        ("dear", "network", {}, "{}; give a text"),
        ("dear", "widths", 48, "48; give several whole numbers"),
        ("dear", "widths", "4824", "'4824'; give several whole numbers"),
        ("dear", "widths", [48, 80, "x", 144], "'x', 144]; give several"),
        ("dear", "widths", [48, 80, 144.0, 144], "give several whole numbers"),
        ("dear", "widths", [48, 80, -1, 144], "too small"),
        ("dear", "depths", [1, 1], "(1, 1); give 6 for the 4 widths"),
        ("elan", "windows", [], "[]; give several whole numbers"),
        ("elan", "windows", [[4], 8, 16], "give several whole numbers"),
        ("edsr", "residual_scale", "1", "'1'; give a finite number"),
        ("edsr", "residual_scale", True, "True; give a finite number"),
        ("edsr", "residual_scale", float("nan"), "nan; give a finite number"),
        ("edsr", "residual_scale", float("-inf"), "-inf; give a finite number"),
        ("lama", "global_ratio", [0.5], "[0.5]; give a finite number"),
        ("dear", "architecture", ["lte"], "['lte']; choose from dear, liif"),
        ("dear", "architecture", None, "None; choose from dear, liif"),
    ],
)
def test_a_value_of_another_type_is_refused_naming_field_and_value(
    name, field, value, says
):
    with pytest.raises(InputError, match=f"model field {field} = .*{re.escape(says)}"):
        build({**fields_of(name), field: value})


def test_lists_and_whole_numbers_stand_for_tuples_and_floats():
    assert build({"architecture": "elan", "windows": [4, 8, 16]}) == build(
        {"architecture": "elan"}
    )
    assert build({"architecture": "edsr", "residual_scale": 0}).residual_scale == 0
