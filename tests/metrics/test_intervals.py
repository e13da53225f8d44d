"""Intervals clustered by question, against tables and hand-computed values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.metrics.intervals import (
    Interval,
    accuracy_interval,
    difference_interval,
    macro_interval,
    question_interval,
    student_t,
)


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [
        (1, 12.706),
        (2, 4.303),
        (3, 3.182),
        (4, 2.776),
        (10, 2.228),
        (29, 2.045),
        (30, 2.042),
        (120, 1.980),
        (5000, 1.960),
    ],
)
def test_students_quantiles_are_those_of_the_tables(degrees, quantile):
    assert student_t(degrees) == pytest.approx(quantile, abs=5e-4)


def test_the_interval_counts_questions_not_samples():
    # question means 1, 0.5, 0: mean 0.5, s = 0.5, t(2) = 4.3027, reach 4.3027 * 0.5 / sqrt(3) = 1.24207
    interval = question_interval(np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]))
    assert interval.mean == 0.5
    assert interval.low == pytest.approx(0.5 - 1.24207, abs=1e-4)
    assert interval.high == pytest.approx(0.5 + 1.24207, abs=1e-4)
    assert interval.num_questions == 3


def test_repeating_every_sample_does_not_narrow_it():
    rewards = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    assert question_interval(np.tile(rewards, 16)) == question_interval(rewards)


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=5), min_size=2, max_size=8), st.randoms())
def test_the_order_of_questions_changes_nothing(rewards, random):
    shuffled = rewards[:]
    random.shuffle(shuffled)
    one = question_interval([np.array(each) for each in rewards])
    other = question_interval([np.array(each) for each in shuffled])
    assert other.mean == one.mean
    assert other.low == pytest.approx(one.low, abs=1e-12)


def test_one_question_has_no_interval():
    interval = question_interval(np.array([[1.0, 0.0]]))
    assert interval.mean == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


@pytest.mark.parametrize("rewards", [[], [np.array([1.0]), np.array([])]])
def test_missing_samples_are_refused(rewards):
    with pytest.raises(ValueError, match="at least one"):
        question_interval(rewards)


def test_nothing_solved_is_not_certainly_nothing():
    # Clopper and Pearson at 0 of 30: 1 - 0.025^(1/30) = 0.11570
    nothing = accuracy_interval(np.zeros((30, 32)))
    assert (nothing.mean, nothing.low) == (0.0, 0.0)
    assert nothing.high == pytest.approx(0.11570, abs=1e-5)
    everything = accuracy_interval(np.ones((30, 1)))
    assert (everything.mean, everything.high) == (1.0, 1.0)
    assert everything.low == pytest.approx(1 - 0.11570, abs=1e-5)


def test_an_accuracy_interval_by_hand_stays_inside_the_ends():
    # m = 2/3, v = (1/3) / 3 = 1/9, w = (2/9) / 3 = 2/27, v' = (3 * 1/9 + 2/27) / 4 = 11/108; logit(m) = ln 2;
    # reach 4.302653 * sqrt(11/108) / (2/9) = 6.17922: 1 / (1 + e^5.48607) and 1 / (1 + e^-6.87237)
    interval = accuracy_interval(np.array([[1.0], [0.0], [1.0]]))
    assert (interval.mean, interval.low, interval.high) == pytest.approx((2 / 3, 0.0041270, 0.9989649), abs=1e-6)


@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=4), min_size=2, max_size=40))
def test_an_accuracy_interval_holds_its_mean_between_0_and_1_and_mirrors(rewards):
    interval = accuracy_interval([np.array(each) for each in rewards])
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    assert interval.low < interval.high
    mirrored = accuracy_interval([1 - np.array(each) for each in rewards])
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - interval.high, 1 - interval.low), abs=1e-9)


def test_far_from_the_ends_and_with_many_questions_it_is_the_plain_interval():
    rewards = np.random.default_rng(0).random((2000, 4)) < 0.4
    plain, found = question_interval(rewards.astype(float)), accuracy_interval(rewards.astype(float))
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=1e-4)


def test_equal_differences_do_not_make_certainty():
    # 1 - 0.025^(1/2) = 0.841886: 0.5 - 0.841886 * 1.5 and 0.5 + 0.841886 * 0.5
    interval = difference_interval([0.5, 0.5])
    assert (interval.low, interval.high) == pytest.approx((-0.762829, 0.920943), abs=1e-6)
    assert math.isnan(difference_interval([0.5]).low)


def test_a_mean_over_benchmarks_by_hand():
    # reaches 0.3 and 0.4 below: 0.5 / 2; 0.4 and 0.3 above: 0.5 / 2
    found = macro_interval([Interval(0.5, 0.2, 0.9, 10), Interval(0.7, 0.3, 1.0, 20)])
    assert (found.mean, found.low, found.high) == pytest.approx((0.6, 0.35, 0.85))
    assert found.num_questions == 30
    alone = macro_interval([Interval(0.5, 0.2, 0.9, 10)])
    assert (alone.low, alone.high) == pytest.approx((0.2, 0.9))
    assert math.isnan(macro_interval([alone, Interval(0.5, math.nan, math.nan, 1)]).low)
    with pytest.raises(ValueError, match="needs one"):
        macro_interval([])


def test_the_interval_covers_the_truth_about_95_times_in_100():
    # 30 questions x 8 samples, difficulties drawn uniformly: 400 evaluations, two standard errors are 2.2 points.
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        difficulty = generator.random(30)
        rewards = (generator.random((30, 8)) < difficulty[:, None]).astype(float)
        interval = question_interval(rewards)
        covered += interval.low <= 0.5 <= interval.high
    assert 0.92 <= covered / 400 <= 0.98
