"""Sets of real numbers in one form, and units."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.grading.equivalence import equal
from hicra_cli.grading.units import is_unit, is_unit_name, read_unit, scale

ends = st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True).map(sorted)


@settings(deadline=None)
@given(ends, st.randoms(use_true_random=False))
def test_a_union_has_no_order_and_touching_parts_are_one(values, random):
    parts = [f"[{low},{high}]" for low, high in pairwise(values)]
    random.shuffle(parts)
    union = r"\cup ".join(parts)
    assert equal(union, f"[{values[0]},{values[-1]}]") is True
    assert equal(union, f"[{values[0]},{values[-1]})") is False


@settings(deadline=None)
@given(ends)
def test_an_inequality_is_its_interval(values):
    low, high = values[0], values[-1]
    assert equal(f"{low}<x\\le {high}", f"({low},{high}]") is True
    assert equal(f"x>{low}, x\\le {high}", f"({low},{high}]") is True
    assert equal(f"x<{low}\\text{{ or }}x>{high}", rf"(-\infty,{low})\cup({high},\infty)") is True
    assert equal(f"{low}<x<{high}", f"({low},{high}]") is False


@pytest.mark.parametrize(
    ("words", "dimension", "factor"),
    [
        ("km/h", "length^1*time^-1", Fraction(1000, 3600)),
        ("miles per hour", "length^1*time^-1", Fraction(1_609_344, 3_600_000)),
        ("mph", "length^1*time^-1", Fraction(1_609_344, 3_600_000)),
        ("square feet", "length^2", Fraction(3048, 10_000) ** 2),
        ("inches^2", "length^2", Fraction(254, 10_000) ** 2),
        ("apples", "apple^1", Fraction(1)),
        ("hrs", "time^1", Fraction(3600)),
    ],
)
def test_units_are_read_with_dimension_and_exact_factor(words, dimension, factor):
    unit = read_unit(words)
    assert (unit.dimension, unit.factor) == (dimension, factor)


def test_number_words_are_factors_and_other_words_no_units():
    assert scale("million dollars") == (10**6, "dollars")
    assert is_unit("cubic meters")
    assert not is_unit("or more")
    assert is_unit_name("cm")
    assert not is_unit_name("m")
