"""Rows of a data set on the HF hub: found in the local cache or downloaded, never waited for long when nobody answers.

No code of a data set is run: its files are fetched and read as the plain formats `datasets` knows.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import DataError, ServiceError

# Seconds the hub may take to answer the first question; downloading itself may take as long as it moves.
HUB_TIMEOUT_S = 10.0
_FILES = ["*.parquet", "*.jsonl", "*.json", "*.csv", "*.jsonl.gz", "*.md"]


def hub_rows(
    dataset: str, *, split: str, config: str | None = None, patterns: list[str] | None = None, remedy: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of every row of a split. Raises ServiceError where the data set cannot be had, with `remedy`."""
    folder = _folder(dataset, patterns or _FILES, remedy)
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError, DatasetsError

    try:
        table = load_dataset(str(folder), config, split=split)
    except (DatasetsError, DatasetGenerationError, ValueError, OSError) as error:
        raise DataError(
            f"the data set {dataset} cannot be read (split {split}): {str(error).splitlines()[0][:300]}",
            where=str(folder),
            fix="Check task.split, or give a JSONL file",
        ) from error
    for number, row in enumerate(table):
        yield f"{dataset} row {number}", row


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
