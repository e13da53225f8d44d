"""Evaluations made by hand: folders and artifacts with the files a real run writes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hicra_cli.core.registry import Artifact, Registry

Answers = Mapping[str, Mapping[str, Sequence[int]]]

ABOUT = {
    "sampling": {"temperature": 0.6, "max_new_tokens": 64},
    "prompt_template_sha256": "ab" * 32,
    "grader": {"version": "2"},
    "engine": {"name": "transformers", "version": "5.0"},
}


def sample_rows(rewards: Answers, *, golds: Mapping[str, str] | None = None, cut: int = 0) -> list[dict[str, Any]]:
    """rewards: bench -> question -> one 0 or 1 per sample. cut: so many responses ended at the token limit."""
    rows = [
        {
            "bench": bench, "question": question, "sample": sample, "num_tokens": 10, "finish_reason": "stop",
            "reward": float(reward), "outcome": "correct" if reward else "wrong", "answer": str(reward),
            "gold": (golds or {}).get(question, "1"), "prompt": "?", "text": "x",
        }
        for bench, questions in rewards.items()
        for question, each in questions.items()
        for sample, reward in enumerate(each)
    ]  # fmt: skip
    for row in rows[:cut]:
        row["finish_reason"] = "length"
    return rows


def write_evaluation(folder: Path, rewards: Answers, *, summary: Mapping[str, Any] | None = None, **rows: Any) -> Path:
    """samples.jsonl and summary.json in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sample_rows(rewards, **rows)))
    about = {**ABOUT, "bench": {bench: {"data_sha256": "cd" * 32} for bench in rewards}, **(summary or {})}
    (folder / "summary.json").write_text(json.dumps(about))
    return folder


def publish_policy(registry: Registry, name: str, *, base: str | None = None, algo: str = "grpo") -> Artifact:
    """A policy as training publishes it; without `base` one that was imported."""
    draft = registry.begin("policy", name)
    (draft.path / "config.json").write_text(json.dumps({"name": name}))
    return draft.publish(summary={} if base is None else {"algo": algo, "base": base, "step": 4})


def publish_evaluation(
    registry: Registry, name: str, rewards: Answers, *, policy: Artifact | str, **about: Any
) -> Artifact:
    """policy: an artifact, or the reference of a model that is none."""
    draft = registry.begin("evaluation", name)
    write_evaluation(draft.path, rewards, **about)
    if isinstance(policy, str):
        return draft.publish(summary={"external_inputs": {"policy": {"ref": policy, "digest": "x"}}})
    return draft.publish(inputs=[(policy, "policy")])
