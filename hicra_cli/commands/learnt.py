"""What quickstart has shown: accuracy on held-out problems before and after, from the numbers of the report itself."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hicra_cli.core.output import Table

if TYPE_CHECKING:
    from hicra_cli.core.registry import Artifact

# label, evaluation step, training step of a pipeline
ROWS = (
    ("nano (before)", "eval-nano", None),
    ("GRPO", "eval-grpo", "train-grpo"),
    ("HICRA", "eval-hicra", "train-hicra"),
)
COLUMNS = ("policy", "accuracy", "95 % interval", "gain", "95 % interval", "tokens", "planning")
PLANNING = "hicra/planning_fraction"


def learnt_table(made: Mapping[str, "Artifact"]) -> tuple[Table, list[dict[str, Any]]]:
    """The table for people and its numbers as data.

    made: the artifacts of the steps by name. Accuracy is avg@k with its interval clustered by problem; the gain is
    paired by problem. The planning share is that of the training's rollouts, at its last step (at the first for the
    model before).
    """
    diagnosis = json.loads(made["diagnose"].file("diagnosis.json").read_text(encoding="utf-8"))
    evaluations = {each["ref"]: each for each in diagnosis["evaluations"]}
    first = made["train-grpo"].summary
    numbers: list[dict[str, Any]] = []
    for label, step, training in ROWS:
        row = evaluations[made[step].ref]
        kept = ("average", "low", "high", "difference", "difference_low", "difference_high", "mean_tokens")
        share = first.get(f"first/{PLANNING}") if training is None else made[training].summary.get(f"last/{PLANNING}")
        numbers.append({"policy": label, **{name: row[name] for name in kept}, "planning_fraction": share})
    problems = evaluations[made["eval-nano"].ref]
    title = f"{problems['questions']} held-out problems, {problems['samples']} samples each"
    return Table(COLUMNS, [_row(each) for each in numbers], title=title), numbers


def _row(numbers: Mapping[str, Any]) -> tuple[str, ...]:
    gained = numbers["difference"] is not None
    return (
        numbers["policy"],
        f"{numbers['average']:.1%}",
        f"{numbers['low']:.1%} to {numbers['high']:.1%}",
        f"{numbers['difference'] * 100:+.1f} points" if gained else "",
        f"{numbers['difference_low'] * 100:+.1f} to {numbers['difference_high'] * 100:+.1f}" if gained else "",
        f"{numbers['mean_tokens']:.0f}",
        "" if numbers["planning_fraction"] is None else f"{numbers['planning_fraction']:.1%}",
    )
