"""Rows of data sets: of the HF hub, found in the local cache or downloaded, and of folders with the same layout.

No code of a data set is run: its files are fetched and read as the plain formats `datasets` knows. Nobody waits for
long when the hub does not answer.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Settings:
    """Names of the settings that chose a source and its split: what an error tells the user to change."""

    source: str = "task.train_data"
    split: str = "task.split"


TRAINING = Settings()


def hub_rows(
    dataset: str,
    *,
    split: str,
    config: str | None = None,
    revision: str | None = None,
    remedy: str,
    settings: Settings = TRAINING,
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of every row of a split. config: a subset, or `*` for all of them one after the other. revision: a
    commit, or the newest one. Raises ServiceError where the data set cannot be had, with `remedy`, else as
    `folder_rows`.
    """
    return folder_rows(_folder(dataset, revision, remedy), dataset, split=split, config=config, settings=settings)


def hub_files(dataset: str, revision: str, files: Mapping[str, str | None], *, remedy: str) -> list[Path]:
    """Local copies of files of one commit, by their sha256 (None: not known). A cached file is not asked for again.

    Raises ServiceError where one cannot be had, DataError where its content is not the published one.
    """
    paths = []
    for name, sha256 in files.items():
        with _hub_failures(dataset, remedy):
            path = _file(dataset, revision, name)
        _check_content(path, sha256, where=f"{dataset}@{revision[:12]}/{name}")
        paths.append(path)
    return paths


def folder_rows(
    folder: Path, name: str, *, split: str, config: str | None = None, settings: Settings = TRAINING
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of a folder of Parquet, JSONL or CSV files laid out as on the hub; `name` stands in places.

    Raises DataError where it cannot be read, ConfigError where a subset has to be chosen.
    """
    for subset in _subsets(folder, config, settings) if config in (None, ALL_SUBSETS) else (config,):
        label = name if subset is None else f"{name}:{subset}"
        yield from batched_rows(_table(folder, name, subset, split, settings), label)


def batched_rows(table: Any, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(place, row) of a table of `datasets`, read in Arrow batches: one by one they cost ten times as much."""
    number = 0
    for batch in table.with_format("arrow").iter(batch_size=ROWS_PER_BATCH):
        for row in batch.to_pylist():
            yield f"{name} row {number}", row
            number += 1


def _subsets(folder: Path, config: str | None, settings: Settings) -> list[str | None]:
    """All subsets for `*`; [None] where there is nothing to choose."""
    from datasets import get_dataset_config_names, get_dataset_default_config_name

    with _readable(folder, folder.name, None, settings):
        names: list[str] = get_dataset_config_names(str(folder))
        default = get_dataset_default_config_name(str(folder))
    if config == ALL_SUBSETS:
        return [*names]
    if len(names) > 1 and default is None:
        raise ConfigError(
            f"the data set has {len(names)} subsets: {', '.join(names)}",
            where=settings.source,
            fix=f"Name one as OWNER/NAME:{names[0]}, or take all with OWNER/NAME:*",
        )
    return [None]


def _table(folder: Path, name: str, subset: str | None, split: str, settings: Settings) -> Any:
    from datasets import load_dataset

    with _readable(folder, name, split, settings):
        return load_dataset(str(folder), subset, split=split)


@contextmanager
def _readable(folder: Path, name: str, split: str | None, settings: Settings) -> Iterator[None]:
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
            fix=f"Check {settings.split}, or give a JSONL file",
        ) from error
    finally:
        if shown:
            enable_progress_bars()


def _folder(dataset: str, revision: str | None, remedy: str) -> Path:
    """A local copy of a commit; without one of the newest, or of the cached one where the hub cannot be reached."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def copy(commit: str | None, *, local: bool) -> Path:
        return Path(
            snapshot_download(
                dataset, repo_type="dataset", revision=commit, allow_patterns=_FILES, local_files_only=local
            )
        )

    with _hub_failures(dataset, remedy):
        try:
            commit = HfApi().dataset_info(dataset, revision=revision, timeout=HUB_TIMEOUT_S).sha
            return copy(commit, local=False)
        except _unreachable_errors() as error:
            if not _is_silence(error):
                raise
            try:
                return copy(revision, local=True)
            except LocalEntryNotFoundError:
                raise error from None


def _file(dataset: str, revision: str, name: str) -> Path:
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    found = try_to_load_from_cache(dataset, name, revision=revision, repo_type="dataset")
    if isinstance(found, str):
        return Path(found)
    HfApi().dataset_info(dataset, revision=revision, timeout=HUB_TIMEOUT_S)  # tells soon when nobody answers
    return Path(hf_hub_download(dataset, name, repo_type="dataset", revision=revision, etag_timeout=HUB_TIMEOUT_S))


def _check_content(path: Path, sha256: str | None, *, where: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 not in (None, found):
        raise DataError(
            f"the file's sha256 is {found}, the published one is {sha256}",
            where=where,
            fix=f"Delete {path} and try again; a hub that serves other content is not to be trusted",
        )


@contextmanager
def _hub_failures(dataset: str, remedy: str) -> Iterator[None]:
    """Inside, what the hub's client raises becomes a ServiceError that says what to do."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        what = f"the data set {dataset} is gated on the hub"
        raise ServiceError(
            what, fix=f"Accept its terms there and log in (`hf auth login`, or HF_TOKEN). {remedy}"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ServiceError(f"the hub gives no data set {dataset}: it is private or unknown", fix=remedy) from error
    except RevisionNotFoundError as error:
        raise ServiceError(f"the hub's data set {dataset} has no such revision any more", fix=remedy) from error
    except LocalEntryNotFoundError as error:
        raise ServiceError(_SILENT.format(dataset), fix=remedy) from error
    except EntryNotFoundError as error:
        raise ServiceError(f"the hub's data set {dataset} lacks a file: {_first_line(error)}", fix=remedy) from error
    except _unreachable_errors() as error:
        raise ServiceError(_SILENT.format(dataset), fix=remedy) from error


_SILENT = "the data set {} is not in the local cache and the hub cannot be reached, or breaks off"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _is_silence(error: Exception) -> bool:
    """Nobody answered, or not with what was asked for: no refusal that a cached copy would hide."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    return not isinstance(error, GatedRepoError | RepositoryNotFoundError | RevisionNotFoundError)


def _unreachable_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises when nobody answers; its HTTP library goes by two names."""
    from huggingface_hub.errors import HfHubHTTPError

    library = next(name for name in ("httpx2", "httpx") if find_spec(name) is not None)
    return (import_module(library).HTTPError, HfHubHTTPError, OSError)
