import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.metrics.intervals import paired_interval, question_interval, t_quantile


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    # printed tables of Student's t, two-sided 95 %
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (10, 2.2281), (29, 2.0452), (30, 2.0423), (511, 1.9646), (10000, 1.9602)],
)
def test_quantiles_of_students_t_equal_the_printed_tables(degrees, quantile):
    assert t_quantile(degrees) == pytest.approx(quantile, abs=6e-5)


def test_the_interval_is_over_questions_not_over_samples():
    # means 0.5, 1, 0, 0.5: mean 0.5, unbiased variance (0 + .25 + .25 + 0) / 3 = 1/6,
    # half width 3.18245 * sqrt(1/6) / 2 = 0.64961 -> clipped to [0, 1]
    interval = question_interval([[1, 0], [1, 1], [0, 0], [0, 1]])
    assert (interval.mean, interval.low, interval.high, interval.questions) == (0.5, 0.0, 1.0, 4)
    # eight questions with means 0.5, 1, 0, 0.5 twice: variance 1/7, half 2.36462 * sqrt(1/7) / sqrt(8) = 0.31598
    interval = question_interval([[1, 0], [1, 1], [0, 0], [0, 1]] * 2)
    assert (interval.low, interval.high) == pytest.approx((0.18402, 0.81598), abs=1e-5)


def test_a_single_question_has_no_interval():
    interval = question_interval([[1, 0]])
    assert interval.mean == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_paired_differences_use_the_pairing():
    # second - first: 0.5, 0.5, 0.5 -> mean 0.5 and no spread, however different the questions are
    interval = paired_interval([[0.0], [0.5], [0.25]], [[0.5], [1.0], [0.75]])
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.5, 0.5)


def test_different_questions_cannot_be_paired():
    with pytest.raises(ValueError, match="3 and 2 questions"):
        paired_interval([[0], [1], [1]], [[0], [1]])


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**30))
def test_the_order_of_rows_changes_nothing(questions, samples, seed):
    generator = np.random.default_rng(seed)
    rewards = generator.integers(2, size=(questions, samples)).astype(float)
    first, second = question_interval(rewards), question_interval(rewards[generator.permutation(questions)])
    assert (first.mean, first.low, first.high) == pytest.approx((second.mean, second.low, second.high))
