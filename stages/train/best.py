"""Which published policy of a run is called `best`."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Artifact, Registry

FALLBACK = "reward/accuracy"


def alias_best(
    registry: Registry,
    policies: Sequence[tuple[Artifact, int]],
    steps: Sequence[Mapping[str, Any]],
    *,
    metric: str,
    progress: Progress,
) -> None:
    """Give the alias `best` to the policy whose step has the best value; of equal ones to the earliest.

    policies: with their steps. metric: a name in the step record, the highest is best, with a leading `-` the lowest.
    Where no published step has it, the accuracy of the rollouts decides, and a note says so.
    """
    chosen = _best(policies, steps, metric)
    if chosen is None:
        chosen = _best(policies, steps, FALLBACK)
        progress.note(f"best: no published step has {metric.removeprefix('-')}, so {FALLBACK} of its rollouts decides")
    if chosen is not None:
        registry.set_alias(chosen, "best")


def unknown_metric(metric: str, record: Mapping[str, Any]) -> str | None:
    """A warning where the first record that should have the metric lacks it, else None.

    Figures of the evaluation are looked for once a record has any of them.
    """
    name = metric.removeprefix("-")
    awaited = name.startswith("eval/") and not any(each.startswith("eval/") for each in record)
    if awaited or name in record:
        return None
    close = difflib.get_close_matches(name, record, n=3)
    hint = f"; similar: {', '.join(close)}" if close else ""
    return f"train.best_metric {name} is no figure of a step{hint}: `best` will go by {FALLBACK}"


def _best(policies: Sequence[tuple[Artifact, int]], steps: Sequence[Mapping[str, Any]], metric: str) -> Artifact | None:
    name, sign = metric.removeprefix("-"), -1 if metric.startswith("-") else 1
    values = {record["step"]: record[name] for record in steps if record.get(name) is not None}
    rated = [(sign * values[step], -step, policy) for policy, step in policies if step in values]
    return max(rated, key=lambda each: each[:2])[2] if rated else None
