"""Laws of setups: what a table is filled with, and what of it is refused."""

import re
from pathlib import Path

import pytest

from dear_jax.errors import InputError
from dear_jax.evaluation.table_paper import paper_tables
from dear_jax.evaluation.table_setup import read_setup

ROOT = Path(__file__).parents[1]
PHOTOS = "[data.FFHQ]\nphotos = 'p'\n"


def _written(folder, text):
    path = folder / "s.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text, words",
    [
        ("[systems]\nDEER = 'x'", "systems.DEER is unknown; choose from"),
        ("[data.CelebHQ]\nphotos = 'x'", "data.CelebHQ is unknown; .*CelebAHQ"),
        ("[data.FFHQ]\nmasks = 'x'", "data.FFHQ names no photos"),
        ("[data.FFHQ]\nphoto = 'x'", "data.FFHQ.photo is unknown"),
        ("[table9.systems]\nDEAR = 'x'", "table9 is unknown"),
        ("[table1.system]\nDEAR = 'x'", "table1.system is unknown"),
        ("DEAR", "not a setup of tables"),
        ("[extra]\nDEAR = 'x'", "extra.DEAR is a row of the paper's"),
        # No row of Table 1, but of Table 5.
        ("[extra]\n'+PIM' = 'x'", r"extra.\+PIM is a row of the paper's"),
        ("[table1.extra]\nLTE = 'x'", "table1.extra.LTE is a row of the paper's"),
    ],
)
def test_what_a_setup_gets_wrong_is_named(tmp_path, text, words):
    with pytest.raises(InputError, match=rf"s\.toml: .*{words}"):
        read_setup(_written(tmp_path, text), 1)


@pytest.mark.parametrize(
    "text, words",
    [
        ("systems = 'x'", "systems = 'x': give a section"),
        ("extra = 3", "extra = 3: give a section"),
        ("data = []", "data = []: give a section"),
        ("table1 = 3", "table1 = 3: give a section"),
        ("table2 = 3", "table2 = 3: give a section"),
        ("table1.systems = 'x'", "table1.systems = 'x': give a section"),
        ("[data]\nCelebAHQ = 'bundled'", "data.CelebAHQ = 'bundled': give a section"),
        ("[data.FFHQ]\nphotos = 3", "data.FFHQ.photos = 3: give a text"),
        (f"{PHOTOS}masks = false", "data.FFHQ.masks = False: give a text"),
        (f"{PHOTOS}of_the_paper = 'no'", "of_the_paper = 'no': give true or false"),
        (f"{PHOTOS}of_the_paper = 1", "of_the_paper = 1: give true or false"),
        ("[systems]\nDEAR = 1.5", "systems.DEAR = 1.5: give a text"),
        ("[extra]\nmine = ['x']", r"extra.mine = ['x']: give a text"),
    ],
)
def test_values_of_the_wrong_kind_are_named_with_the_right_one(tmp_path, text, words):
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read_setup(_written(tmp_path, text), 1)
    assert "\n" not in str(caught.value)


def test_no_setup_is_said(tmp_path):
    with pytest.raises(InputError, match="no such setup"):
        read_setup(tmp_path / "no.toml", 1)


def test_a_setup_of_one_table_goes_before_the_general_one(tmp_path):
    path = _written(
        tmp_path,
        '[systems]\nDEAR = "a"\nLTE = "b"\n[table6.systems]\nDEAR = "c"\n'
        '[data.FFHQ]\nphotos = "p"\n[table3.data.FFHQ]\nphotos = "q"\n'
        '[table6.extra]\nmine = "d"\n',
    )
    assert read_setup(path, 6).systems == {"DEAR": "c", "LTE": "b"}
    assert read_setup(path, 1).systems == {"DEAR": "a", "LTE": "b"}
    assert read_setup(path, 3).data["FFHQ"].photos == "q"
    assert read_setup(path, 1).data["FFHQ"].photos == "p"
    assert read_setup(path, 6).extra == {"mine": "d"}
    assert read_setup(path, 1).extra == {}


def test_photos_are_not_the_papers_unless_said(tmp_path):
    assert not read_setup(_written(tmp_path, PHOTOS), 1).data["FFHQ"].of_the_paper
    own = _written(tmp_path, f"{PHOTOS}of_the_paper = true")
    assert read_setup(own, 1).data["FFHQ"].of_the_paper


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.toml")))
def test_the_setups_that_come_along_can_be_read_for_every_table(path):
    for number in paper_tables():
        assert set(paper_tables()[number].datasets) & set(read_setup(path, number).data)
