"""Two evaluations compared, B - A: each benchmark paired by question, and the mean over benchmarks.

Intervals and p-values are over questions: they say what other questions would give, not what another run of the
training would. Both policies must have been asked the same questions; what else differs is told in `warnings`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from hicra_cli.core.errors import UsageError
from hicra_cli.metrics.intervals import Interval, accuracy_interval, macro_interval
from hicra_cli.metrics.paired import PairedDifference, SignFlip, holm, mean_test, paired_difference
from hicra_cli.report.layouts import Cell, Figure, Grid, GridRow
from hicra_cli.report.provenance import differences_of
from hicra_cli.report.scored import ScoredEvaluation
from hicra_cli.report.scores import BenchScores

MEAN = "mean"
NOTES = (
    "B - A in points; 95 % intervals and p are paired by question (p: sign-flip test; Holm: for several benchmarks).",
    "They speak of questions, not of training runs: another seed differs by more.",
)


@dataclass(frozen=True, slots=True)
class BenchComparison:
    """One benchmark, over the questions both evaluations have. first, second: avg@k there."""

    bench: str
    first: Interval
    second: Interval
    samples: tuple[int, int]
    truncated: tuple[float, float]
    pair: PairedDifference
    p_holm: float


@dataclass(frozen=True, slots=True)
class MeanComparison:
    """The unweighted mean over the compared benchmarks, independent of each other."""

    first: Interval
    second: Interval
    difference: Interval
    test: SignFlip


@dataclass(frozen=True, slots=True)
class Comparison:
    """mean: None for a single benchmark."""

    first: str
    second: str
    benches: tuple[BenchComparison, ...]
    mean: MeanComparison | None
    warnings: tuple[str, ...]


def compare(first: ScoredEvaluation, second: ScoredEvaluation, *, seed: int = 0) -> Comparison:
    """Every benchmark that both have. UsageError where they share none, or one's questions are others."""
    names = [name for name in first.benches if name in second.benches]
    if not names:
        raise UsageError(
            f"{first.ref} and {second.ref} share no benchmark: "
            f"{', '.join(first.benches)} there, {', '.join(second.benches)} here",
            fix="Evaluate both policies on the same benchmarks",
        )
    warnings = _unshared_benches(first, second) + differences_of([first, second], names)
    pairs = []
    for name in names:
        warnings += _check_questions(name, first, second)
        pairs.append(paired_difference(first.benches[name].means, second.benches[name].means, seed=seed))
    adjusted = holm([pair.test.p for pair in pairs])
    benches = tuple(
        _bench(name, first.benches[name], second.benches[name], pair, p_holm)
        for name, pair, p_holm in zip(names, pairs, adjusted, strict=True)
    )
    mean = _mean(benches, seed) if len(benches) > 1 else None
    return Comparison(first.ref, second.ref, benches, mean, tuple(warnings))


def grid(comparison: Comparison) -> Grid:
    """The comparison as a table for people: percent, one decimal."""
    columns = ["benchmark", "k", f"A: {comparison.first}", "cut", f"B: {comparison.second}", "cut", "B - A", "p"]
    columns += ["p (Holm)", "better", "worse", "equal"]
    rows = [GridRow(_bench_cells(each)) for each in comparison.benches]
    if comparison.mean is not None:
        mean = comparison.mean
        cells: list[Cell] = [MEAN, "", share_figure(mean.first), "", share_figure(mean.second), ""]
        cells += [difference_figure(mean.difference), p_text(mean.test.p)]
        rows.append(GridRow(cells, ruled=True))
    return Grid(columns, rows, NOTES)


