"""pass@k against hand-computed values, enumeration and large numbers."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.metrics.passk import mean_pass_at_k, pass_at_k


@pytest.mark.parametrize(
    ("num_samples", "num_correct", "k", "expected"),
    [
        (4, 1, 1, 0.25),
        (4, 1, 2, 0.5),  # 1 - C(3,2)/C(4,2) = 1 - 3/6
        (5, 2, 3, 0.9),  # 1 - C(3,3)/C(5,3) = 1 - 1/10
        (4, 0, 4, 0.0),
        (4, 4, 1, 1.0),
        (4, 2, 3, 1.0),  # only 2 wrong ones: every draw of 3 holds a correct one
    ],
)
def test_golden_values(num_samples, num_correct, k, expected):
    assert pass_at_k(num_samples, num_correct, k) == pytest.approx(expected, abs=1e-15)


def test_too_few_samples_give_nan_not_one():
    assert math.isnan(pass_at_k(4, 4, 5))
    assert math.isnan(mean_pass_at_k([8, 4], [1, 4], 8))


def test_large_counts_are_exact():
    # 1 - C(99999, 50000)/C(100000, 50000) = 1 - 50000/100000
    assert pass_at_k(100_000, 1, 50_000) == 0.5
    # one correct sample among n: pass@k = k/n
    assert pass_at_k(4096, 1, 64) == 64 / 4096


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_it_is_the_share_of_draws_that_hold_a_correct_sample(counts):
    num_samples, num_correct, k = counts
    draws = list(itertools.combinations(range(num_samples), k))
    share = sum(any(sample < num_correct for sample in draw) for draw in draws) / len(draws)
    assert pass_at_k(num_samples, num_correct, k) == pytest.approx(share, abs=1e-12)


def test_the_mean_is_over_questions():
    # pass@1 of 1/4 and 3/4 is 0.5; pass@2 is (0.5 + 1.0) / 2
    assert mean_pass_at_k([4, 4], [1, 3], 1) == 0.5
    assert mean_pass_at_k([4, 4], [1, 3], 2) == 0.75


@pytest.mark.parametrize("counts", [(4, 5, 1), (4, -1, 1), (4, 1, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="makes no sense"):
        pass_at_k(*counts)
