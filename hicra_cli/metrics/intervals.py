"""95 % intervals of avg@k, clustered by question: samples of one question are not independent.

The unit is the question's mean over its samples; the interval is Student's t over these with questions - 1 degrees of
freedom. Treating all samples as independent would make it several times too narrow (30 questions × 32 samples at 30 %:
1.5 points instead of 5.8).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval; nan bounds where a single question gives no spread."""

    mean: float
    low: float
    high: float
    questions: int


def question_interval(rewards: ArrayLike) -> Interval:
    """avg@k with its interval. rewards: (questions, k). Bounds are clipped to [0, 1]: rewards are shares."""
    interval = _interval(np.asarray(rewards, dtype=np.float64).mean(axis=1))
    return Interval(interval.mean, max(interval.low, 0.0), min(interval.high, 1.0), interval.questions)


def paired_interval(first: ArrayLike, second: ArrayLike) -> Interval:
    """second - first over the same questions, in the same order. Both (questions, k); k may differ.

    Raises ValueError where the numbers of questions differ.
    """
    means = [np.asarray(each, dtype=np.float64).mean(axis=1) for each in (first, second)]
    if len(means[0]) != len(means[1]):
        raise ValueError(f"{len(means[0])} and {len(means[1])} questions cannot be paired")
    return _interval(means[1] - means[0])


def t_quantile(degrees: int, probability: float = (1 + CONFIDENCE) / 2) -> float:
    """Quantile of Student's t, by bisection on its distribution function (relative error < 1e-9)."""
    low, high = 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_cdf(middle, degrees) < probability else (low, middle)
    return (low + high) / 2


def _interval(values: NDArray[np.float64]) -> Interval:
    count, mean = len(values), float(values.mean())
    if count < 2:
        return Interval(mean, math.nan, math.nan, count)
    half = t_quantile(count - 1) * float(values.std(ddof=1)) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


def _t_cdf(value: float, degrees: int) -> float:
    """Distribution function of Student's t for whole degrees of freedom: the finite trigonometric sum.

    Source: Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(value, math.sqrt(degrees))
    cosine = math.cos(angle)
    if degrees % 2:
        term, total = cosine, 0.0
        for k in range(1, (degrees - 1) // 2 + 1):
            total += term
            term *= 2 * k / (2 * k + 1) * cosine**2
        inside = 2 / math.pi * (angle + math.sin(angle) * total)
    else:
        term, total = 1.0, 0.0
        for k in range(1, degrees // 2 + 1):
            total += term
            term *= (2 * k - 1) / (2 * k) * cosine**2
        inside = math.sin(angle) * total
    return (1 + inside) / 2
