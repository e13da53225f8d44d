"""The registry's rows: artifacts, files, edges, aliases. Every query about them stands here.

Functions that write take the `Database` of a `write()` block; functions that read take the `RegistryDatabase`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from hicra_cli.core.artifact import Artifact, FileEntry
from hicra_cli.core.schema import RegistryDatabase

Edge = tuple[str, str, str]  # parent id, child id, role


def artifact_folder(home: Path, kind: str, name: str, artifact_id: str) -> Path:
    """Where an artifact's files lie. Named by id, not by version, so that a lost race cannot collide."""
    return home / "artifacts" / kind / name / artifact_id


def select(
    database: RegistryDatabase, home: Path, where: str = "1", parameters: Sequence[Any] = (), *, limit: int = -1
) -> list[Artifact]:
    """Artifacts that meet the SQL condition `where` (a constant of the caller's), newest first."""
    rows = database.rows(
        f"SELECT * FROM artifacts WHERE {where} ORDER BY sequence DESC LIMIT ?", [*parameters, limit]
    )  # no user text is in `where`
    return [_artifact(home, row, _files(database, row["id"])) for row in rows]


def in_edges(database: RegistryDatabase, artifact_id: str) -> list[tuple[str, str]]:
    """(id, role) of what the artifact was made from, in order of publication."""
    return _edge_ends(
        database,
        "SELECT parent AS id, role FROM edges JOIN artifacts ON artifacts.id = parent WHERE child = ?",
        artifact_id,
    )


def out_edges(database: RegistryDatabase, artifact_id: str) -> list[tuple[str, str]]:
    """(id, role) of what was made from the artifact, in order of publication."""
    return _edge_ends(
        database,
        "SELECT child AS id, role FROM edges JOIN artifacts ON artifacts.id = child WHERE parent = ?",
        artifact_id,
    )


def alias_names(database: RegistryDatabase, artifact_id: str) -> list[str]:
    """Sorted aliases that point at the artifact now."""
    rows = database.rows("SELECT alias FROM aliases WHERE artifact = ? ORDER BY alias", [artifact_id])
    return [row["alias"] for row in rows]


def known_names(database: RegistryDatabase, kind: str) -> list[str]:
    """Sorted names that were ever published in a kind."""
    return [row["name"] for row in database.rows("SELECT name FROM names WHERE kind = ? ORDER BY name", [kind])]


def known_aliases(database: RegistryDatabase, kind: str, name: str) -> list[str]:
    """Sorted aliases of one name."""
    rows = database.rows("SELECT alias FROM aliases WHERE kind = ? AND name = ? ORDER BY alias", [kind, name])
    return [row["alias"] for row in rows]


def known_ids(database: RegistryDatabase) -> set[str]:
    """The ids of all published artifacts."""
    return {row["id"] for row in database.rows("SELECT id FROM artifacts")}


def insert_artifact(db: Database, row: Mapping[str, Any], files: Iterable[FileEntry]) -> int:
    """Adds an artifact with its files under the next version of its name; returns the version.

    row: the columns of `artifacts` except sequence and version.
    """
    version = db.execute(
        "INSERT INTO names VALUES (:kind, :name, 1) "
        "ON CONFLICT (kind, name) DO UPDATE SET last_version = last_version + 1 RETURNING last_version",
        dict(row),
    ).fetchone()[0]
    db.execute(
        "INSERT INTO artifacts (id, kind, name, version, digest, created, bytes, run_id, key, summary, origin) "
        "VALUES (:id, :kind, :name, :version, :digest, :created, :bytes, :run_id, :key, :summary, :origin)",
        {**row, "version": version},
    )
    for entry in files:
        db.execute("INSERT INTO files VALUES (?, ?, ?, ?)", [row["id"], entry.path, entry.sha256, entry.bytes])
    return int(version)


def insert_key(db: Database, key: str, artifact_id: str) -> None:
    """Makes the artifact an answer to one more cache key."""
    db.execute("INSERT OR IGNORE INTO cache_keys VALUES (?, ?)", [key, artifact_id])


def insert_edges(db: Database, edges: Iterable[Edge]) -> None:
    """Adds lineage; an edge that is there already stays."""
    for parent, child, role in edges:
        db.execute("INSERT OR IGNORE INTO edges VALUES (?, ?, ?)", [parent, child, role])


def point_alias(db: Database, row: Mapping[str, Any], *, move: bool = True) -> None:
    """Creates the alias, or moves it if it exists and `move` says so. row: the columns of `aliases`."""
    action = "UPDATE SET artifact = excluded.artifact, changed = excluded.changed" if move else "NOTHING"
    db.execute(
        "INSERT INTO aliases VALUES (:kind, :name, :alias, :artifact, :changed) "
        f"ON CONFLICT (kind, name, alias) DO {action}",
        dict(row),
    )


def _artifact(home: Path, row: Mapping[str, Any], files: tuple[FileEntry, ...]) -> Artifact:
    return Artifact(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        version=row["version"],
        digest=row["digest"],
        created=row["created"],
        bytes=row["bytes"],
        path=artifact_folder(home, row["kind"], row["name"], row["id"]),
        run_id=row["run_id"],
        key=row["key"],
        summary=json.loads(row["summary"]),
        files=files,
        origin=row["origin"],
    )


def _files(database: RegistryDatabase, artifact_id: str) -> tuple[FileEntry, ...]:
    rows = database.rows("SELECT path, sha256, bytes FROM files WHERE artifact = ? ORDER BY path", [artifact_id])
    return tuple(FileEntry(row["path"], row["sha256"], row["bytes"]) for row in rows)


def _edge_ends(database: RegistryDatabase, sql: str, artifact_id: str) -> list[tuple[str, str]]:
    rows = database.rows(f"{sql} ORDER BY artifacts.sequence, role", [artifact_id])
    return [(row["id"], row["role"]) for row in rows]
