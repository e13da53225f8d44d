"""The step record against the numbers recomputed from the stored rollouts. The record is never trusted."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hicra_cli.report.diagnosis import Check
from hicra_cli.report.series import Series

TOLERANCE = 1e-6
"""Both sides are means of the same stored float32 values; only the order of a sum may differ."""

POOLED = ("hicra/semantic_entropy", "hicra/conditional_entropy", "hicra/gram")


def compare(
    records: Sequence[Mapping[str, Any]], steps: Sequence[int], series: Series, *, planning: bool, window: int
) -> tuple[Check, ...]:
    """One check per recorded number that was recomputed too, sorted by name.

    planning: the run's own gram-set was counted, so numbers that depend on it must agree; else they are left out, as
    are those pooled over a window of several steps. A difference is relative for values above 1 and absolute below;
    a number that only one side has counts as infinitely far.
    """
    by_step = {int(record["step"]): record for record in records}
    checks = []
    for name in sorted(series):
        if (_of_grams(name) and not planning) or (name.startswith(POOLED) and window > 1):
            continue
        pairs = [
            (step, by_step[step][name], value)
            for step, value in zip(steps, series[name], strict=True)
            if name in by_step.get(step, {})
        ]
        if pairs:
            largest, minus_step = max((_difference(recorded, value), -step) for step, recorded, value in pairs)
            checks.append(Check(name, len(pairs), largest, -minus_step, TOLERANCE))
    return tuple(checks)


def _of_grams(name: str) -> bool:
    return name.startswith("hicra/") or "_planning" in name or "_execution" in name


def _difference(recorded: Any, recomputed: float) -> float:
    known = isinstance(recorded, (int, float)) and math.isfinite(recorded)
    if not known or not math.isfinite(recomputed):
        return math.inf if known or math.isfinite(recomputed) else 0.0
    return abs(float(recorded) - recomputed) / max(1.0, abs(recomputed))
