"""95 % intervals of an average over questions with several samples each.

The unit that was drawn is the question: samples of one question share its difficulty, so an interval over all samples
as if they were independent is far too narrow (four times, for 30 questions with 32 samples). Here the mean of each
question is one observation, and the interval is mean ± t · s / sqrt(Q) with Student's t at Q - 1 degrees of freedom.
It may reach below 0 or above 1: it is not cut, so that its centre stays the mean.
"""

import math
from collections.abc import Mapping, Sequence
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
    if len(values) == 0 or any(np.size(each) == 0 for each in values):
        raise ValueError("an interval needs at least one question, and at least one sample of each")
    means = np.array([np.mean(np.asarray(each, dtype=np.float64)) for each in values])
    mean = math.fsum(means) / len(means)
    if len(means) < 2:
        return Interval(mean, math.nan, math.nan, 1)
    reach = student_t(len(means) - 1) * float(np.std(means, ddof=1)) / math.sqrt(len(means))
    return Interval(mean, mean - reach, mean + reach, len(means))


def accuracy_interval(rewards: Sequence[NDArray[np.floating]] | NDArray[np.floating]) -> Interval:
    """`question_interval` of rewards in [0, 1], honest at the ends.

    Where every sample is 0 (or every sample 1) the spread within the sample is zero and says nothing. Then the exact
    binomial bound over questions is given (Clopper and Pearson): 0 of 30 questions is 0 to 11.6 %.
    """
    interval = question_interval(rewards)
    reach = 1 - ((1 - CONFIDENCE) / 2) ** (1 / interval.num_questions)
    if interval.mean == 0:
        return Interval(0.0, 0.0, reach, interval.num_questions)
    if interval.mean == 1:
        return Interval(1.0, 1 - reach, 1.0, interval.num_questions)
    return interval


def paired_interval(
    after: Mapping[str, NDArray[np.floating]], before: Mapping[str, NDArray[np.floating]]
) -> Interval | None:
    """The interval of the mean difference after - before over the questions both have; None where they share none.

    The difficulty of a question falls out of its own difference, so this is much narrower than two intervals side by
    side. The numbers of samples may differ.
    """
    common = [question for question in after if question in before]
    if not common:
        return None
    return question_interval([np.array([np.mean(after[each]) - np.mean(before[each])]) for each in common])


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
