"""Graded samples by hand, for tests of what reads an evaluation."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from hicra_cli.core.registry import Artifact, Registry


def sample(question: str, number: int, answer: str | None, outcome: str = "wrong", **more: Any) -> dict[str, Any]:
    """A row as an evaluation has it."""
    row = {
        "bench": "math500",
        "question": question,
        "sample": number,
        "seed": 1,
        "num_tokens": 7,
        "finish_reason": "length" if outcome == "truncated" else "stop",
        "reward": float(outcome == "correct"),
        "outcome": outcome,
        "answer": answer,
        "detail": "",
        "lenient_reward": float(outcome == "correct"),
        "gold": "3/4",
        "prompt": f"What is {question}?",
        "text": f"So we have it: \\boxed{{{answer}}}",
    }
    return row | more


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def summary_of(rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The figures of a summary that readers use."""
    outcomes = Counter(row["outcome"] for row in rows)
    figures = {
        "questions": len({row["question"] for row in rows}),
        "samples": 2,
        "average": sum(row["reward"] for row in rows) / max(1, len(rows)),
        "low": 0.0,
        "high": 1.0,
        "truncated_fraction": 0.0,
        "mean_tokens": 7.0,
        "outcomes": dict(outcomes),
    }
    return {"policy": "nano", "gram_set": None, "bench": {"math500": figures}} | more


def publish_evaluation(home: Path, rows: list[dict[str, Any]], *, name: str = "mine", **more: Any) -> Artifact:
    """An evaluation of these rows in the registry at `home`."""
    with Registry.open(home) as registry:
        draft = registry.begin("evaluation", name)
        write_rows(draft.path / "samples.jsonl", rows)
        (draft.path / "summary.json").write_text(json.dumps(summary_of(rows, **more)))
        return draft.publish(summary={})
