"""Evaluations as rows of the report, recomputed from their samples: accuracy with its interval, change, pass@k."""

import math
from collections.abc import Sequence
from dataclasses import replace

from hicra_cli.core.artifact import Artifact
from hicra_cli.metrics.intervals import difference_interval
from hicra_cli.metrics.passk import mean_pass_at_k
from hicra_cli.report.diagnosis import EvaluationRow
from hicra_cli.report.scored import SAMPLES, read_benches
from hicra_cli.report.scores import BenchScores, powers_of_two


def evaluation_rows(
    evaluations: Sequence[tuple[Artifact, str, str]],
) -> tuple[EvaluationRow, ...]:
    """One row per evaluation and benchmark, benchmarks together.

    evaluations: (artifact, policy, run): the policy's reference, and the label of the run that made it or "". The
    first evaluation of a benchmark is what the others' differences refer to, over the questions both have.
    """
    rows: list[EvaluationRow] = []
    first: dict[str, BenchScores] = {}
    for artifact, policy, run in evaluations:
        for name, bench in read_benches(artifact.file(SAMPLES)).items():
            row = _row(name, bench, artifact, policy, run)
            if name in first:
                row = _with_difference(row, bench, first[name])
            first.setdefault(name, bench)
            rows.append(row)
    order = list(first)
    return tuple(sorted(rows, key=lambda row: order.index(row.bench)))


def _row(name: str, bench: BenchScores, evaluation: Artifact, policy: str, run: str) -> EvaluationRow:
    interval, samples, solved = bench.interval, bench.samples, bench.num_right
    counts = [samples] * len(solved)
    return EvaluationRow(
        bench=name,
        ref=evaluation.ref,
        policy=policy,
        run=run,
        questions=len(solved),
        samples=samples,
        average=interval.mean,
        low=interval.low,
        high=interval.high,
        pass_at_k={str(k): mean_pass_at_k(counts, solved, k) for k in powers_of_two(samples)},
        truncated_fraction=bench.truncated_fraction,
        mean_tokens=math.nan if bench.mean_tokens is None else bench.mean_tokens,
    )


def _with_difference(row: EvaluationRow, bench: BenchScores, before: BenchScores) -> EvaluationRow:
    """Paired by question, over the questions that both have."""
    after, earlier = bench.means, before.means
    differences = [float(after[each] - earlier[each]) for each in after if each in earlier]
    if not differences:
        return row
    interval = difference_interval(differences)
    return replace(row, difference=interval.mean, difference_low=interval.low, difference_high=interval.high)
