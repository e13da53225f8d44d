"""Verification: does the disk still hold what was published, and does the database hold together?

Findings are damage (something published is missing, changed or unreadable) or remains (what a crash left, harmless,
removed by gc). Nothing is changed and nothing stops at the first fault.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hicra_cli.core.artifact import Artifact, FileEntry, size_fault
from hicra_cli.core.manifest import hash_file, manifest_of, walk
from hicra_cli.core.schema import RegistryDatabase


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: in which artifact (None for the registry itself), at which path, and what it is."""

    severity: Literal["damage", "remains"]
    ref: str | None
    path: str
    problem: str


def verify_artifact(home: Path, artifact: Artifact) -> list[Finding]:
    """Sizes and hashes of all files, files that were not published, links anywhere on the way, the digest."""
    findings = [_damage(artifact, ".", fault) for fault in _folder_faults(home, artifact)]
    if findings:
        return findings
    for entry in artifact.files:
        fault = _file_fault(artifact.path, entry)
        if fault is not None:
            findings.append(_damage(artifact, entry.path, fault))
    published = {entry.path for entry in artifact.files}
    for path, mode in walk(artifact.path):
        if path not in published:
            what = "is a link" if stat.S_ISLNK(mode) else "was never published"
            findings.append(_damage(artifact, path, f"{path} {what}"))
    manifest = manifest_of(artifact.files)
    if (manifest.digest, manifest.bytes) != (artifact.digest, artifact.bytes):
        findings.append(_damage(artifact, ".", "the registry's list of its files does not match its digest"))
    return findings


def verify_database(database: RegistryDatabase) -> list[Finding]:
    """SQLite's own check of the file and of every reference between rows."""
    findings = []
    for row in database.rows("PRAGMA integrity_check"):
        text = str(row["integrity_check"])
        if text != "ok":
            findings.append(Finding("damage", None, str(database.path), text))
    for row in database.rows("PRAGMA foreign_key_check"):
        problem = f"row {row['rowid']} of {row['table']} refers to a missing row of {row['parent']}"
        findings.append(Finding("damage", None, str(database.path), problem))
    return findings


def verify_remains(home: Path, published: set[str]) -> list[Finding]:
    """Folders below `artifacts/` that have no row: a publication was killed before its commit, or still runs."""
    return [
        Finding("remains", None, str(folder.relative_to(home)), "was never registered; `hicra artifacts gc` removes it")
        for folder in artifact_folders(home)
        if folder.name not in published
    ]


def artifact_folders(home: Path) -> Iterator[Path]:
    """Everything at `artifacts/<kind>/<name>/<id>`, sorted."""
    yield from sorted((home / "artifacts").glob("*/*/*"))


def _damage(artifact: Artifact, path: str, problem: str) -> Finding:
    return Finding("damage", artifact.ref, str(artifact.path / path), problem)


def _folder_faults(home: Path, artifact: Artifact) -> Iterator[str]:
    for folder in (artifact.path, artifact.path.parent, artifact.path.parent.parent):
        if folder.is_symlink():
            yield f"{folder.relative_to(home)} is a link"
    if not artifact.path.is_dir():
        yield f"its folder {artifact.path.relative_to(home)} is missing"


def _file_fault(folder: Path, entry: FileEntry) -> str | None:
    fault = size_fault(folder, entry)
    if fault is not None:
        return fault
    try:
        found = hash_file(folder, entry.path)
    except OSError as error:
        return f"{entry.path} cannot be read: {error.strerror}"
    if found.sha256 != entry.sha256:
        return f"{entry.path} was changed: SHA-256 is {found.sha256}, {entry.sha256} was published"
    return None
