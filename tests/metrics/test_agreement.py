"""Agreement: published examples worked by hand, properties, and what one category means."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.metrics.agreement import cohen_kappa, krippendorff_alpha, percent_agreement

# Krippendorff (2011), example C: four observers, twelve units, five categories, seven values missing.
OBSERVERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
UNITS = [[None if mark == "." else mark for mark in unit] for unit in zip(*OBSERVERS, strict=True)]

labels = st.sampled_from(["deduction", "branching", "backtracing", "none"])
tables = st.integers(2, 5).flatmap(
    lambda raters: st.lists(
        st.lists(st.one_of(st.none(), labels), min_size=raters, max_size=raters), min_size=1, max_size=20
    )
)


def test_alpha_of_krippendorffs_four_observers():
    # Unit 12 has one value and says nothing: 40 pairable values, n_c = 9, 13, 10, 5, 3.
    # Units with disagreement: 2 (2 2 3 2) and 8 (1 1 2 1): 6 / 3 = 2 each; 6 (1 2 3 4): 12 / 3 = 4;
    # 10 (5 5 5), 11 (1 1) and the others agree. sum_u = 2 + 2 + 4 = 8.
    # Unequal pairs 40^2 - (81 + 169 + 100 + 25 + 9) = 1216; alpha = 1 - 39 * 8 / 1216 = 0.743421...
    assert krippendorff_alpha(UNITS) == pytest.approx(0.7434210526)


def test_alpha_of_krippendorffs_two_observers():
    # Example A: ten units, four disagreements. n_0 = 14, n_1 = 6, n = 20: unequal pairs 2 * 14 * 6 = 168;
    # each disagreement is 2 / 1: alpha = 1 - 19 * 8 / 168 = 0.095238
    units = list(zip("0100000010", "1110010000", strict=True))
    assert krippendorff_alpha(units) == pytest.approx(0.0952380952)


def test_kappa_of_fifty_proposals():
    # yes/yes 20, yes/no 5, no/yes 10, no/no 15: p_o = 0.7; p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5; (0.7 - 0.5) / 0.5 = 0.4
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)
    assert percent_agreement(list(zip(first, second, strict=True))) == pytest.approx(0.7)


def test_kappa_tells_equal_percentages_apart():
    # Both tables agree on 60 of 100. First: 45 15 25 15: p_e = 0.6 * 0.7 + 0.4 * 0.3 = 0.54, kappa = 0.06 / 0.46;
    # second: 25 35 5 35: p_e = 0.6 * 0.3 + 0.4 * 0.7 = 0.46, kappa = 0.14 / 0.54
    def raters(both, first_only, second_only, neither):
        first = [1] * (both + first_only) + [0] * (second_only + neither)
        return first, [1] * both + [0] * first_only + [1] * second_only + [0] * neither

    assert cohen_kappa(*raters(45, 15, 25, 15)) == pytest.approx(0.1304347826)
    assert cohen_kappa(*raters(25, 35, 5, 35)) == pytest.approx(0.2592592593)


def test_percent_agreement_counts_pairs():
    # three ratings a a b: one agreeing pair of three; two ratings c c: one of one; one rating: none
    assert percent_agreement([["a", "a", "b"], ["c", "c", None], [None, "a", None]]) == 0.5


def test_opposite_raters_are_below_chance():
    # p_o = 0, p_e = 0.5: kappa -1; alpha: n = 4, unequal pairs 8, observed 4: 1 - 3 * 4 / 8 = -0.5
    assert cohen_kappa("ab", "ba") == -1
    assert krippendorff_alpha([("a", "b"), ("b", "a")]) == -0.5


@pytest.mark.parametrize("ratings", [[], [("a", "a")], [("a", "a"), ("a", "a")], [("a", None), (None, "b")]])
def test_one_category_or_no_pair_is_no_evidence(ratings):
    assert math.isnan(krippendorff_alpha(ratings))
    assert math.isnan(cohen_kappa([a for a, _ in ratings], [b for _, b in ratings]))


def test_raters_of_different_lengths_are_refused():
    with pytest.raises(ValueError):
        cohen_kappa("ab", "abc")


@given(tables)
def test_figures_depend_neither_on_the_order_of_units_nor_of_raters(table):
    turned = [unit[::-1] for unit in table[::-1]]
    for figure in (krippendorff_alpha, percent_agreement):
        assert figure(turned) == pytest.approx(figure(table), nan_ok=True)
    first, second = [unit[0] for unit in table], [unit[1] for unit in table]
    assert cohen_kappa(second, first) == pytest.approx(cohen_kappa(first, second), nan_ok=True)


@given(tables)
def test_renaming_the_categories_changes_nothing(table):
    names = {"deduction": 1, "branching": 2, "backtracing": 3, "none": 4, None: None}
    renamed = [[names[rating] for rating in unit] for unit in table]
    assert krippendorff_alpha(renamed) == pytest.approx(krippendorff_alpha(table), nan_ok=True)


@given(st.lists(labels, min_size=2, max_size=30), st.integers(2, 4))
def test_perfect_agreement_is_one_unless_there_is_only_one_category(column, raters):
    table = [[label] * raters for label in column]
    expected = math.nan if len(set(column)) == 1 else 1.0
    assert krippendorff_alpha(table) == pytest.approx(expected, nan_ok=True)
    assert cohen_kappa(column, column) == pytest.approx(expected, nan_ok=True)
    assert percent_agreement(table) == 1.0


@given(tables)
def test_alpha_equals_its_definition_by_pairs(table):
    """D_o and D_e written as in the docstring, pair by pair."""
    units = [[each for each in unit if each is not None] for unit in table]
    values = [each for unit in units if len(unit) > 1 for each in unit]
    disagreements = sum(sum(a != b for a in unit for b in unit) / (len(unit) - 1) for unit in units if len(unit) > 1)
    expected = sum(a != b for a in values for b in values)
    alpha = 1 - (disagreements / len(values)) / (expected / (len(values) * (len(values) - 1))) if expected else math.nan
    assert krippendorff_alpha(table) == pytest.approx(alpha, nan_ok=True)


@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=40))
def test_kappa_equals_its_definition_by_shares(pairs):
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    observed = sum(a == b for a, b in pairs) / len(pairs)
    chance = sum(first[each] / len(pairs) * second[each] / len(pairs) for each in first)
    expected = math.nan if set(first) == set(second) and len(first) == 1 else (observed - chance) / (1 - chance)
    assert cohen_kappa(*zip(*pairs, strict=True)) == pytest.approx(expected, nan_ok=True, abs=1e-12)
