"""Records of Parquet files and of HF data sets: one at a time, of the wanted columns only, faults with a place."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import ArtifactError, DataError

ROWS_AT_ONCE = 256
HUB_PREFIX = "hf:"

Wanted = Callable[[Collection[str]], list[str]]
"""Chooses among the columns a table has."""

_HUB = re.compile(r"hf:(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<subset>[^@:/]+))?(?:@(?P<revision>[^:]+))?(?::(?P<split>.+))?")


@dataclass(frozen=True, slots=True)
class HubReference:
    """`hf:OWNER/NAME[/SUBSET][@REVISION][:SPLIT]`; the split may be a slice such as `train[:1000]`."""

    name: str
    subset: str | None
    revision: str | None
    split: str


def parquet_columns(path: Path) -> list[str]:
    """The names of a Parquet file's columns. Raises DataError where it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"this Parquet file cannot be read: {error}", where=str(path)) from error


def parquet_records(path: Path, wanted: Wanted) -> Iterator[tuple[str, dict[str, Any]]]:
    """(`file, row N` counted from 0, record of the wanted columns) of each row. Raises DataError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            columns = wanted(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
                for record in batch.to_pylist():
                    yield f"{path}, row {number}", record
                    number += 1
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"this Parquet file cannot be read: {error}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise DataError(f"a text is not UTF-8: {error.reason}", where=f"{path}, row {number} or later") from error


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` of HF datasets has written this folder."""
    names = ("dataset_info.json", "state.json")
    return (folder / "dataset_dict.json").is_file() or all((folder / name).is_file() for name in names)


def saved_dataset(folder: Path) -> Any:
    """A data set that was written by `save_to_disk`; one with several splits is refused. Raises DataError."""
    import datasets
    import pyarrow as pa

    if (folder / "dataset_dict.json").is_file():
        splits = sorted(each.name for each in folder.iterdir() if each.is_dir() and is_saved_dataset(each))
        raise DataError(
            f"the data set has splits: {', '.join(splits) or 'none'}",
            where=str(folder),
            fix=f"Name one, as in {folder / (splits or ['train'])[0]}",
        )
    try:
        return datasets.Dataset.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"this data set cannot be read: {_first_line(error)}", where=str(folder)) from error


def hub_dataset(reference: str) -> Any:
    """A split of a data set on the hub, from the local cache where it is there.

    Raises DataError for a malformed reference, ArtifactError where the data set cannot be had: unknown, private,
    without the split, or no network.
    """
    import datasets

    wanted = parse_hub(reference)
    try:
        return datasets.load_dataset(wanted.name, wanted.subset, revision=wanted.revision, split=wanted.split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise ArtifactError(
            f"the data set cannot be loaded: {_first_line(error)}",
            where=reference,
            fix="Check name, subset, revision and split, and the network; what was loaded before works offline",
        ) from error


def parse_hub(reference: str) -> HubReference:
    """The parts of `hf:OWNER/NAME[/SUBSET][@REVISION][:SPLIT]`; the split is `train` where none is named."""
    found = _HUB.fullmatch(reference)
    if found is None:
        raise DataError(
            "this names no data set", where=reference, fix="Write hf:OWNER/NAME, hf:OWNER/NAME/SUBSET@REVISION:SPLIT"
        )
    return HubReference(found["name"], found["subset"], found["revision"], found["split"] or "train")


def dataset_records(dataset: Any, wanted: Wanted, *, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(`name, row N` counted from 0, record of the wanted columns) of each row of an HF data set. Raises DataError."""
    import pyarrow as pa

    number = 0
    chosen = dataset.select_columns(wanted(dataset.column_names)).with_format("arrow")
    try:
        for batch in chosen.iter(batch_size=ROWS_AT_ONCE):
            for record in batch.to_pylist():
                yield f"{name}, row {number}", record
                number += 1
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"this data set cannot be read on: {_first_line(error)}", where=f"{name}, row {number}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
