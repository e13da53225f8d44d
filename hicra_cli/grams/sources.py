"""Where a user's rollouts lie: JSON lines, Parquet with any columns, folders of either, HF data sets.

Every source is read row by row through one mapping of field names (`row_fields`); a rollouts artifact's own Parquet
needs none. Nothing is held but how many rollouts each problem has.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hicra_cli.config.collect import RolloutFields
from hicra_cli.core.errors import DataError
from hicra_cli.grams.jsonl import json_lines
from hicra_cli.grams.rollout_file import RolloutRow, read_rollouts
from hicra_cli.grams.row_fields import Samples, problem_id, row_from_record, wanted_fields
from hicra_cli.grams.tables import (
    HUB_PREFIX,
    Wanted,
    dataset_records,
    hub_dataset,
    is_saved_dataset,
    parquet_columns,
    parquet_records,
    saved_dataset,
)

__all__ = ["problem_id", "read_rows", "source_files"]

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz", ".ndjson.zst", ".parquet")
"""What a folder is searched for; a file that is named itself may be called anything."""

_OWN_COLUMNS = frozenset(("prompt_id", "sample", "text"))


def source_files(path: Path) -> list[Path]:
    """The files of a folder, below it too, in the order of their paths; a saved data set or a file is one itself.

    Raises DataError for a folder without any. Hidden files and folders are passed over.
    """
    if not path.is_dir() or is_saved_dataset(path):
        return [path]
    found = [
        each
        for each in sorted(path.rglob("*"))
        if each.name.endswith(ENDINGS)
        and each.is_file()
        and not any(part.startswith(".") for part in each.relative_to(path).parts)
    ]
    if not found:
        raise DataError("the folder holds no rollouts", where=str(path), fix=f"Files must end in {', '.join(ENDINGS)}")
    return found


def read_rows(path: Path, fields: RolloutFields, samples: Samples | None = None) -> Iterator[RolloutRow]:
    """The rollouts of one source (file, saved data set or `hf:` reference) in its order.

    samples: what was read of each problem before, from other sources, so that the numbers of its samples go on. Raises
    DataError at `file:line` or `file, row N`, ArtifactError where a data set on the hub cannot be had.
    """
    if path.suffix == ".parquet" and _is_own(parquet_columns(path), fields):
        return read_rollouts(path)
    known: list[str] = []
    numbers: Samples = Counter() if samples is None else samples
    records = _records(path, partial(_choose, fields, known))
    return (row_from_record(record, fields, numbers, where=where, known=known) for where, record in records)


def _records(path: Path, wanted: Wanted) -> Iterator[tuple[str, dict[str, Any]]]:
    if str(path).startswith(HUB_PREFIX):
        return dataset_records(hub_dataset(str(path)), wanted, name=str(path))
    if path.is_dir():
        return dataset_records(saved_dataset(path), wanted, name=str(path))
    if path.suffix == ".parquet":
        return parquet_records(path, wanted)
    return json_lines(path)


def _choose(fields: RolloutFields, known: list[str], columns: Collection[str]) -> list[str]:
    """The wanted columns; all of them are noted in `known`, for the messages about missing ones."""
    known[:] = columns
    return wanted_fields(fields, columns)


def _is_own(columns: Collection[str], fields: RolloutFields) -> bool:
    """A file that hicra wrote: its columns, and none where the user's mapping says the response is."""
    return _OWN_COLUMNS.issubset(columns) and fields.response not in columns
