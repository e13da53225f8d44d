"""What quickstart has shown: each policy's accuracy on held-out problems with its interval, length, planning share."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hicra_cli.core.output import Table

if TYPE_CHECKING:
    from hicra_cli.core.registry import Artifact

ROWS = (("nano, before", "eval-nano"), ("GRPO", "eval-grpo"), ("HICRA", "eval-hicra"))
COLUMNS = ("policy", "accuracy", "95 % interval", "gain", "tokens", "planning")


def learnt_table(made: Mapping[str, "Artifact"]) -> tuple[Table, list[dict[str, Any]]]:
    """The table for people and its numbers as data, from the evaluations of a pipeline's steps."""
    numbers = [{"policy": label, **_numbers(made[step])} for label, step in ROWS]
    before = numbers[0]["accuracy"]
    rows = [
        (
            each["policy"],
            f"{each['accuracy']:.1%}",
            f"{each['low']:.1%} to {each['high']:.1%}",
            "" if each is numbers[0] else f"{(each['accuracy'] - before) * 100:+.1f} points",
            f"{each['tokens']:.0f}",
            "" if each["planning"] is None else f"{each['planning']:.1%}",
        )
        for each in numbers
    ]
    questions, samples = numbers[0]["questions"], numbers[0]["samples"]
    return Table(COLUMNS, rows, title=f"{questions} held-out problems, {samples} samples each"), numbers


def _numbers(evaluation: "Artifact") -> dict[str, Any]:
    summary = json.loads(evaluation.file("summary.json").read_text(encoding="utf-8"))
    return dict(summary["benchmarks"]["countdown"])
