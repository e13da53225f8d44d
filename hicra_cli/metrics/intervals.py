"""95 % intervals of an average over questions with several samples each.

The unit that was drawn is the question: samples of one question share its difficulty, so an interval over all samples
as if they were independent is far too narrow (four times, for 30 questions with 32 samples). Here the mean of each
question is one observation, with Student's t at Q - 1 degrees of freedom. Differences and other unbounded means get
mean ± t · s / sqrt(Q) (`question_interval`); shares get the same on the scale of log-odds (`accuracy_interval`), which
stays inside [0, 1] and covers the truth where the plain one fails.

Coverage in simulation (tests/metrics/test_coverage.py: difficulties beta distributed, 30 to 500 questions, 1 to 32
samples): 93 to 97 % for averages from 10 to 90 %, where the plain interval falls to 89 %. With one sample per question
the average is a binomial share, and no interval hits 95 % at each of its few values: up to 98 % at 30 questions.
Averages below 5 % over 30 questions rest on one or two questions that happened to be easy; nothing that sees only the
sample can know of the others, and coverage may be as low as 85 %.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over questions and its 95 % interval; low and high are nan where one question cannot say."""

    mean: float
    low: float
    high: float
    num_questions: int


def question_interval(values: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> Interval:
    """The interval of the mean over questions of the mean over samples.

    values: (Q, S) rewards, or Q arrays of their own lengths (S_q,). Raises ValueError where there is no question or a
    question has no sample: missing samples are never counted as zeros.
    """
    if len(values) == 0 or min(map(np.size, values)) == 0:
        raise ValueError("an interval needs at least one question, and at least one sample of each")
    means = _question_means(values)
    mean = math.fsum(means) / len(means)
    if len(means) < 2:
        return Interval(mean, math.nan, math.nan, 1)
    reach = student_t(len(means) - 1) * float(np.std(means, ddof=1)) / math.sqrt(len(means))
    return Interval(mean, mean - reach, mean + reach, len(means))


def accuracy_interval(shares: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> Interval:
    """The interval of the mean over questions of values in [0, 1], inside [0, 1] and honest at its ends.

    shares: as `question_interval`; rewards, or an estimate such as pass@k of each question. With the mean m and its
    variance v = s^2 / Q, the interval is logit(m) ± t · sqrt(v') / (m (1 - m)), mapped back. v' = (Q v + w) / (Q + 1)
    mixes in one question's worth of w = m (1 - m) / Q, the largest variance that the mean allows: a few questions that
    happen to agree prove little. low and high are nan for one question.

    Where every value is 0 (or every value 1) the spread within the sample is zero and says nothing. Then the exact
    binomial bound over questions is given (Clopper and Pearson): 0 of 30 questions is 0 to 11.6 %.
    """
    plain = question_interval(shares)
    mean, num_questions = plain.mean, plain.num_questions
    reach = unseen_share(num_questions)
    if mean <= 0:
        return Interval(mean, 0.0, reach, num_questions)
    if mean >= 1:
        return Interval(mean, 1 - reach, 1.0, num_questions)
    if num_questions < 2:
        return plain
    t = student_t(num_questions - 1)
    spread = mean * (1 - mean)
    variance = (num_questions * ((plain.high - mean) / t) ** 2 + spread / num_questions) / (num_questions + 1)
    centre, reach = math.log(mean / (1 - mean)), t * math.sqrt(variance) / spread
    return Interval(mean, _logistic(centre - reach), _logistic(centre + reach), num_questions)


def difference_interval(differences: Sequence[float]) -> Interval:
    """The interval of a mean difference; differences: (Q,) in [-1, 1], one per question.

    Where all are equal their spread says nothing: with 95 % confidence at most `unseen_share` of all questions differ
    from them, by as much as they can. So 30 questions without any difference leave ± 11.6 points open.
    """
    interval = question_interval([np.array([each]) for each in differences])
    if interval.low < interval.high or interval.num_questions < 2:
        return interval
    mean, share = interval.mean, unseen_share(interval.num_questions)
    return Interval(mean, mean - share * (1 + mean), mean + share * (1 - mean), interval.num_questions)


def macro_interval(intervals: Sequence[Interval]) -> Interval:
    """The unweighted mean over independent benchmarks, with the interval that theirs make.

    low = mean - sqrt(sum (mean_b - low_b)^2) / B and likewise high: each benchmark's own interval, with its own degrees
    of freedom and its own ends, takes the place of a common variance. One benchmark keeps its interval; one without an
    interval leaves nan. Source: Zou and Donner, Stat. Med. 27 (2008), "method of variance estimates recovery".
    """
    if not intervals:
        raise ValueError("a mean over benchmarks needs one")
    num_benchmarks = len(intervals)
    mean = math.fsum(each.mean for each in intervals) / num_benchmarks
    below = math.sqrt(math.fsum((each.mean - each.low) ** 2 for each in intervals)) / num_benchmarks
    above = math.sqrt(math.fsum((each.high - each.mean) ** 2 for each in intervals)) / num_benchmarks
    return Interval(mean, mean - below, mean + above, sum(each.num_questions for each in intervals))


def _question_means(values: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> NDArray[np.float64]:
    if isinstance(values, np.ndarray):
        return np.asarray(np.mean(values, axis=1, dtype=np.float64))
    return np.array([np.mean(np.asarray(each, dtype=np.float64)) for each in values])


def unseen_share(num_questions: int) -> float:
    """The largest share of all questions that so many drawn ones can have missed, at 2.5 %: 11.6 % for 30."""
    return float(1 - ((1 - CONFIDENCE) / 2) ** (1 / num_questions))


@lru_cache(maxsize=1024)
def student_t(degrees: int) -> float:
    """The two-sided 95 % quantile of Student's t: 12.706 for 1 degree of freedom, 2.045 for 29, towards 1.960."""
    if degrees < 1:
        raise ValueError(f"{degrees} degrees of freedom")
    low, high = 0.0, 13.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < CONFIDENCE else (low, middle)
    return high


def _within(t: float, degrees: int) -> float:
    """P(|T| <= t), the finite sums of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for power in range(odd, degrees - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _logistic(log_odds: float) -> float:
    """The share with these log-odds, without overflow at either end."""
    if log_odds < 0:
        odds = math.exp(log_odds)
        return odds / (1 + odds)
    return 1 / (1 + math.exp(-log_odds))
