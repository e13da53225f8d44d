"""Semantic entropy: how widely a policy spreads over strategic grams, and what follows each of them.

Counts are occurrences of strategic grams (or of their clusters) in the rollouts of one window of steps. All
entropies are in nats (divide by ln 2 for bits); no occurrence at all gives nan. The plug-in estimate of the paper
grows with the amount of text, because rare grams need many draws to be seen. Three companions take that apart:
`miller_madow` corrects the first-order bias, `rarefied_entropy` asks what a smaller sample of fixed size would have
shown, `normalised_entropy` divides by the largest possible value. Source: arXiv 2509.03646v3, section 2.2.2.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = Mapping[Any, int] | Iterable[int]
Pairs = Mapping[Any, Mapping[Any, int]]


@dataclass(frozen=True, slots=True)
class SemanticEntropy:
    """The entropy of one window's strategic grams, with what it was computed from.

    `support`: how many grams could have occurred (the gram-set's size); `observed`: how many did; `occurrences`:
    how often, in all. `rarefied_nats` is the expected plug-in value of `rarefied_size` occurrences drawn without
    replacement, nan where there are fewer. `normalised` is plug_in / ln(support), base-free, in [0, 1].
    """

    plug_in_nats: float
    miller_madow_nats: float
    rarefied_nats: float
    rarefied_size: int
    normalised: float
    support: int
    observed: int
    occurrences: int


def semantic_entropy(counts: Counts) -> float:
    """Plug-in Shannon entropy -sum p log p of the frequency distribution, in nats.

    counts: occurrences per strategic gram, as a mapping or bare numbers; zeros add nothing. Uniform over k grams
    gives ln k, a single gram 0, no occurrence nan.
    """
    return _plug_in(_positive(counts))


def miller_madow(counts: Counts) -> float:
    """Plug-in entropy plus (observed grams - 1) / (2 * occurrences): its first-order bias removed, in nats."""
    numbers = _positive(counts)
    if numbers.size == 0:
        return math.nan
    return _plug_in(numbers) + (numbers.size - 1) / (2 * int(numbers.sum()))


def rarefied_entropy(counts: Counts, *, size: int) -> float:
    """Expected plug-in entropy of `size` occurrences drawn without replacement, in nats: exact, nothing is sampled.

    A gram with c of n occurrences is drawn j times with the hypergeometric probability P(j), and adds
    sum_j P(j) * -(j/size) log(j/size). size = n gives the plug-in value, size = 1 gives 0; fewer than `size`
    occurrences give nan. Comparable between windows of any length.
    """
    numbers = _positive(counts)
    total = int(numbers.sum())
    if size < 1 or size > total:
        return math.nan
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1, dtype=np.float64)))])
    distinct, times = np.unique(numbers, return_counts=True)
    return math.fsum(
        int(multiplicity) * _expected_term(int(count), total, size, log_factorial)
        for count, multiplicity in zip(distinct, times, strict=True)
    )


def normalised_entropy(counts: Counts, *, support: int) -> float:
    """Plug-in entropy divided by ln(support): 0 for a single gram, 1 for a uniform use of all `support` grams.

    support: how many grams could have occurred, the same number for every window that is compared. nan for a
    support below two, where no spread is possible.
    """
    numbers = _positive(counts)
    if numbers.size > support:
        raise ValueError(f"{numbers.size} different grams were counted in a support of {support}")
    return _plug_in(numbers) / math.log(support) if support > 1 else math.nan


def describe(counts: Counts, *, support: int, rarefied_size: int) -> SemanticEntropy:
    """All estimates of one window beside each other. A rarefied_size of 0 leaves that estimate out (nan)."""
    numbers = _positive(counts)
    bare: list[int] = numbers.tolist()
    return SemanticEntropy(
        plug_in_nats=semantic_entropy(bare),
        miller_madow_nats=miller_madow(bare),
        rarefied_nats=rarefied_entropy(bare, size=rarefied_size),
        rarefied_size=rarefied_size,
        normalised=normalised_entropy(bare, support=support),
        support=support,
        observed=int(numbers.size),
        occurrences=int(numbers.sum()),
    )


def rarefaction_size(totals: Iterable[int], *, floor: int) -> int:
    """The size that makes windows comparable: the smallest total that reaches `floor`; 0 where none does.

    A window with fewer occurrences than `floor` says too little to hold all others down to it; it is left out.
    """
    return min((total for total in totals if total >= floor), default=0)


def conditional_entropy(pairs: Pairs) -> float:
    """Entropy of what follows a strategic gram, given the gram: sum over s of p(s) * H(X | s), in nats.

    pairs: per gram the counts of the n-grams that followed it; p(s) is the gram's share of all pairs. Plug-in.
    """
    totals = {gram: sum(following.values()) for gram, following in pairs.items()}
    total = sum(totals.values())
    if total == 0:
        return math.nan
    return math.fsum(totals[gram] / total * semantic_entropy(pairs[gram]) for gram in pairs if totals[gram])


def rarefied_conditional_entropy(pairs: Pairs, *, size: int) -> float:
    """Expected plug-in conditional entropy of `size` pairs drawn without replacement, in nats.

    By H(X|S) = H(S, X) - H(S), both of which are rarefied exactly. nan where there are fewer pairs than `size`.
    """
    joint = Counter({(gram, following): n for gram, follows in pairs.items() for following, n in follows.items()})
    grams = {gram: sum(follows.values()) for gram, follows in pairs.items()}
    difference = rarefied_entropy(joint, size=size) - rarefied_entropy(grams, size=size)
    return difference if math.isnan(difference) else max(0.0, difference)  # rounding can leave -1e-17


def _positive(counts: Counts) -> NDArray[np.int64]:
    """The counts above zero, ascending: the order of a mapping must not reach the last bit of a sum."""
    values = counts.values() if isinstance(counts, Mapping) else counts
    numbers = np.fromiter((int(value) for value in values), dtype=np.int64)
    if np.any(numbers < 0):
        raise ValueError(f"a count is negative: {int(numbers.min())}")
    return np.sort(numbers[numbers > 0])


def _plug_in(numbers: NDArray[np.int64]) -> float:
    if numbers.size == 0:
        return math.nan
    total = int(numbers.sum())
    return math.fsum(_surprise(count / total) for count in numbers.tolist())


def _surprise(share: float) -> float:
    return 0.0 if share == 1.0 else -share * math.log(share)


def _expected_term(count: int, total: int, size: int, log_factorial: NDArray[np.float64]) -> float:
    """E[-(J/size) log(J/size)] of J ~ hypergeometric(total, count, size)."""
    lowest, highest = max(0, size - (total - count)), min(count, size)
    drawn = np.arange(lowest, highest + 1)

    def log_choose(n: int, k: NDArray[np.int64]) -> NDArray[np.float64]:
        chosen: NDArray[np.float64] = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
        return chosen

    log_weight = log_choose(count, drawn) + log_choose(total - count, size - drawn)
    weight = np.exp(log_weight - log_weight.max())
    shares = drawn[drawn > 0] / size
    # the weights are normalised by their own sum, so rounding of the factorials' logarithms cancels
    return float((weight[drawn > 0] * -shares * np.log(shares)).sum() / weight.sum())
