"""Coverage of the 95 % intervals in simulation, as docs/scores.md shows it: how often they hold the truth.

    python -m tests.benchmarks.measure_coverage [--trials 4000]

Difficulties are beta distributed with a + b of 0.5, 1, 2 and 5; for one sample per question the sum does not matter.
Each line is the range over averages and sums. The paired part: log-odds normal, the second policy adds 0.5 and a taste
of its own for each question.
"""

import argparse
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hicra_cli.metrics.intervals import Interval, accuracy_interval, difference_interval, question_interval

SIZES = ((30, 40), (272, 500))
SAMPLES = ((4, 32), (1,))
AVERAGES = ((0.1, 0.2, 0.3, 0.5, 0.8, 0.9), (0.05,), (0.03,))
SUMS = (0.5, 1.0, 2.0, 5.0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=4000)
    trials = parser.parse_args().trials
    print("averages, questions, samples: accuracy_interval, plain t")
    for averages, sizes, samples in itertools.product(AVERAGES, SIZES, SAMPLES):
        found = [
            coverage(questions, each, average, total, trials)
            for questions, each, average in itertools.product(sizes, samples, averages)
            for total in (SUMS if each > 1 else SUMS[:1])
        ]
        ours, plain = zip(*found, strict=True)
        print(f"{averages}, {sizes}, {samples}: {span(ours)}, {span(plain)}", flush=True)
    for sizes in SIZES:
        found_paired = [paired(questions, each, trials) for questions in sizes for each in (1, 4, 32)]
        print(f"paired differences, {sizes}, (1, 4, 32): {span(found_paired)}", flush=True)


def coverage(questions: int, samples: int, average: float, total: float, trials: int) -> tuple[float, float]:
    """Of the accuracy interval and of the plain one."""
    generator = np.random.default_rng([questions, samples, round(1000 * average), round(10 * total)])
    difficulty = generator.beta(average * total, (1 - average) * total, (trials, questions))
    shares = generator.binomial(samples, difficulty) / samples
    return (
        held((accuracy_interval(each[:, None]) for each in shares), average),
        held((question_interval(each[:, None]) for each in shares), average),
    )


def paired(questions: int, samples: int, trials: int) -> float:
    generator = np.random.default_rng([questions, samples])
    odds, taste = generator.normal(-1, 2, 2_000_000), generator.normal(0, 0.5, 2_000_000)
    truth = float((logistic(odds + 0.5 + taste) - logistic(odds)).mean())
    odds = generator.normal(-1, 2, (trials, questions))
    after = logistic(odds + 0.5 + generator.normal(0, 0.5, odds.shape))
    change = (generator.binomial(samples, after) - generator.binomial(samples, logistic(odds))) / samples
    return held((difference_interval(list(each)) for each in change), truth)


def held(intervals: Iterable[Interval], truth: float) -> float:
    inside = [each.low <= truth <= each.high for each in intervals]
    return sum(inside) / len(inside)


def span(shares: Sequence[float]) -> str:
    return f"{100 * min(shares):.1f} to {100 * max(shares):.1f} %"


def logistic(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-odds)))


if __name__ == "__main__":
    main()
