"""maj@k and pass^k against hand-computed values and against every draw."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.metrics.majority import majority_at_k
from hicra_cli.metrics.passk import pass_hat_k


@pytest.mark.parametrize(
    ("classes", "silent", "k", "expected"),
    [
        ([(3, 1.0), (1, 0.0)], 0, 4, 1.0),  # 3 votes to 1
        ([(1, 1.0), (1, 0.0)], 0, 2, 0.5),  # one to one: a coin
        ([(1, 1.0), (1, 0.0), (1, 0.0)], 0, 3, 1 / 3),
        ([(2, 1.0), (2, 0.0)], 0, 3, 0.5),  # of the four draws of 3 two have two right ones
        # draws of 3 from a a b c: aab, aac win with a; abc twice ties three ways: (1 + 1 + 1/3 + 1/3) / 4
        ([(2, 1.0), (1, 0.0), (1, 0.0)], 0, 3, (2 + 2 / 3) / 4),
        ([(1, 1.0)], 3, 2, 0.5),  # three of the six pairs hold the one sample that votes
        ([(4, 1.0)], 0, 1, 1.0),
        ([], 5, 2, 0.0),  # nobody votes
    ],
)
def test_golden_values(classes, silent, k, expected):
    assert majority_at_k(classes, silent, k) == pytest.approx(expected, abs=1e-12)


def test_one_vote_is_the_average():
    assert majority_at_k([(5, 1.0), (2, 0.0)], 1, 1) == 5 / 8


def test_too_few_samples_give_nan():
    assert math.isnan(majority_at_k([(2, 1.0)], 1, 4))
    assert math.isnan(pass_hat_k(3, 3, 4))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([0.0, 1.0])), min_size=1, max_size=4), st.integers(0, 3))
def test_it_is_the_mean_over_all_draws(classes, silent):
    samples = [place for place, (votes, _) in enumerate(classes) for _ in range(votes)] + [None] * silent
    for k in range(1, len(samples) + 1):
        draws = list(itertools.combinations(samples, k))
        expected = math.fsum(vote(draw, classes) for draw in draws) / len(draws)
        assert majority_at_k(classes, silent, k) == pytest.approx(expected, abs=1e-12)


def vote(draw, classes):
    counts = Counter(place for place in draw if place is not None)
    first = [place for place, votes in counts.items() if votes == max(counts.values())]
    return sum(classes[place][1] for place in first) / len(first) if first else 0.0


@given(st.permutations([(4, 0.0), (3, 1.0), (3, 0.0), (1, 1.0)]))
def test_the_order_of_answers_changes_nothing(classes):
    assert majority_at_k(classes, 2, 5) == majority_at_k([(4, 0.0), (3, 1.0), (3, 0.0), (1, 1.0)], 2, 5)


def test_thousands_of_samples_neither_overflow_nor_lose_digits():
    # two classes of equal size: whatever k is, the right one wins half the time
    assert majority_at_k([(1500, 1.0), (1500, 0.0)], 0, 64) == pytest.approx(0.5, abs=1e-10)
    # k = 1 of 4000 with one right sample
    assert majority_at_k([(1, 1.0), (3999, 0.0)], 0, 1) == pytest.approx(1 / 4000, rel=1e-9)


@pytest.mark.parametrize(("classes", "silent", "k"), [([(0, 1.0)], 0, 1), ([(1, 1.0)], -1, 1), ([(1, 1.0)], 0, 0)])
def test_impossible_counts_are_refused(classes, silent, k):
    with pytest.raises(ValueError, match="makes no sense"):
        majority_at_k(classes, silent, k)


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_hat_k_is_the_share_of_draws_that_are_all_correct(counts):
    num_samples, num_correct, k = counts
    draws = list(itertools.combinations(range(num_samples), k))
    share = sum(all(sample < num_correct for sample in draw) for draw in draws) / len(draws)
    assert pass_hat_k(num_samples, num_correct, k) == pytest.approx(share, abs=1e-12)


def test_pass_hat_k_golden():
    assert pass_hat_k(4, 3, 2) == 0.5  # C(3,2)/C(4,2) = 3/6
    with pytest.raises(ValueError, match="makes no sense"):
        pass_hat_k(4, 5, 1)
