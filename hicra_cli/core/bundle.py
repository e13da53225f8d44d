"""Bundles: artifacts with their lineage in one `.tar.zst` or `.zip` file, to be carried to another registry.

The first member, `hicra-bundle.json`, lists everything: artifacts (made-from before made), their files with sizes and
SHA-256, lineage, aliases, and the runs that made them. The other members are `artifacts/<id>/<path>`, in exactly the
listed order, so that a reader needs to trust no name in the archive. This file writes; `bundle_import` reads.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra_cli.core.archives import archive_format, write_archive
from hicra_cli.core.artifact import Artifact, FileEntry
from hicra_cli.core.cache import canonical_json
from hicra_cli.core.errors import UsageError
from hicra_cli.core.filesystem import storage_errors, sync_folder
from hicra_cli.core.names import new_id

if TYPE_CHECKING:
    from hicra_cli.core.registry import Registry

BUNDLE_FORMAT = "hicra-bundle"
BUNDLE_VERSION = 1
LIST_NAME = "hicra-bundle.json"


def member_name(artifact_id: str, path: str) -> str:
    """Where a file of an artifact lies inside the archive."""
    return f"artifacts/{artifact_id}/{path}"


def write_bundle(registry: "Registry", artifacts: Sequence[Artifact], path: Path) -> None:
    """Writes the artifacts to `path`, or leaves nothing there.

    UsageError: the name's ending, or a file that exists. ArtifactError: a file was damaged. RunError: disk full.
    """
    kind = archive_format(path)
    if path.exists():
        raise UsageError(f"{path} exists", fix="Choose another name or remove it")
    listing = canonical_json(_listing(registry, artifacts))
    temporary = path.with_name(f".{path.name}.{new_id()}.tmp")
    size = sum(artifact.bytes for artifact in artifacts)
    try:
        with storage_errors(f"writing {path.name}", path.parent, needed_bytes=size):
            with temporary.open("xb") as file:
                write_archive(file, kind, _sources(listing, artifacts))
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename, never over a file that appeared meanwhile
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _listing(registry: "Registry", artifacts: Sequence[Artifact]) -> dict[str, Any]:
    ids = {artifact.id for artifact in artifacts}
    return {
        "format": BUNDLE_FORMAT,
        "version": BUNDLE_VERSION,
        "artifacts": [_describe(registry, artifact, ids) for artifact in artifacts],
        "runs": [
            {
                "id": run.id,
                "stage": run.stage,
                "argv": run.argv,
                "config": run.config,
                "environment": run.environment,
                "status": run.status,
                "seconds": run.seconds,
            }
            for run_id in sorted({artifact.run_id for artifact in artifacts if artifact.run_id is not None})
            for run in registry.runs(run_id=run_id)
        ],
    }


def _describe(registry: "Registry", artifact: Artifact, ids: set[str]) -> dict[str, Any]:
    return {
        "id": artifact.id,
        "origin": artifact.origin or artifact.id,
        "kind": artifact.kind,
        "name": artifact.name,
        "version": artifact.version,
        "digest": artifact.digest,
        "created": artifact.created,
        "key": artifact.key,
        "run_id": artifact.run_id,
        "summary": artifact.summary,
        "aliases": registry.aliases(artifact),
        "inputs": [[source.id, role] for source, role in registry.inputs(artifact) if source.id in ids],
        "files": [{"path": entry.path, "bytes": entry.bytes, "sha256": entry.sha256} for entry in artifact.files],
    }


@dataclass(frozen=True, slots=True)
class _Bytes:
    name: str
    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def blocks(self) -> Iterator[bytes]:
        yield self.content


@dataclass(frozen=True, slots=True)
class _PublishedFile:
    """A file on its way out; it is hashed again, so that a bundle never spreads damage."""

    name: str
    artifact: Artifact
    entry: FileEntry

    @property
    def size(self) -> int:
        return self.entry.bytes

    def blocks(self) -> Iterator[bytes]:
        digest = hashlib.sha256()
        with self.artifact.file(self.entry.path).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                yield block
        if digest.hexdigest() != self.entry.sha256:
            raise self.artifact.damaged(f"{self.entry.path} was changed")


def _sources(listing: bytes, artifacts: Sequence[Artifact]) -> Iterator[_Bytes | _PublishedFile]:
    yield _Bytes(LIST_NAME, listing)
    for artifact in artifacts:
        for entry in artifact.files:
            yield _PublishedFile(member_name(artifact.id, entry.path), artifact, entry)
