"""maj@k from n samples per question: the score of the most frequent answer among k samples, without bias.

It is the mean over all C(n, k) draws without replacement, computed exactly instead of by drawing. Answers that are one
answer form a class. Ties are broken at random, so a draw's score is the mean score of the classes that share the first
place. Samples without an answer do not vote; a draw in which nobody votes scores 0.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Class = tuple[int, float]


def majority_at_k(classes: Sequence[Class], num_silent: int, k: int) -> float:
    """maj@k of one question; nan where k exceeds its samples.

    classes: (votes, score) of every distinct answer; num_silent: samples without an answer. Exact up to rounding
    (relative error about 1e-12); n = 1024 and k = 512 take about a second at worst, n = 64 some milliseconds.
    Raises ValueError for counts that cannot be.
    """
    if k < 1 or num_silent < 0 or any(votes < 1 for votes, _ in classes):
        raise ValueError(f"maj@{k} of classes {list(classes)} and {num_silent} silent samples makes no sense")
    return _majority(tuple(sorted(classes)), num_silent, k)


@lru_cache(maxsize=16384)
def _majority(classes: tuple[Class, ...], num_silent: int, k: int) -> float:
    num_samples = sum(votes for votes, _ in classes) + num_silent
    if k > num_samples:
        return math.nan
    if not any(score for _, score in classes):
        return 0.0
    if k == num_samples:
        return _plain_vote(classes)
    most = min(k, max(votes for votes, _ in classes))
    won = math.fsum(_won_with(classes, num_silent, k, num_samples, votes) for votes in range(1, most + 1))
    return min(1.0, won / float(_chances(num_samples, k / num_samples, k)[k]))


def _plain_vote(classes: Sequence[Class]) -> float:
    """The score where every sample votes."""
    most = max(votes for votes, _ in classes)
    first = [score for votes, score in classes if votes == most]
    return math.fsum(first) / len(first)


def _won_with(classes: Sequence[Class], num_silent: int, k: int, num_samples: int, winning: int) -> float:
    """The part of maj@k from draws in which the first place has exactly `winning` votes, times P(k samples drawn).

    Every sample is drawn with probability k / n on its own; given that k were drawn, each set of k is equally likely.
    So all terms are probabilities, and nothing overflows. ways[j, t]: j samples drawn so far, no class beyond `winning`
    votes, t classes with exactly so many; scored[j, t] carries the sum of their scores.
    """
    chance = k / num_samples
    rivals = [each for each in classes if each[0] >= winning]
    others = num_silent + sum(votes for votes, _ in classes if votes < winning)  # they cannot reach `winning`
    ways = np.zeros((k + 1, k // winning + 1))
    ways[:, 0] = _chances(others, chance, k)
    scored = np.zeros_like(ways)
    for votes, score in rivals:
        chances = _chances(votes, chance, winning)
        placed = chances[winning] * ways[: k + 1 - winning, :-1]
        placed_scores = chances[winning] * scored[: k + 1 - winning, :-1] + score * placed
        ways, scored = _drawn(ways, chances[:winning]), _drawn(scored, chances[:winning])
        ways[winning:, 1:] += placed
        scored[winning:, 1:] += placed_scores
    return math.fsum(float(total) / tied for tied, total in enumerate(scored[k]) if tied)


def _drawn(table: NDArray[np.float64], chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each column of (k + 1, T) convolved with the chances of 0, 1, … votes, cut at k."""
    size, columns = table.shape
    if len(chances) > columns:
        return np.stack([np.convolve(table[:, column], chances)[:size] for column in range(columns)], axis=1)
    drawn = np.zeros_like(table)
    for votes, chance in enumerate(chances[:size]):
        drawn[votes:] += chance * table[: size - votes]
    return drawn


@lru_cache(maxsize=4096)
def _chances(count: int, chance: float, limit: int) -> NDArray[np.float64]:
    """(limit + 1,) binomial probabilities that 0 … limit of `count` samples are drawn; chance inside (0, 1)."""
    log_in, log_out = math.log(chance), math.log1p(-chance)
    chances = np.zeros(limit + 1)
    for drawn in range(min(count, limit) + 1):
        log_ways = math.lgamma(count + 1) - math.lgamma(drawn + 1) - math.lgamma(count - drawn + 1)
        chances[drawn] = math.exp(log_ways + drawn * log_in + (count - drawn) * log_out)
    return chances
