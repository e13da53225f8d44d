"""Two evaluations of the same questions, paired by question: is the difference more than chance?

The test asks nothing of the distribution: if the two policies were equally good on every question, each question's
difference would as likely have the other sign. The p-value is the share of all 2^Q choices of signs whose mean
difference is at least as large in size as the one observed (two-sided).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.seeds import generator_for
from hicra_cli.metrics.intervals import Interval, difference_interval

MAX_SUMS = 10_000_000
FLIPS = 99_999
_CHUNK = 4_000_000  # signs held at once


@dataclass(frozen=True, slots=True)
class SignFlip:
    """p: two-sided. exact: from all choices of signs; else from `flips` random ones, (b + 1) / (flips + 1).

    deciding: questions whose difference is not zero; without any, p is 1.
    """

    p: float
    exact: bool
    deciding: int
    flips: int = 0


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """after - before over the questions both have. better, worse, equal: questions by the sign of their difference."""

    interval: Interval
    test: SignFlip
    better: int
    worse: int
    equal: int
    differences: tuple[Fraction, ...]


def paired_difference(
    before: Mapping[str, Fraction], after: Mapping[str, Fraction], *, seed: int = 0
) -> PairedDifference:
    """Compare question by question. before, after: each question's mean reward in [0, 1], exact.

    Raises ValueError where no question is in both.
    """
    common = sorted(before.keys() & after.keys())
    if not common:
        raise ValueError("the two evaluations share no question")
    differences = tuple(after[question] - before[question] for question in common)
    better = sum(each > 0 for each in differences)
    worse = sum(each < 0 for each in differences)
    return PairedDifference(
        interval=difference_interval([float(each) for each in differences]),
        test=sign_flip_test(differences, seed=seed),
        better=better,
        worse=worse,
        equal=len(common) - better - worse,
        differences=differences,
    )


def mean_test(pairs: Sequence[PairedDifference], *, seed: int = 0) -> SignFlip:
    """The test of the unweighted mean over benchmarks: a question weighs 1 / (questions of its benchmark)."""
    return sign_flip_test([each / len(pair.differences) for pair in pairs for each in pair.differences], seed=seed)


def sign_flip_test(differences: Sequence[Fraction], *, seed: int = 0) -> SignFlip:
    """The permutation test of the sum of the differences.

    Equal sums are counted together, question after question; exact while that takes at most MAX_SUMS sums (seconds):
    for the paper's sets, and for any with one sample per question, where it is McNemar's exact test. Else FLIPS random
    choices of signs.
    """
    moved = [each for each in differences if each]
    if not moved:
        return SignFlip(1.0, exact=True, deciding=0)
    steps = _as_integers(moved)
    p = _exact_p(steps)
    if p is not None:
        return SignFlip(p, exact=True, deciding=len(moved))
    return SignFlip(_random_p(steps, seed), exact=False, deciding=len(moved), flips=FLIPS)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for looking at several benchmarks (Holm): the chance of any false alarm stays below p.

    The i-th smallest of m is multiplied by m - i + 1, made non-decreasing and cut at 1; valid whatever the dependence.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted


def _as_integers(values: Sequence[Fraction]) -> list[int]:
    """The smallest integers with the same proportions."""
    common = math.lcm(*(each.denominator for each in values))
    scaled = [int(each * common) for each in values]
    divisor = math.gcd(*scaled)
    return [each // divisor for each in scaled]


def _exact_p(steps: Sequence[int]) -> float | None:
    """The share of sign choices whose sum is as large as the observed; None where there are too many sums."""
    observed = abs(sum(steps))
    if sum(abs(each) for each in steps) >= 1 << 62:
        return None
    counted = 0
    sums: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    chances: NDArray[np.float64] = np.ones(1)
    for step in sorted(abs(each) for each in steps):
        sums, place = np.unique(np.concatenate((sums - step, sums + step)), return_inverse=True)
        chances = np.bincount(place, np.concatenate((chances, chances)) / 2).astype(np.float64, copy=False)
        counted += len(sums)
        if counted > MAX_SUMS:
            return None
    return min(1.0, float(chances[np.abs(sums) >= observed].sum()))


def _random_p(steps: Sequence[int], seed: int) -> float:
    """(b + 1) / (FLIPS + 1), b of FLIPS random sign choices being as large: the observed one is one of them."""
    largest = max(abs(each) for each in steps)
    sizes = np.array(sorted(float(Fraction(abs(each), largest)) for each in steps))
    observed = abs(float(Fraction(sum(steps), largest))) * (1 - 1e-12)
    generator = generator_for(seed, "sign-flip")
    rows = max(1, _CHUNK // len(sizes))
    reached = 0
    for start in range(0, FLIPS, rows):
        flipped = generator.integers(0, 2, (min(rows, FLIPS - start), len(sizes)), dtype=np.int8)
        sums = 2 * (flipped @ sizes) - sizes.sum()
        reached += int((np.abs(sums) >= observed).sum())
    return (reached + 1) / (FLIPS + 1)
