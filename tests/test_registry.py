"""Names of models: what tells variants apart, and what their fields can be."""

import itertools

import pytest

from dear_jax.errors import InputError
from dear_jax.registry import (
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
