"""Intervals clustered by question, against tables and hand-computed values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.metrics.intervals import accuracy_interval, paired_interval, question_interval, student_t


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


def test_between_the_ends_accuracy_is_the_plain_interval():
    rewards = np.array([[1.0], [0.0], [1.0]])
    assert accuracy_interval(rewards) == question_interval(rewards)


def test_a_paired_difference_needs_only_common_questions_and_loses_their_difficulty():
    before = {"easy": np.array([1.0, 1.0]), "hard": np.array([0.0, 0.0]), "new": np.array([1.0, 1.0])}
    after = {"easy": np.array([1.0]), "hard": np.array([1.0]), "other": np.array([0.0])}
    # differences 0 and 1: mean 0.5, s = 0.70711, t(1) = 12.7062, reach 12.7062 * 0.70711 / sqrt(2) = 6.3531
    interval = paired_interval(after, before)
    assert interval is not None
    assert interval.mean == 0.5
    assert interval.high - interval.mean == pytest.approx(6.3531, abs=1e-3)
    assert paired_interval(after, {"x": np.array([1.0])}) is None


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
