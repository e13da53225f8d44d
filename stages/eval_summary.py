"""The figures of one benchmark, from its graded samples."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hicra_cli.core.errors import RunError
from hicra_cli.core.records import FinishReason, Outcome
from hicra_cli.metrics.intervals import accuracy_interval
from hicra_cli.metrics.passk import mean_pass_at_k

from .samples import Row


def bench_summary(rows: Sequence[Row], *, ks: Sequence[int]) -> dict[str, Any]:
    """avg@k with its 95 % interval clustered by question, pass@k, outcomes, lengths. Values that do not exist are None.

    rows: all samples of one benchmark, every question with the same number. ks: of pass@k; by default the powers of
    two up to the number of samples. Raises RunError where samples are missing: they are never counted as wrong.
    """
    questions: dict[str, list[Row]] = {}
    for row in rows:
        questions.setdefault(row["question"], []).append(row)
    counts = [len(each) for each in questions.values()]
    if len(set(counts)) != 1:
        raise RunError(f"the questions have between {min(counts)} and {max(counts)} samples")
    samples = counts[0]
    correct = [sum(row["reward"] > 0 for row in each) for each in questions.values()]
    interval = accuracy_interval([np.array([row["reward"] for row in each]) for each in questions.values()])
    asked = [row for row in rows if row["finish_reason"] in (FinishReason.STOP.value, FinishReason.LENGTH.value)]
    unasked = {row["question"] for row in rows} - {row["question"] for row in asked}
    return {
        "questions": len(questions),
        "samples": samples,
        "average": interval.mean,
        "low": _known(interval.low),
        "high": _known(interval.high),
        "pass_at_k": {str(k): mean_pass_at_k(counts, correct, k) for k in ks or _powers_of_two(samples)},
        "outcomes": {outcome.value: sum(row["outcome"] == outcome.value for row in rows) for outcome in Outcome},
        "truncated_fraction": _mean([float(row["finish_reason"] == FinishReason.LENGTH.value) for row in asked]) or 0.0,
        "mean_tokens": _mean([row["num_tokens"] for row in asked]),
        "planning_fraction": _planning_fraction(asked),
        "prompts_too_long": len(unasked),
        "prompts_too_long_samples": len(rows) - len(asked),
    }


def text_digest(text: str) -> str:
    """sha256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _planning_fraction(rows: Sequence[Row]) -> float | None:
    """Planning tokens over response tokens, all responses together."""
    if not rows or "planning_tokens" not in rows[0]:
        return None
    total = sum(row["num_tokens"] for row in rows)
    return sum(row["planning_tokens"] for row in rows) / total if total else None


def _powers_of_two(limit: int) -> list[int]:
    return [1 << power for power in range(limit.bit_length())]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
