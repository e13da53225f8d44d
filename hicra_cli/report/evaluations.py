"""Evaluations as rows of the report, recomputed from their samples: accuracy with its interval, change, pass@k."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.artifact import Artifact
from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.records import FinishReason
from hicra_cli.metrics.intervals import accuracy_interval, paired_interval
from hicra_cli.metrics.passk import mean_pass_at_k
from hicra_cli.report.diagnosis import EvaluationRow

SAMPLES = "samples.jsonl"


@dataclass(slots=True)
class _Bench:
    """Samples of one benchmark while they are read: rewards by question, and what is averaged over samples."""

    rewards: dict[str, list[float]] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    cut: int = 0

    @property
    def arrays(self) -> dict[str, NDArray[np.float64]]:
        return {question: np.asarray(each, dtype=np.float64) for question, each in self.rewards.items()}


def evaluation_rows(
    evaluations: Sequence[tuple[Artifact, str, str]],
) -> tuple[EvaluationRow, ...]:
    """One row per evaluation and benchmark, benchmarks together.

    evaluations: (artifact, policy, run): the policy's reference, and the label of the run that made it or "". The
    first evaluation of a benchmark is what the others' differences refer to, over the questions both have.
    """
    rows: list[EvaluationRow] = []
    first: dict[str, _Bench] = {}
    for artifact, policy, run in evaluations:
        for name, bench in _read(artifact).items():
            row = _row(name, bench, artifact, policy, run)
            if name in first:
                row = _with_difference(row, bench, first[name])
            first.setdefault(name, bench)
            rows.append(row)
    order = list(first)
    return tuple(sorted(rows, key=lambda row: order.index(row.bench)))


def _read(evaluation: Artifact) -> dict[str, _Bench]:
    path = evaluation.file(SAMPLES)
    benches: dict[str, _Bench] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line:
            continue
        try:
            _add(benches, json.loads(line))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"no sample of an evaluation: {type(error).__name__} {error}", where=f"{path}:{number}"
            ) from error
    return benches


def _add(benches: dict[str, _Bench], sample: Mapping[str, Any]) -> None:
    bench = benches.setdefault(str(sample["bench"]), _Bench())
    bench.rewards.setdefault(str(sample["question"]), []).append(float(sample["reward"]))
    if sample["finish_reason"] in (FinishReason.STOP, FinishReason.LENGTH):  # else the question was never asked
        bench.tokens.append(int(sample["num_tokens"]))
        bench.cut += sample["finish_reason"] == FinishReason.LENGTH


def _row(name: str, bench: _Bench, evaluation: Artifact, policy: str, run: str) -> EvaluationRow:
    rewards = bench.arrays
    interval = accuracy_interval(list(rewards.values()))
    counts = [len(each) for each in rewards.values()]
    solved = [int((each > 0).sum()) for each in rewards.values()]
    return EvaluationRow(
        bench=name,
        ref=evaluation.ref,
        policy=policy,
        run=run,
        questions=len(counts),
        samples=min(counts),
        average=interval.mean,
        low=interval.low,
        high=interval.high,
        pass_at_k={str(k): mean_pass_at_k(counts, solved, k) for k in _powers_of_two(min(counts))},
        truncated_fraction=bench.cut / len(bench.tokens) if bench.tokens else math.nan,
        mean_tokens=math.fsum(bench.tokens) / len(bench.tokens) if bench.tokens else math.nan,
    )


def _with_difference(row: EvaluationRow, bench: _Bench, before: _Bench) -> EvaluationRow:
    """Paired by question, over the questions that both have."""
    interval = paired_interval(bench.arrays, before.arrays)
    if interval is None:
        return row
    return replace(row, difference=interval.mean, difference_low=interval.low, difference_high=interval.high)


def _powers_of_two(limit: int) -> list[int]:
    return [1 << power for power in range(limit.bit_length())]
