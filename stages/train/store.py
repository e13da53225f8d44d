"""Files of a training artifact that grow with the run: `steps.jsonl` and `rollouts/step-NNNNNN.parquet`.

After a crash both may be ahead of the newest checkpoint; `rewind` cuts them back, so that repeating the lost steps
gives the same bytes as a run that never stopped.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hicra_cli.core.filesystem import write_durably

from .record import StepData

STEPS = "steps.jsonl"
POLICIES = "policies.json"
ROLLOUTS = "rollouts"


def append_step(folder: Path, record: Mapping[str, Any]) -> None:
    """Add one line and make it durable. `finite_record` has seen it: JSON has no word for NaN."""
    with (folder / STEPS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record, sort_keys=True, allow_nan=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def write_rollouts(folder: Path, data: StepData, policy: str) -> None:
    """Store a step's rollouts with their masks and per-token numbers (zstd Parquet, deterministic)."""
    path = folder / ROLLOUTS / f"step-{data.record['step']:06d}.parquet"
    path.parent.mkdir(exist_ok=True)
    scratch = path.with_suffix(".tmp")
    pq.write_table(_table(data, policy), scratch, compression="zstd")
    scratch.rename(path)


def append_policy(folder: Path, step: int, reference: str) -> None:
    """Note that the weights after `step` were published as `reference`."""
    policies = [*read_policies(folder), {"step": step, "policy": reference}]
    write_durably(folder / POLICIES, json.dumps(policies, indent=1).encode())


def rewind(folder: Path, step: int, *, recorded: int) -> None:
    """Drop rollouts and policies after `step`, records after step `recorded`, and a torn last line of the records."""
    path = folder / STEPS
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if line.endswith(b"\n") and json.loads(line)["step"] <= recorded]
    write_durably(path, b"".join(kept))
    policies = [each for each in read_policies(folder) if each["step"] <= step]
    write_durably(folder / POLICIES, json.dumps(policies, indent=1).encode())
    for each in (folder / ROLLOUTS).glob("step-*"):
        if each.suffix == ".tmp" or int(each.stem.removeprefix("step-")) > step:
            each.unlink()


def read_steps(folder: Path) -> list[dict[str, Any]]:
    """The records of a run, in order."""
    return [json.loads(line) for line in (folder / STEPS).read_text(encoding="utf-8").splitlines()]


def read_policies(folder: Path) -> list[dict[str, Any]]:
    """The published policies of a run, in order: step and reference."""
    path = folder / POLICIES
    policies: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return policies


def _table(data: StepData, policy: str) -> pa.Table:
    rollouts, verdicts = data.sampled.rollouts, data.sampled.verdicts
    ends = np.cumsum([len(each.token_ids) for each in rollouts])[:-1]
    step = data.record["step"]
    return pa.table(
        {
            "prompt_id": [each.prompt.id for each in rollouts],
            "sample": pa.array([each.sample for each in rollouts], pa.int32()),
            "prompt": [each.prompt.text for each in rollouts],
            "answer": [each.prompt.answer for each in rollouts],
            "text": [each.text for each in rollouts],
            "reward": pa.array([each.reward for each in verdicts], pa.float32()),
            "outcome": [str(each.outcome) for each in verdicts],
            "finish_reason": [str(each.finish_reason) for each in rollouts],
            "token_ids": pa.array([each.token_ids for each in rollouts], pa.list_(pa.int32())),
            "sampler_logprobs": pa.array([each.sampler_logprobs for each in rollouts], pa.list_(pa.float32())),
            "token_entropy": pa.array(np.split(data.token_entropy, ends), pa.list_(pa.float32())),
            "planning_mask": pa.array(np.split(data.planning_mask, ends), pa.list_(pa.bool_())),
            "step": pa.array([step] * len(rollouts), pa.int32()),
            "policy": [policy] * len(rollouts),
            "policy_version": pa.array([step - 1] * len(rollouts), pa.int32()),
        }
    )
