"""Small training artifacts made by hand, in the files a real run writes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hicra_cli.core.registry import Artifact, Registry

Row = dict[str, Any]


def rollout(
    prompt_id: str,
    sample: int,
    text: str,
    *,
    mask: str,
    logprobs: Sequence[float] | None = None,
    entropy: Sequence[float] | None = (),
    token_ids: Sequence[int] | None = None,
    correct: bool = True,
    cut: bool = False,
) -> Row:
    """One stored rollout; `mask` is a string of 0 and 1, one per token."""
    return {
        "prompt_id": prompt_id,
        "sample": sample,
        "prompt": f"the question {prompt_id}",
        "text": text,
        "reward": 1.0 if correct else 0.0,
        "outcome": "correct" if correct else "wrong",
        "finish_reason": "length" if cut else "stop",
        "token_ids": list(range(len(mask))) if token_ids is None else list(token_ids),
        "sampler_logprobs": [-0.5] * len(mask) if logprobs is None else [float(each) for each in logprobs],
        "token_entropy": [0.5] * len(mask) if entropy == () else entropy and [float(each) for each in entropy],
        "planning_mask": [each == "1" for each in mask],
    }


def write_rollouts(path: Path, step: int, rollouts: Sequence[Row]) -> Path:
    """Store the rollouts of one step as training does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"reward": pa.float32(), "sample": pa.int32()}
    kinds |= {"token_ids": pa.list_(pa.int32()), "planning_mask": pa.list_(pa.bool_())}
    kinds |= dict.fromkeys(("sampler_logprobs", "token_entropy"), pa.list_(pa.float32()))
    columns = {name: pa.array([row[name] for row in rollouts], kinds.get(name, pa.string())) for name in rollouts[0]}
    pq.write_table(pa.table({**columns, "step": pa.array([step] * len(rollouts), pa.int32())}), path)
    return path


def publish_training(
    registry: Registry,
    name: str,
    steps: Mapping[int, Sequence[Row]],
    *,
    records: Sequence[Mapping[str, Any]] = (),
    inputs: Sequence[tuple[Artifact, str]] = (),
    config: Mapping[str, Any] | None = None,
    external: Mapping[str, Any] | None = None,
) -> Artifact:
    """Publish kind `training` with these rollouts; `records` default to bare step numbers."""
    run_id = registry.start_run("train", ["hicra", "train"], config or {}, {})
    draft = registry.begin("training", name, run_id=run_id)
    lines = records or [{"step": step} for step in steps]
    (draft.path / "steps.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    for step, rollouts in steps.items():
        write_rollouts(draft.path / "rollouts" / f"step-{step:06d}.parquet", step, rollouts)
    return draft.publish(inputs=inputs, summary={"external_inputs": external or {}})


def publish_grams(registry: Registry, *phrases: str, name: str = "default") -> Artifact:
    """Publish kind `gram-set` with these grams."""
    from hicra_cli.grams.gram_set import GramSet

    draft = registry.begin("gram-set", name)
    GramSet.from_phrases(phrases).save(draft.path)
    return draft.publish()
