"""Where existing rollouts come from: files, folders, data sets, and artifacts that hold rollouts."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hicra_cli.config.collect import CollectConfig, RolloutFields
from hicra_cli.core.errors import ArtifactError, DataError
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.rollout_file import FILE_NAME, RolloutRow, read_rollouts
from hicra_cli.grams.row_fields import Samples
from hicra_cli.grams.sources import read_rows, source_files
from hicra_cli.grams.tables import HUB_PREFIX, hub_dataset

from .base import External, Input
from .policies import folder_digest

ROLLOUTS_PREFIX, TRAINING_PREFIX = "rollouts:", "training:"


def resolve_sources(collect: CollectConfig, registry: Registry) -> dict[str, Input]:
    """The inputs of `collect.rollouts` by role; each file of a folder is one.

    Raises DataError for files that cannot be read, ArtifactError for artifacts and data sets that cannot be had.
    """
    found: list[Input] = []
    for path in collect.rollouts:
        reference = str(path)
        if reference.startswith((ROLLOUTS_PREFIX, TRAINING_PREFIX)):
            found.append(_with_rollouts(registry.resolve(reference)))
        elif reference.startswith(HUB_PREFIX):
            # The fingerprint names subset, split and the version of the data that were loaded.
            found.append(External(reference, f"hub:{hub_dataset(reference)._fingerprint}", path))
        else:
            found.extend(_external(each) for each in _files(path))
    return {f"source-{at:03d}": each for at, each in enumerate(found)}


def single_artifact(collect: CollectConfig, registry: Registry) -> Artifact | None:
    """The rollouts artifact where `collect.rollouts` names one and nothing else: it is used as it is."""
    if len(collect.rollouts) == 1 and str(collect.rollouts[0]).startswith(ROLLOUTS_PREFIX):
        return registry.resolve(str(collect.rollouts[0]))
    return None


def read_source(source: Input, fields: RolloutFields, samples: Samples) -> Iterator[RolloutRow]:
    """The rollouts of one input, in its order; `samples` as in `read_rows`."""
    if isinstance(source, External):
        yield from read_rows(source.path, fields, samples)
        return
    for path in _rollout_paths(source):
        yield from read_rollouts(path)


def read_sources(sources: dict[str, Input], fields: RolloutFields) -> Iterator[RolloutRow]:
    """The rollouts of all inputs, one after the other."""
    samples: Samples = Counter()
    for source in sources.values():
        yield from read_source(source, fields, samples)


def _with_rollouts(artifact: Artifact) -> Artifact:
    if not _rollout_paths(artifact):
        raise ArtifactError(
            f"{artifact.ref} kept no rollouts",
            where=str(artifact.path),
            fix="Train with train.save_rollouts_every of 1 or more, or sample its checkpoints with --training",
        )
    return artifact


def _rollout_paths(artifact: Artifact) -> list[Path]:
    """Its one file, or those of a training in the order of steps, which is that of their names."""
    if artifact.kind == "rollouts":
        return [artifact.file(FILE_NAME)]
    names = sorted(each.path for each in artifact.files if each.path.startswith("rollouts/"))
    return [artifact.file(name) for name in names if name.endswith(".parquet")]


def _files(path: Path) -> list[Path]:
    try:
        return source_files(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _external(path: Path) -> External:
    try:
        if path.is_dir():
            return External(str(path), folder_digest(path), path)
        with path.open("rb") as stream:
            return External(str(path), hashlib.file_digest(stream, "sha256").hexdigest(), path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"rollouts cannot be read: {error.strerror}", where=str(path), fix="Check --rollouts")
