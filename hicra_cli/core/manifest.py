"""The manifest of a folder: which plain files it holds, their sizes and hashes, and one digest over all of it.

The digest is the SHA-256 of canonical JSON of the entries sorted by path: no time, no id, no owner is part of it, so
the same content has the same digest everywhere. Links and devices are refused, empty folders are not content.
"""

import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hicra_cli.core.artifact import FileEntry
from hicra_cli.core.cache import canonical_json
from hicra_cli.core.errors import RunError
from hicra_cli.core.filesystem import sync_folder
from hicra_cli.core.names import clashing_paths, path_fault

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """Entries sorted by path, their digest and the sum of their bytes."""

    files: tuple[FileEntry, ...]
    digest: str
    bytes: int


def seal(folder: Path) -> Manifest:
    """Hashes every file below `folder` and makes files and folders durable.

    RunError where the folder is empty or holds something that cannot be published. OSError passes through.
    """
    paths = plain_files(folder)
    if not paths:
        raise RunError("nothing was written into the artifact", where=str(folder))
    clash = clashing_paths(paths)
    if clash is not None:
        raise RunError(f"{clash[0]!r} and {clash[1]!r} are one path on some systems", where=str(folder))
    manifest = manifest_of(_hash_file(folder, path, sync=True) for path in paths)
    for parent, _, _ in os.walk(folder, topdown=False):
        sync_folder(Path(parent))
    return manifest


def manifest_of(entries: Iterable[FileEntry]) -> Manifest:
    """The manifest of known entries, in any order."""
    files = tuple(sorted(entries, key=lambda entry: entry.path))
    content = [{"bytes": entry.bytes, "path": entry.path, "sha256": entry.sha256} for entry in files]
    digest = hashlib.sha256(canonical_json({"files": content})).hexdigest()
    return Manifest(files, digest, sum(entry.bytes for entry in files))


def hash_file(folder: Path, path: str) -> FileEntry:
    """Size and hash of one plain file as it is now; a link is refused (OSError)."""
    return _hash_file(folder, path, sync=False)


def plain_files(folder: Path) -> list[str]:
    """Sorted paths of all files below `folder`. RunError at a link, a device or a name that is not portable."""
    paths: list[str] = []
    for path, mode in walk(folder):
        fault = path_fault(path)
        if fault is not None:
            raise RunError(f"{path!r} {fault} and cannot be published", where=str(folder))
        if not stat.S_ISREG(mode):
            raise RunError(f"{path!r} is a link or a device and cannot be published", where=str(folder))
        paths.append(path)
    return sorted(paths)


def walk(folder: Path) -> Iterable[tuple[str, int]]:
    """(path, mode) of everything below `folder` that is no folder; links are reported, never followed."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in sorted(entries, key=lambda item: item.name):
                path = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{path}/")
                else:
                    yield path, entry.stat(follow_symlinks=False).st_mode


def _hash_file(folder: Path, path: str, *, sync: bool) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while block := os.read(descriptor, _BLOCK):
            digest.update(block)
            size += len(block)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return FileEntry(path, digest.hexdigest(), size)
