"""Where rows come from, for training and for benchmarks: files, folders, the hub; told apart by what they are.

FILE.jsonl (.gz, .zst) · FILE.parquet · a folder that `datasets` saved · a folder of Parquet or JSONL files ·
OWNER/NAME, OWNER/NAME:SUBSET or OWNER/NAME:* of the hub. An existing folder comes before a data set of the same name.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.grading.functions import reward_digest
from hicra_cli.grams.jsonl import json_lines
from hicra_cli.tasks.hub import ROWS_PER_BATCH, TRAINING, Settings, batched_rows, folder_rows, hub_rows

SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
PARQUET = ".parquet"

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+?)(?::([\w.+-]+|\*))?")
_REMEDY = "Download it as JSONL or Parquet and set task.train_data to the file"


def source_rows(source: str, *, split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of every row of one source. Raises ConfigError for what names no source, DataError for malformed
    data, ServiceError for a data set of the hub that cannot be had.
    """
    path = Path(source).expanduser()
    if source.endswith(SUFFIXES):
        return json_lines(path)
    if source and path.is_dir():
        return folder_or_saved_rows(path, split=split)
    if source.endswith(PARQUET) and path.is_file():
        return _parquet_rows(path)
    found = None if path.exists() or source.endswith(PARQUET) else _HUB_ID.fullmatch(source)
    if found is None:
        raise ConfigError(
            f"{source!r} is neither a file of training data, nor a folder, nor a data set id",
            where="task.train_data",
            fix=f"Give a file ending in {', '.join((*SUFFIXES, PARQUET))}, a folder, or OWNER/NAME of the hub",
        )
    return hub_rows(found[1], split=split, config=found[2], remedy=_REMEDY)


def folder_or_saved_rows(
    path: Path, *, split: str, settings: Settings = TRAINING
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of a folder of Parquet or JSONL files, or of one that `datasets` saved."""
    if _is_saved(path):
        return _saved_rows(path, split, settings)
    return folder_rows(path, str(path), split=split, settings=settings)


def file_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of a JSONL (plain, gzip, zstandard) or Parquet file."""
    return _parquet_rows(path) if path.suffix == PARQUET else json_lines(path)


def source_label(source: str) -> str:
    """What ids of this source's problems begin with: its name without folders, suffix and subset."""
    return Path(source).name.split(".")[0].split(":")[0] or "data"


def content_digests(task: TaskConfig) -> dict[str, Any]:
    """What the paths in a task's configuration stood for, for a cache key: {} where they name nothing local.

    `reward_source`: of the reward function's file. `train_data_sha256`: of local training data, by source.
    """
    digests = {"reward_source": reward_digest(task), "train_data_sha256": data_digests(task)}
    return {name: digest for name, digest in digests.items() if digest}


def data_digests(task: TaskConfig) -> dict[str, str]:
    """sha256 of the content of every local source, by its name; sources on the hub have their id only."""
    paths = {source: Path(source).expanduser() for source in task.train_data if task.kind == "maths"}
    return {source: _digest(path) for source, path in paths.items() if path.exists()}


def _digest(path: Path) -> str:
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{file.relative_to(path) if file != path else ''} {digest}\n".encode())
    return whole.hexdigest()


def _is_saved(folder: Path) -> bool:
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _saved_rows(folder: Path, split: str, settings: Settings) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from datasets import DatasetDict, load_from_disk

    try:
        table = load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"the saved data set cannot be read: {error}", where=str(folder)) from error
    if isinstance(table, DatasetDict):
        if split not in table:
            raise DataError(
                f"the saved data set has no split {split!r}",
                where=str(folder),
                fix=f"Set {settings.split} to one of {', '.join(table)}",
            )
        table = table[split]
    return batched_rows(table, folder.name)


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(ROWS_PER_BATCH):
                for row in batch.to_pylist():
                    yield f"{path} row {number}", row
                    number += 1
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"the file cannot be read as Parquet: {str(error)[:200]}", where=str(path)) from error
