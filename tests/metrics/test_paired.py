"""Paired comparison: the sign-flip test against every choice of signs, Holm's adjustment, the interval."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.metrics.paired import FLIPS, holm, paired_difference, sign_flip_test

QUARTERS = st.integers(-4, 4).map(lambda quarters: Fraction(quarters, 4))


def test_five_of_five_in_one_direction():
    # only all plus and all minus are as large: 2 / 2^5
    test = sign_flip_test([Fraction(1)] * 5)
    assert (test.p, test.exact, test.deciding) == (2 / 32, True, 5)


def test_equal_questions_decide_nothing():
    # + + + - decided; sums of four signs of size >= 2: 1 + 4 + 4 + 1 of 16
    test = sign_flip_test([Fraction(0)] * 40 + [Fraction(1)] * 3 + [Fraction(-1)])
    assert (test.p, test.deciding) == (10 / 16, 4)
    nothing = sign_flip_test([Fraction(0)] * 9)
    assert (nothing.p, nothing.exact, nothing.deciding) == (1.0, True, 0)


@settings(deadline=None)
@given(st.lists(QUARTERS, min_size=1, max_size=9))
def test_it_is_the_full_enumeration(differences):
    observed = abs(sum(differences))
    flipped = [
        abs(sum(sign * each for sign, each in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    expected = sum(each >= observed for each in flipped) / len(flipped)
    assert sign_flip_test(differences).p == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(st.lists(QUARTERS, min_size=1, max_size=30), st.randoms())
def test_neither_order_nor_direction_matters(differences, random):
    shuffled = differences[:]
    random.shuffle(shuffled)
    assert sign_flip_test(shuffled).p == sign_flip_test(differences).p
    assert sign_flip_test([-each for each in differences]).p == sign_flip_test(differences).p


def test_hundreds_of_questions_with_one_sample_are_still_exact():
    # 60 better, 40 worse of 500: McNemar exact, 2 P(Binomial(100, 1/2) >= 60) = 0.056887933640980
    differences = [Fraction(1)] * 60 + [Fraction(-1)] * 40 + [Fraction(0)] * 400
    test = sign_flip_test(differences)
    assert test.exact
    assert test.p == pytest.approx(0.056887933640980, abs=1e-12)


def test_too_many_sums_are_drawn_at_random_and_agree_with_the_normal_curve():
    primes = [p for p in range(2, 4000) if all(p % q for q in range(2, int(p**0.5) + 1))][-150:]
    generator = np.random.default_rng(0)
    differences = [Fraction(int(generator.integers(-p, p + 1)), p) for p in primes]
    test = sign_flip_test(differences)
    assert not test.exact
    assert test.flips == FLIPS
    sizes = np.array([float(each) for each in differences])
    z = abs(sizes.sum()) / np.sqrt((sizes**2).sum())
    # the sum of 150 signed differences is close to normal: P(|N| > z) by series, 4 standard errors of the drawing
    assert test.p == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.01)
    assert sign_flip_test(differences[::-1]) == test


def test_a_random_p_value_is_never_zero():
    differences = [Fraction(p - 1, p) for p in range(3000, 3200)]
    assert sign_flip_test(differences).p == 1 / (FLIPS + 1)


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.4 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.4 (none may fall below the one before)
    assert holm([0.03, 0.01, 0.4, 0.02]) == pytest.approx([0.06, 0.04, 0.4, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_pair_of_evaluations_by_hand():
    before = {"a": Fraction(1, 2), "b": Fraction(0), "c": Fraction(1), "only": Fraction(1)}
    after = {"a": Fraction(1), "b": Fraction(0), "c": Fraction(3, 4), "other": Fraction(1)}
    found = paired_difference(before, after)
    # differences 1/2, 0, -1/4: mean 1/12, s = 0.381881, t(2) = 4.302653: reach 0.948653
    assert (found.better, found.worse, found.equal) == (1, 1, 1)
    assert found.interval.mean == pytest.approx(1 / 12)
    assert found.interval.high - found.interval.mean == pytest.approx(0.948653, abs=1e-5)
    # of the four sums of ±1/2 and ±1/4 all are at least 1/4 in size
    assert found.test.p == 1.0
    with pytest.raises(ValueError, match="share no question"):
        paired_difference(before, {"z": Fraction(1)})


def test_no_difference_in_thirty_questions_is_not_certainly_none():
    # 1 - 0.025^(1/30) = 0.11570 of all questions may differ, in either direction
    same = {str(place): Fraction(1, 2) for place in range(30)}
    interval = paired_difference(same, same).interval
    assert (interval.low, interval.mean, interval.high) == pytest.approx((-0.11570, 0, 0.11570), abs=1e-5)
