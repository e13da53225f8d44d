"""The cluster bootstrap: whole questions are drawn again, so that the samples of one stay together.

A second opinion beside `intervals`: no distribution is assumed, but with few questions it is too narrow (its spread
lacks the factor sqrt(Q / (Q - 1)) and Student's t), and where all questions agree it has no width at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hicra_cli.core.seeds import generator_for

RESAMPLES = 10_000
_CHUNK = 2_000_000  # indices held at once


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The 2.5 and 97.5 % quantiles of the mean over resampled questions."""

    low: float
    high: float
    resamples: int


def bootstrap_interval(means: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> Bootstrap:
    """The percentile interval of the mean; means: (Q,) one per question.

    Equal values in another order give the same interval. Raises ValueError where there is no question.
    """
    if not means:
        raise ValueError("a bootstrap needs at least one question")
    values = np.sort(np.asarray(means, dtype=np.float64))
    generator = generator_for(seed, "cluster-bootstrap")
    rows = max(1, _CHUNK // len(values))
    drawn = [
        values[generator.integers(0, len(values), (min(rows, resamples - start), len(values)))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    low, high = np.quantile(np.concatenate(drawn), [0.025, 0.975])
    return Bootstrap(float(low), float(high), resamples)
