"""`rollouts.parquet`: sampled or imported rollouts, one row each.

Columns (null where not known): prompt_id, sample, problem, gold, text, reward, outcome, finish_reason, policy, step,
prompt_token_ids, token_ids (int32 lists), sampler_logprobs (float32 list, nats). Rows keep the order given; equal rows
are equal bytes. The rollouts of a training (`rollouts/step-*.parquet`) can be read too: they have more columns, and
call problem and gold `prompt` and `answer`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import FinishReason, Outcome, Rollout, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

FILE_NAME = "rollouts.parquet"
ROWS_PER_GROUP = 1024

_ARRAYS = frozenset(("prompt_token_ids", "token_ids", "sampler_logprobs"))
_TRAINING_NAMES = {"problem": "prompt", "gold": "answer"}


@dataclass(frozen=True, slots=True, eq=False)
class RolloutRow:
    """One rollout as it is stored. None: not known. The arrays are those of `core.records.Rollout`."""

    prompt_id: str
    sample: int
    text: str
    problem: str | None = None
    gold: str | None = None
    reward: float | None = None
    outcome: Outcome | None = None
    finish_reason: FinishReason | None = None
    policy: str | None = None
    step: int | None = None
    prompt_token_ids: NDArray[np.int32] | None = None
    token_ids: NDArray[np.int32] | None = None
    sampler_logprobs: NDArray[np.float32] | None = None

    @property
    def is_correct(self) -> bool | None:
        """None where nobody has judged it."""
        return None if self.outcome is None else self.outcome is Outcome.CORRECT


def row_of(rollout: Rollout, verdict: Verdict, *, policy: str, step: int | None) -> RolloutRow:
    """A sampled and graded rollout as a row."""
    return RolloutRow(
        prompt_id=rollout.prompt.id,
        sample=rollout.sample,
        text=rollout.text,
        problem=rollout.prompt.text,
        gold=rollout.prompt.answer,
        reward=verdict.reward,
        outcome=verdict.outcome,
        finish_reason=rollout.finish_reason,
        policy=policy,
        step=step,
        prompt_token_ids=rollout.prompt_token_ids,
        token_ids=rollout.token_ids,
        sampler_logprobs=rollout.sampler_logprobs,
    )


def write_rollouts(path: Path, rows: Iterable[RolloutRow]) -> int:
    """Write the rows and return their number; memory holds one row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    number = 0
    waiting = iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(waiting, ROWS_PER_GROUP)):
            columns = {name: [_cell(getattr(row, name)) for row in group] for name in schema.names}
            writer.write_table(pa.table(columns, schema=schema))
            number += len(group)
    return number


def read_rollouts(path: Path, *, with_tokens: bool = True) -> Iterator[RolloutRow]:
    """The rows of a rollouts file, in order; without their arrays, which are most of it, unless `with_tokens`.

    Raises DataError where it is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            wanted = _present_columns(file.schema_arrow, path, with_tokens=with_tokens)
            number = 0
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP, columns=wanted):
                for row in batch.to_pylist():
                    yield _row(row, where=f"{path}, row {number}")
                    number += 1
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"this Parquet file cannot be read: {error}", where=str(path)) from error


def whole_text(text: str) -> str:
    """A text that UTF-8 can hold: half surrogate pairs, which JSON can smuggle in, become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("prompt_id", pa.string(), nullable=False),
            pa.field("sample", pa.int32(), nullable=False),
            pa.field("problem", pa.string()),
            pa.field("gold", pa.string()),
            pa.field("text", pa.string(), nullable=False),
            pa.field("reward", pa.float32()),
            pa.field("outcome", pa.string()),
            pa.field("finish_reason", pa.string()),
            pa.field("policy", pa.string()),
            pa.field("step", pa.int64()),
            pa.field("prompt_token_ids", pa.list_(pa.int32())),
            pa.field("token_ids", pa.list_(pa.int32())),
            pa.field("sampler_logprobs", pa.list_(pa.float32())),
        ]
    )


def _cell(value: Any) -> Any:
    """Texts that UTF-8 can hold; arrays and numbers as they are; enums are strings already."""
    return whole_text(value) if isinstance(value, str) else value


def _present_columns(schema: "pa.Schema", path: Path, *, with_tokens: bool) -> list[str]:
    names = [*_schema().names, *_TRAINING_NAMES.values()]
    present = [name for name in names if name in schema.names and (with_tokens or name not in _ARRAYS)]
    for needed in ("prompt_id", "text"):
        if needed not in present:
            raise DataError(
                f"column {needed!r} is missing; found: {', '.join(schema.names[:12])}",
                where=str(path),
                fix="Give the rollouts.parquet of a rollouts artifact or a training's rollouts/step-*.parquet",
            )
    return present


def _row(row: Mapping[str, Any], *, where: str) -> RolloutRow:
    try:
        return RolloutRow(
            prompt_id=str(row["prompt_id"]),
            sample=int(row.get("sample") or 0),
            text=str(row["text"]),
            problem=row.get("problem", row.get(_TRAINING_NAMES["problem"])),
            gold=row.get("gold", row.get(_TRAINING_NAMES["gold"])),
            reward=row.get("reward"),
            outcome=None if row.get("outcome") is None else Outcome(row["outcome"]),
            finish_reason=None if row.get("finish_reason") is None else FinishReason(row["finish_reason"]),
            policy=row.get("policy"),
            step=row.get("step"),
            prompt_token_ids=_array(row.get("prompt_token_ids"), np.int32),
            token_ids=_array(row.get("token_ids"), np.int32),
            sampler_logprobs=_array(row.get("sampler_logprobs"), np.float32),
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"this is no rollout: {error}", where=where) from error


def _array(values: list[Any] | None, kind: type) -> NDArray[Any] | None:
    return None if values is None else np.array(values, dtype=kind)
