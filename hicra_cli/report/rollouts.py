"""One step's stored rollouts, read from a training artifact's Parquet and checked before anything is computed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hicra_cli.core.errors import ArtifactError

NEEDED = ("prompt_id", "sample", "text", "reward", "outcome", "finish_reason", "token_ids", "sampler_logprobs")
OPTIONAL = ("prompt", "token_entropy", "planning_mask")


@dataclass(frozen=True, slots=True, eq=False)
class StepRollouts:
    """B rollouts and their N response tokens, rollout after rollout.

    lengths: (B,) int64 tokens. token_ids: (N,) int32. sampler_logprobs: (N,) float32, nats, at the sampling
    temperature. token_entropy: (N,) float32, nats, nan where the run did not measure it. planning_mask: (N,) bool as
    the run used it. prompts is empty where the run did not store them.
    """

    prompt_ids: list[str]
    samples: list[int]
    prompts: list[str]
    texts: list[str]
    rewards: NDArray[np.float64]
    outcomes: list[str]
    finish_reasons: list[str]
    lengths: NDArray[np.int64]
    token_ids: NDArray[np.int32]
    sampler_logprobs: NDArray[np.float32]
    token_entropy: NDArray[np.float32]
    planning_mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.texts)


def read_rollouts(path: Path) -> StepRollouts:
    """Read one `step-NNNNNN.parquet`. Raises ArtifactError naming the file and what is wrong with it."""
    try:
        names = pq.read_schema(path).names
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise ArtifactError(f"these rollouts have no column {', '.join(missing)}", where=str(path))
        table = pq.read_table(path, columns=[name for name in (*NEEDED, *OPTIONAL) if name in names])
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(
            f"these rollouts cannot be read: {error}",
            where=str(path),
            fix="hicra artifacts verify names what is damaged",
        ) from error
    return _checked(table, path)


def _checked(table: pa.Table, path: Path) -> StepRollouts:
    lengths = np.array([0 if ids is None else len(ids) for ids in _rows(table, "token_ids")], dtype=np.int64)
    return StepRollouts(
        prompt_ids=table["prompt_id"].to_pylist(),
        samples=table["sample"].to_pylist(),
        prompts=table["prompt"].to_pylist() if "prompt" in table.column_names else [],
        texts=table["text"].to_pylist(),
        rewards=np.asarray(table["reward"].to_pylist(), dtype=np.float64),
        outcomes=table["outcome"].to_pylist(),
        finish_reasons=table["finish_reason"].to_pylist(),
        lengths=lengths,
        token_ids=_flat(table, "token_ids", lengths, path, absent=0).astype(np.int32),
        sampler_logprobs=_flat(table, "sampler_logprobs", lengths, path, absent=np.nan).astype(np.float32),
        token_entropy=_flat(table, "token_entropy", lengths, path, absent=np.nan).astype(np.float32),
        planning_mask=_flat(table, "planning_mask", lengths, path, absent=False).astype(np.bool_),
    )


def _flat(
    table: pa.Table, name: str, lengths: NDArray[np.int64], path: Path, *, absent: float | bool
) -> NDArray[np.generic]:
    """The column's values on end; a rollout (or the whole column) without them gets `absent` for each token."""
    rows = _rows(table, name) if name in table.column_names else [None] * len(lengths)
    filled = []
    for index, (row, length) in enumerate(zip(rows, lengths.tolist(), strict=True)):
        if row is not None and len(row) != length:
            raise ArtifactError(
                f"rollout {index} has {length} tokens and {len(row)} values in column {name}", where=str(path)
            )
        filled.append(np.full(length, absent) if row is None else np.asarray(row))
    return np.concatenate(filled) if filled else np.zeros(0)


def _rows(table: pa.Table, name: str) -> list[NDArray[np.generic] | None]:
    return [
        scalar.values.to_numpy(zero_copy_only=False) if scalar.is_valid else None
        for chunk in table[name].chunks
        for scalar in chunk
    ]