def csv_rows(comparison: Comparison) -> tuple[list[str], list[list[Any]]]:
    """Header and rows with all digits."""
    data = document(comparison)
    rows = [{"bench": name, **figures} for name, figures in data["bench"].items()]
    rows += [{"bench": MEAN, **data["mean"]}] if data["mean"] else []
    header = list(rows[0])
    return header, [[_csv_value(row.get(name)) for name in header] for row in rows]


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as data for --json."""
    mean = comparison.mean
    return {
        "first": comparison.first,
        "second": comparison.second,
        "bench": {each.bench: _bench_document(each) for each in comparison.benches},
        "mean": None
        if mean is None
        else {
            "first": mean.first.mean,
            "second": mean.second.mean,
            **_difference_document(mean.difference, mean.test),
            "benchmarks": len(comparison.benches),
        },
    }


def share_figure(interval: Interval, *, best: bool = False) -> Figure:
    """`31.0 [19.8, 42.2]` in percent; no interval where none is known."""
    aside = "" if math.isnan(interval.low) else f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    return Figure(f"{100 * interval.mean:.1f}", aside, best)


def difference_figure(interval: Interval) -> Figure:
    """`+6.1 [-1.0, +13.2]` in points."""
    aside = "" if math.isnan(interval.low) else f"[{_signed(interval.low)}, {_signed(interval.high)}]"
    return Figure(_signed(interval.mean), aside)


def p_text(p: float) -> str:
    """Two significant digits; small ones as a bound."""
    return "<0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.0995 else f"{p:.2f}"


def _signed(share: float) -> str:
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _unshared_benches(first: ScoredEvaluation, second: ScoredEvaluation) -> list[str]:
    found = []
    for one, other in ((first, second), (second, first)):
        alone = [name for name in one.benches if name not in other.benches]
        if alone:
            found.append(f"only {one.ref} has {', '.join(alone)}: not compared")
    return found


def _check_questions(bench: str, first: ScoredEvaluation, second: ScoredEvaluation) -> list[str]:
    """Refuse where the questions are others; say where only some are shared."""
    one, other = first.benches[bench], second.benches[bench]
    shared = set(one.questions) & set(other.questions)
    if not shared:
        raise UsageError(
            f"{bench}: {first.ref} and {second.ref} share no question", fix="Evaluate both on the same data"
        )
    golds = one.golds, other.golds
    others = [each for each in shared if each in golds[0] and each in golds[1] and golds[0][each] != golds[1][each]]
    if others:
        raise UsageError(
            f"{bench}: {len(others)} of {len(shared)} questions of the same id have other gold answers in {first.ref} "
            f"and {second.ref} (question {min(others)}): they are other questions",
            fix="Evaluate both on the same data",
        )
    alone = len(one.questions) - len(shared), len(other.questions) - len(shared)
    if any(alone):
        return [
            f"{bench}: compared over the {len(shared)} questions both have; "
            f"{alone[0]} are only in {first.ref}, {alone[1]} only in {second.ref}"
        ]
    return []


def _bench(name: str, one: BenchScores, other: BenchScores, pair: PairedDifference, p_holm: float) -> BenchComparison:
    shared = sorted(set(one.questions) & set(other.questions))
    return BenchComparison(
        bench=name,
        first=_over(one.means, shared),
        second=_over(other.means, shared),
        samples=(one.samples, other.samples),
        truncated=(one.truncated_fraction, other.truncated_fraction),
        pair=pair,
        p_holm=p_holm,
    )


def _over(means: Mapping[str, Fraction], questions: Sequence[str]) -> Interval:
    return accuracy_interval(np.array([float(means[each]) for each in questions])[:, None])


def _mean(benches: Sequence[BenchComparison], seed: int) -> MeanComparison:
    return MeanComparison(
        first=macro_interval([each.first for each in benches]),
        second=macro_interval([each.second for each in benches]),
        difference=macro_interval([each.pair.interval for each in benches]),
        test=mean_test([each.pair for each in benches], seed=seed),
    )


def _bench_cells(each: BenchComparison) -> list[Cell]:
    one, other = each.samples
    cells: list[Cell] = [each.bench, str(one) if one == other else f"{one}, {other}"]
    cells += [share_figure(each.first), Figure(f"{100 * each.truncated[0]:.1f}%")]
    cells += [share_figure(each.second), Figure(f"{100 * each.truncated[1]:.1f}%")]
    cells += [difference_figure(each.pair.interval), p_text(each.pair.test.p), p_text(each.p_holm)]
    return [*cells, *(str(count) for count in (each.pair.better, each.pair.worse, each.pair.equal))]


def _bench_document(each: BenchComparison) -> dict[str, Any]:
    return {
        "questions": each.first.num_questions,
        "samples": list(each.samples),
        "first": each.first.mean,
        "second": each.second.mean,
        "truncated_fraction": list(each.truncated),
        **_difference_document(each.pair.interval, each.pair.test),
        "p_holm": each.p_holm,
        "better": each.pair.better,
        "worse": each.pair.worse,
        "equal": each.pair.equal,
    }


def _difference_document(interval: Interval, test: SignFlip) -> dict[str, Any]:
    return {
        "difference": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "p": test.p,
        "p_exact": test.exact,
        "deciding": test.deciding,
    }


def _csv_value(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(map(repr, value))
    return str(value) if isinstance(value, bool) else value
