"""What the registry hands out: an artifact, its files, its place in the lineage, an unfinished draft."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One published file: its path below the artifact's folder (with `/`), SHA-256 in hex and size."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published, unchangeable folder of files.

    id: 26 letters, also the folder's name. digest: SHA-256 of the manifest, so equal content has an equal digest.
    created: UTC, ISO 8601. key: the cache key it was published under. origin: the id it had in the registry where it
    was made, if it was imported.
    """

    id: str
    kind: str
    name: str
    version: int
    digest: str
    created: str
    bytes: int
    path: Path
    run_id: str | None
    key: str | None
    summary: Mapping[str, Any]
    files: tuple[FileEntry, ...] = field(repr=False)
    origin: str | None = None

    @property
    def ref(self) -> str:
        """`kind:name@vN`, which names this artifact for ever."""
        return f"{self.kind}:{self.name}@v{self.version}"

    def file(self, relative: str) -> Path:
        """The path of one published file, there with its published size; ArtifactError otherwise."""
        for entry in self.files:
            if entry.path == relative:
                fault = size_fault(self.path, entry)
                if fault is not None:
                    raise self.damaged(fault)
                return self.path / relative
        raise ArtifactError(
            f"{self.ref} has no file {relative!r}",
            where=str(self.path),
            fix=f"It holds {', '.join(entry.path for entry in self.files[:8])}" + (" …" if len(self.files) > 8 else ""),
        )

    def first_fault(self) -> str | None:
        """The first file that is missing or has another size than was published, as a sentence, or None."""
        return next((fault for entry in self.files if (fault := size_fault(self.path, entry)) is not None), None)

    def damaged(self, fault: str) -> ArtifactError:
        """The error that names the damaged file and what to do."""
        return ArtifactError(
            f"{self.ref} was damaged: {fault}",
            where=str(self.path),
            fix=f"`hicra artifacts verify {self.ref}` shows all of it; repeat what made it with --force",
        )


def size_fault(folder: Path, entry: FileEntry) -> str | None:
    """What is wrong with a published file, judged without reading it: missing, no plain file, or another size."""
    try:
        found = os.lstat(folder / entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return f"{entry.path} is missing ({entry.bytes:,} bytes were published)"
    if not stat.S_ISREG(found.st_mode):
        return f"{entry.path} is no plain file"
    if found.st_size != entry.bytes:
        return f"{entry.path} has {found.st_size:,} bytes, {entry.bytes:,} were published"
    return None


@dataclass(frozen=True, slots=True)
class DraftInfo:
    """An unfinished draft. `owner` is the pid of the live process that writes it, None if nobody does."""

    id: str
    kind: str
    name: str
    key: str | None
    created: str
    command: str
    path: Path
    bytes: int
    owner: int | None


@dataclass(frozen=True, slots=True)
class LineageNode:
    """An artifact in a lineage tree with the `role` that links it to its parent in the tree.

    An artifact that occurs again is shown with `repeated` and without its own nodes.
    """

    artifact: Artifact
    role: str
    nodes: "tuple[LineageNode, ...]" = ()
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Lineage:
    """Everything an artifact was made from (`inputs`) and everything made from it (`outputs`)."""

    artifact: Artifact
    inputs: tuple[LineageNode, ...]
    outputs: tuple[LineageNode, ...]
