"""Intervals against their promise: over many simulated evaluations they hold the truth about 95 times in 100.

A question's difficulty is drawn from a beta distribution, its samples from that difficulty; the truth is the mean of
the distribution. `SPREADS` are a + b: at 0.5 most questions are nearly always or never solved, at 5 they are alike.
"""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from hicra_cli.metrics.bootstrap import bootstrap_interval
from hicra_cli.metrics.intervals import accuracy_interval, difference_interval, macro_interval
from hicra_cli.metrics.paired import paired_difference

TRIALS = 4000
NOISE = 0.012  # 3.5 standard errors of a coverage of 95 % in so many trials
SPREADS = (0.5, 1.0, 5.0)
AVERAGES = (0.1, 0.3, 0.5, 0.9)


def evaluations(generator, *, questions, samples, average, spread, trials):
    """(trials, questions) shares of right samples."""
    difficulty = generator.beta(average * spread, (1 - average) * spread, (trials, questions))
    return generator.binomial(samples, difficulty) / samples


def coverage(shares, truth, interval=accuracy_interval):
    held = [found.low <= truth <= found.high for found in (interval(each[:, None]) for each in shares)]
    return sum(held) / len(held)


@pytest.mark.parametrize(("questions", "samples"), [(30, 32), (272, 4)])
def test_an_average_is_held_95_times_in_100(questions, samples):
    generator = np.random.default_rng(questions)
    shares = evaluations(generator, questions=questions, samples=samples, average=0.3, spread=1.0, trials=800)
    assert coverage(shares, 0.3) == pytest.approx(0.95, abs=0.027)  # 3.5 standard errors of 800 trials


@pytest.mark.slow
@pytest.mark.parametrize(("questions", "samples"), itertools.product((30, 40, 272, 500), (4, 32)))
def test_averages_are_covered_between_93_and_97_percent(questions, samples):
    generator = np.random.default_rng(questions * samples)
    for average, spread in itertools.product(AVERAGES, SPREADS):
        shares = evaluations(
            generator, questions=questions, samples=samples, average=average, spread=spread, trials=TRIALS
        )
        found = coverage(shares, average)
        assert 0.93 - NOISE <= found <= 0.97 + NOISE, (average, spread, found)


@pytest.mark.slow
@pytest.mark.parametrize("questions", [30, 40, 272, 500])
def test_one_sample_per_question_is_covered_as_well_as_a_binomial_share_can_be(questions):
    # The exact coverage of a function of Binomial(Q, p), summed over its values; it jumps with p, its mean does not.
    counts = np.arange(questions + 1)
    found = [accuracy_interval(np.repeat([1.0, 0.0], [count, questions - count])[:, None]) for count in counts]
    low, high = (np.array([getattr(each, end) for each in found]) for end in ("low", "high"))
    log_ways = np.cumsum(np.log(np.concatenate(([1.0], (questions - counts[:-1]) / counts[1:]))))
    covered = []
    for average in np.linspace(0.1, 0.9, 161):
        chances = np.exp(log_ways + counts * np.log(average) + (questions - counts) * np.log1p(-average))
        covered.append(chances[(low <= average) & (average <= high)].sum())
    assert 0.95 <= np.mean(covered) <= 0.972  # few values of 30 questions: on the safe side
    assert min(covered) >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize(("questions", "samples"), itertools.product((30, 40, 272, 500), (1, 4, 32)))
def test_paired_differences_are_covered_between_93_and_97_percent(questions, samples):
    # log-odds of a question are normal; the second policy adds 0.5 and a question's own taste
    generator = np.random.default_rng(questions + samples)
    odds, taste = generator.normal(-1, 2, (2, 2_000_000))[0], generator.normal(0, 0.5, 2_000_000)
    truth = float((logistic(odds + 0.5 + taste) - logistic(odds)).mean())
    odds = generator.normal(-1, 2, (TRIALS, questions))
    after = logistic(odds + 0.5 + generator.normal(0, 0.5, odds.shape))
    before_shares = generator.binomial(samples, logistic(odds)) / samples
    after_shares = generator.binomial(samples, after) / samples
    intervals = [difference_interval(list(each)) for each in after_shares - before_shares]
    found = sum(each.low <= truth <= each.high for each in intervals) / TRIALS
    assert 0.93 - NOISE <= found <= 0.97 + NOISE, found


def logistic(odds):
    return 1 / (1 + np.exp(-odds))


@pytest.mark.slow
def test_a_mean_over_benchmarks_is_covered():
    generator = np.random.default_rng(5)
    sizes, averages = (30, 30, 40, 500), (0.1, 0.2, 0.5, 0.8)
    shares = [
        evaluations(generator, questions=size, samples=4, average=average, spread=1.0, trials=TRIALS)
        for size, average in zip(sizes, averages, strict=True)
    ]
    held = 0
    for trial in range(TRIALS):
        found = macro_interval([accuracy_interval(each[trial][:, None]) for each in shares])
        held += bool(found.low <= np.mean(averages) <= found.high)
    assert 0.93 - NOISE <= held / TRIALS <= 0.97 + NOISE


@pytest.mark.slow
def test_the_p_value_of_equal_policies_is_below_5_percent_at_most_5_times_in_100():
    generator = np.random.default_rng(6)
    alarms = 0
    for _ in range(2000):
        difficulty = generator.beta(0.3, 0.7, 30)
        first, second = ([Fraction(int(n), 8) for n in generator.binomial(8, difficulty)] for _ in range(2))
        pair = paired_difference(dict(enumerate_names(first)), dict(enumerate_names(second)))
        alarms += pair.test.p <= 0.05
    assert 0.03 <= alarms / 2000 <= 0.05 + 0.017


def enumerate_names(values):
    return ((str(place), value) for place, value in enumerate(values))


def test_the_bootstrap_agrees_with_the_interval_where_questions_are_many():
    generator = np.random.default_rng(7)
    shares = evaluations(generator, questions=500, samples=4, average=0.4, spread=1.0, trials=1)[0]
    interval, bootstrap = accuracy_interval(shares[:, None]), bootstrap_interval(list(shares))
    assert (bootstrap.low, bootstrap.high) == pytest.approx((interval.low, interval.high), abs=0.003)
    assert bootstrap_interval(list(shares[::-1])) == bootstrap


def test_a_bootstrap_needs_questions():
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])
    alone = bootstrap_interval([0.25])
    assert (alone.low, alone.high) == (0.25, 0.25)
