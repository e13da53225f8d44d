"""Float64 references of the entropies: the formula, written as slowly and plainly as it reads."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence


def entropy_of_shares(shares: Sequence[float]) -> float:
    """-sum p log p in nats."""
    return -sum(share * math.log(share) for share in shares if share > 0)


def entropy_of_counts(counts: Sequence[int]) -> float:
    total = sum(counts)
    return entropy_of_shares([count / total for count in counts]) if total else math.nan


def entropy_of_logits(logits: Sequence[float]) -> float:
    """Entropy of softmax(logits)."""
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    return entropy_of_shares([weight / sum(weights) for weight in weights])


def mean_entropy_of_all_subsamples(counts: Sequence[int], size: int) -> float:
    """The plug-in entropy of every subset of `size` occurrences, averaged: what rarefaction must equal."""
    occurrences = [gram for gram, count in enumerate(counts) for _ in range(count)]
    entropies = [
        entropy_of_counts(list(Counter(chosen).values())) for chosen in itertools.combinations(occurrences, size)
    ]
    return sum(entropies) / len(entropies)


def conditional_entropy_of_pairs(pairs: Sequence[tuple[str, str]]) -> float:
    """H(S, X) - H(S) from the bare list of pairs: the other way to the same number."""
    joint = entropy_of_counts(list(Counter(pairs).values()))
    return joint - entropy_of_counts(list(Counter(gram for gram, _ in pairs).values()))
