"""pass@k and pass^k from n samples per question: any, and all, of k samples are correct. Both without bias.

pass@k = 1 - C(n-c, k) / C(n, k) (Chen et al., arXiv 2107.03374) is the probability that k samples drawn without
replacement from the n hold a correct one; the naive 1 - (1 - c/n)^k is biased. pass^k = C(c, k) / C(n, k) (Yao et al.,
arXiv 2406.12045) is the probability that all k are correct.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache


@lru_cache(maxsize=16384)
def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """pass@k of one question; nan where k > num_samples (the samples cannot say, and 1.0 would be a lie).

    Exact integer arithmetic, one rounding at the end: no overflow for any n. Raises ValueError for counts that cannot
    be.
    """
    if not 0 <= num_correct <= num_samples or k < 1:
        raise ValueError(f"pass@{k} of {num_correct} correct in {num_samples} samples makes no sense")
    if k > num_samples:
        return math.nan
    num_wrong = num_samples - num_correct
    if num_wrong < k:
        return 1.0
    return float(1 - Fraction(math.comb(num_wrong, k), math.comb(num_samples, k)))


@lru_cache(maxsize=16384)
def pass_hat_k(num_samples: int, num_correct: int, k: int) -> float:
    """pass^k of one question: the probability that k of its samples are all correct; nan where k > num_samples.

    Exact like `pass_at_k`. Raises ValueError for counts that cannot be.
    """
    if not 0 <= num_correct <= num_samples or k < 1:
        raise ValueError(f"pass^{k} of {num_correct} correct in {num_samples} samples makes no sense")
    if k > num_samples:
        return math.nan
    return float(Fraction(math.comb(num_correct, k), math.comb(num_samples, k)))


def mean_pass_at_k(num_samples: Sequence[int], num_correct: Sequence[int], k: int) -> float:
    """The mean of pass@k over questions, given each question's counts; nan where a question has fewer than k samples
    or there is no question."""
    if len(num_samples) != len(num_correct):
        raise ValueError(f"{len(num_samples)} sample counts, {len(num_correct)} counts of correct ones")
    values = [pass_at_k(samples, correct, k) for samples, correct in zip(num_samples, num_correct, strict=True)]
    return math.fsum(values) / len(values) if values else math.nan
