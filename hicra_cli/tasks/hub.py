"""Rows of data sets: of the HF hub, found in the local cache or downloaded, and of folders with the same layout.

No code of a data set is run: its files are fetched and read as the plain formats `datasets` knows. Nobody waits for
long when the hub does not answer.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import ConfigError, DataError, ServiceError

# Seconds the hub may take to answer the first question; downloading itself may take as long as it moves.
HUB_TIMEOUT_S = 10.0
ALL_SUBSETS = "*"
ROWS_PER_BATCH = 1024
_FILES = ["*.parquet", "*.jsonl", "*.json", "*.csv", "*.jsonl.gz", "*.md"]


def hub_rows(
    dataset: str, *, split: str, config: str | None = None, patterns: list[str] | None = None, remedy: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of every row of a split. config: a subset, or `*` for all of them one after the other. Raises
    ServiceError where the data set cannot be had, with `remedy`, else as `folder_rows`.
    """
    return folder_rows(_folder(dataset, patterns or _FILES, remedy), dataset, split=split, config=config)


def folder_rows(
    folder: Path, name: str, *, split: str, config: str | None = None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of a folder of Parquet, JSONL or CSV files laid out as on the hub; `name` stands in places.

    Raises DataError where it cannot be read, ConfigError where a subset has to be chosen.
    """
    for subset in _subsets(folder, config) if config in (None, ALL_SUBSETS) else (config,):
        label = name if subset is None else f"{name}:{subset}"
        yield from batched_rows(_table(folder, name, subset, split), label)


def batched_rows(table: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of a table of `datasets`, read in Arrow batches: one by one they cost ten times as much."""
    number = 0
    for batch in table.with_format("arrow").iter(batch_size=ROWS_PER_BATCH):
        for row in batch.to_pylist():
            yield f"{name} row {number}", row
            number += 1


def _subsets(folder: Path, config: str | None) -> list[str | None]:
    """All subsets for `*`; [None] where there is nothing to choose."""
    from datasets import get_dataset_config_names, get_dataset_default_config_name

    with _readable(folder, folder.name, None):
        names: list[str] = get_dataset_config_names(str(folder))
        default = get_dataset_default_config_name(str(folder))
    if config == ALL_SUBSETS:
        return [*names]
    if len(names) > 1 and default is None:
        raise ConfigError(
            f"the data set has {len(names)} subsets: {', '.join(names)}",
            where="task.train_data",
            fix=f"Name one as OWNER/NAME:{names[0]}, or take all with OWNER/NAME:*",
        )
    return [None]


def _table(folder: Path, name: str, subset: str | None, split: str) -> Any:
    from datasets import load_dataset

    with _readable(folder, name, split):
        return load_dataset(str(folder), subset, split=split)


@contextmanager
def _readable(folder: Path, name: str, split: str | None) -> Iterator[None]:
    """Inside, `datasets` draws no bar, and what it raises becomes a DataError about this data set."""
    from datasets.exceptions import DatasetGenerationError, DatasetsError
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    except (DatasetsError, DatasetGenerationError, ValueError, OSError) as error:
        asked = "" if split is None else f" (split {split})"
        said = (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")
        raise DataError(
            f"the data set {name} cannot be read{asked}: {said}",
            where=str(folder),
            fix="Check task.split, or give a JSONL file",
        ) from error
    finally:
        if shown:
            enable_progress_bars()


def _folder(dataset: str, patterns: list[str], remedy: str) -> Path:
    """A local copy of the newest version, or of the cached one where the hub cannot be reached."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        revision = HfApi().dataset_info(dataset, timeout=HUB_TIMEOUT_S).sha
        return Path(snapshot_download(dataset, repo_type="dataset", revision=revision, allow_patterns=patterns))
    except (GatedRepoError, RepositoryNotFoundError, HFValidationError) as error:
        raise ServiceError(f"the hub gives no data set {dataset}: it is gated or unknown", fix=remedy) from error
    except _unreachable_errors() as error:
        try:
            found = snapshot_download(dataset, repo_type="dataset", allow_patterns=patterns, local_files_only=True)
        except LocalEntryNotFoundError:
            raise ServiceError(
                f"the data set {dataset} is not in the local cache and the hub cannot be reached", fix=remedy
            ) from error
        return Path(found)


def _unreachable_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises when nobody answers; its HTTP library goes by two names."""
    from huggingface_hub.errors import HfHubHTTPError

    library = next(name for name in ("httpx2", "httpx") if find_spec(name) is not None)
    return (import_module(library).HTTPError, HfHubHTTPError, OSError)
