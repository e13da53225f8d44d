"""Gram-sets that ship with hicra."""

import pytest

from hicra_cli.core.records import Move
from hicra_cli.grams import GramSet
from hicra_cli.grams.builtin import DEFAULT, builtin_names, builtin_path


@pytest.fixture
def shipped() -> GramSet:
    if DEFAULT not in builtin_names():
        pytest.skip(f"NOT RUN: {DEFAULT} is not there yet")
    return GramSet.load(DEFAULT)


def test_unknown_names_and_paths_are_no_shipped_sets(tmp_path):
    for name in ("", ".", "..", "default", "../builtin/default-en", "./default-en", str(tmp_path)):
        assert builtin_path(name) is None


def test_every_shipped_set_is_canonical():
    for name in builtin_names():
        path = builtin_path(name)
        assert path is not None
        assert path.read_bytes() == GramSet.load(name).canonical


def test_the_default_set_has_two_hundred_english_grams_of_all_moves(shipped):
    assert len(shipped) >= 200
    assert (shipped.shortest, shipped.longest) == (3, 5)
    assert {gram.move for gram in shipped.grams} == set(Move)
    assert shipped.meta == {"builtin": DEFAULT}
