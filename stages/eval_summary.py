"""The figures of an evaluation, from its graded samples: of each benchmark, and the mean over benchmarks."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hicra_cli.core.errors import RunError
from hicra_cli.metrics.intervals import Interval, macro_interval
from hicra_cli.report.scores import BenchScores

__all__ = ["BenchScores", "bench_summary", "mean_summary", "text_digest"]

MEAN_METHOD = "unweighted mean over benchmarks; interval from theirs, as independent (Zou and Donner 2008)"


def bench_summary(
    rows: Iterable[Mapping[str, Any]], *, ks: Sequence[int], doubtful: Mapping[str, Any] | Sequence[str] = ()
) -> dict[str, Any]:
    """`BenchScores.figures` of all samples of one benchmark, every question with the same number, in any order.

    Raises RunError where samples are missing or there twice: they are never counted as wrong.
    """
    scores = BenchScores(doubtful=doubtful)
    for row in rows:
        scores.add(row)
    return scores.figures(ks)


def mean_summary(benches: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The unweighted mean of the benchmarks' averages with its 95 % interval (`macro_interval`).

    benches: figures by name. Raises RunError where there is none.
    """
    if not benches:
        raise RunError("a mean over benchmarks needs one")
    mean = macro_interval([_interval(each) for each in benches.values()])
    low, high = (None if math.isnan(end) else end for end in (mean.low, mean.high))
    return {"average": mean.mean, "low": low, "high": high, "benchmarks": len(benches), "method": MEAN_METHOD}


def text_digest(text: str) -> str:
    """sha256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _interval(figures: Mapping[str, Any]) -> Interval:
    low, high = (math.nan if figures[end] is None else float(figures[end]) for end in ("low", "high"))
    return Interval(float(figures["average"]), low, high, int(figures["questions"]))
