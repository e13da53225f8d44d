"""The registry's database: its connection, its tables, its numbered migrations.

One module owns the connection because SQLite's defaults are wrong for us: deferred transactions fail at once when two
writers meet (measured: 206 of 240 with six processes), foreign keys are off, and a mistyped table would be created.
So every write is one `write()` block that takes the lock first, and the journal is the rollback journal: WAL can
corrupt a database of several connections in SQLite before 3.51.3.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from hicra_cli.core.errors import ArtifactError, HicraError, RunError
from hicra_cli.core.filesystem import disk_full, free_bytes, sync_folder

APPLICATION_ID = 0x68696372  # "hicr"
BUSY_TIMEOUT_S = 30.0
_SMALLEST_PAGE = 512
_ROOM = 1 << 16  # what one transaction and its journal take at most, roughly

Migration = Callable[[Database], None]


def _create_tables(db: Database) -> None:
    """Schema 1. `names.last_version` outlives the artifacts, so that a version is never given twice."""
    for statement in (
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, stage TEXT NOT NULL, argv TEXT NOT NULL, config TEXT NOT NULL,
            environment TEXT NOT NULL, status TEXT NOT NULL, started TEXT NOT NULL, seconds REAL, error TEXT,
            pid INTEGER NOT NULL, process_started INTEGER, host TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE metrics (
            run_id TEXT NOT NULL REFERENCES runs(id), name TEXT NOT NULL, value REAL, PRIMARY KEY (run_id, name)
        ) STRICT""",
        """CREATE TABLE artifacts (
            sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, name TEXT NOT NULL,
            version INTEGER NOT NULL, digest TEXT NOT NULL, created TEXT NOT NULL, bytes INTEGER NOT NULL,
            run_id TEXT REFERENCES runs(id), key TEXT, summary TEXT NOT NULL, origin TEXT,
            UNIQUE (kind, name, version)
        ) STRICT""",
        "CREATE INDEX artifacts_digest ON artifacts (digest)",
        """CREATE TABLE files (
            artifact TEXT NOT NULL REFERENCES artifacts(id), path TEXT NOT NULL, sha256 TEXT NOT NULL,
            bytes INTEGER NOT NULL, PRIMARY KEY (artifact, path)
        ) STRICT""",
        """CREATE TABLE edges (
            parent TEXT NOT NULL REFERENCES artifacts(id), child TEXT NOT NULL REFERENCES artifacts(id),
            role TEXT NOT NULL, PRIMARY KEY (parent, child, role)
        ) STRICT""",
        "CREATE INDEX edges_child ON edges (child)",
        """CREATE TABLE aliases (
            kind TEXT NOT NULL, name TEXT NOT NULL, alias TEXT NOT NULL,
            artifact TEXT NOT NULL REFERENCES artifacts(id), changed TEXT NOT NULL, PRIMARY KEY (kind, name, alias)
        ) STRICT""",
        """CREATE TABLE names (
            kind TEXT NOT NULL, name TEXT NOT NULL, last_version INTEGER NOT NULL, PRIMARY KEY (kind, name)
        ) STRICT""",
        """CREATE TABLE cache_keys (
            key TEXT NOT NULL, artifact TEXT NOT NULL REFERENCES artifacts(id), PRIMARY KEY (key, artifact)
        ) STRICT""",
    ):
        db.execute(statement)


MIGRATIONS: tuple[Migration, ...] = (_create_tables,)


class RegistryDatabase:
    """The open database. Reads are plain statements; writes happen only inside `write()`."""

    def __init__(self, path: Path, db: Database) -> None:
        self.path = path
        self._db = db
        self._turn = threading.RLock()  # threads of one process share the connection, hence its transaction

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """All rows of one query, read at once so that no read lock outlives the call."""
        with self._turn, database_errors(self.path):
            return list(self._db.query(sql, list(parameters)))

    @contextmanager
    def write(self) -> Iterator[Database]:
        """One transaction that holds the write lock from its first statement: all of the block or nothing."""
        with self._turn, database_errors(self.path), _immediate(self._db):
            yield self._db

    def close(self) -> None:
        """Closes the connection. Safe to repeat."""
        self._db.conn.close()


def open_database(path: Path, *, create: bool, migrations: Sequence[Migration] = MIGRATIONS) -> RegistryDatabase:
    """Opens `path`, makes or migrates it under the write lock where needed.

    ArtifactError: missing without `create`, of another program, damaged, or of a newer hicra.
    """
    if path.is_file() and 0 < path.stat().st_size < _SMALLEST_PAGE:
        raise damaged_registry(path, "it is too short")  # SQLite would take it for an empty database and write over it
    with database_errors(path):
        mode = "rwc" if create else "rw"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        try:
            for pragma in ("foreign_keys=ON", "synchronous=FULL", "trusted_schema=OFF", "cell_size_check=ON"):
                connection.execute(f"PRAGMA {pragma}")
            db = Database(connection)
            if _number(db, "user_version") != len(migrations) or _number(db, "application_id") != APPLICATION_ID:
                _migrate(path, db, migrations)
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "delete":
                connection.execute("PRAGMA journal_mode=DELETE")
        except BaseException:
            connection.close()
            raise
    return RegistryDatabase(path, db)


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's failures into ours: damage is exit 3, no room or a busy registry a failed run."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        failure = _failure(path, error)
        if failure is None:
            raise
        raise failure from error


def _failure(path: Path, error: sqlite3.DatabaseError) -> HicraError | None:
    """The hicra error for one of SQLite's primary result codes; None where the fault is in our own statement."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged_registry(path, str(error))
    if code == sqlite3.SQLITE_FULL:
        return disk_full("writing the registry", path.parent, needed_bytes=_ROOM, where=str(path), reason=str(error))
    if code == sqlite3.SQLITE_IOERR:
        return RunError(
            f"the disk failed at the registry: {error}; {_ROOM:,} bytes needed, {free_bytes(path.parent):,} bytes free",
            where=str(path),
            fix="Check the disk and the file size limit (`ulimit -f`), then repeat the command; nothing was lost",
        )
    if code == sqlite3.SQLITE_BUSY:
        return RunError(
            f"another process kept the registry locked for {BUSY_TIMEOUT_S:.0f} s", where=str(path), fix="Try again"
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return RunError(f"the registry cannot be opened for writing: {error}", where=str(path), fix="Check its mode")
    return None


def damaged_registry(path: Path, fault: str) -> ArtifactError:
    """The error of a registry file that cannot be trusted."""
    return ArtifactError(
        f"this is no intact hicra registry: {fault}",
        where=str(path),
        fix="Put a copy of it back (migrations leave registry.db.bak-N beside it) or choose another --home",
    )


def _migrate(path: Path, db: Database, migrations: Sequence[Migration]) -> None:
    """Brings the schema up to date. The pending steps are read under the lock: several processes may start at once."""
    with _immediate(db):
        version, application = _number(db, "user_version"), _number(db, "application_id")
        if version == 0 and application == 0 and not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            _refuse_lost_registry(path)
        elif application != APPLICATION_ID:
            raise damaged_registry(path, "another program made this SQLite file")
        elif version > len(migrations):
            raise ArtifactError(
                f"this registry has schema {version}, this hicra knows schemas up to {len(migrations)}",
                where=str(path),
                fix="Upgrade hicra, or choose another --home",
            )
        elif version < len(migrations):
            _back_up(path, version)
        for number in range(version, len(migrations)):
            migrations[number](db)
        if db.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise damaged_registry(path, f"foreign keys are broken after migrating schema {version}")
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={len(migrations)}")


def _refuse_lost_registry(path: Path) -> None:
    """An empty database beside published artifacts is a lost one: a fresh one would make them garbage."""
    if any(path.parent.glob("artifacts/*/*/*")):
        raise damaged_registry(path, "it is empty, but artifacts were published here")


def _back_up(path: Path, version: int) -> None:
    """Copies the database as it is before the migration; called under the write lock, before the first change."""
    target = path.with_name(f"{path.name}.bak-{version}")
    temporary = target.with_name(f"{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(temporary)) as copy:
        source.backup(copy)
    temporary.replace(target)
    sync_folder(path.parent)


@contextmanager
def _immediate(db: Database) -> Iterator[None]:
    """BEGIN IMMEDIATE … COMMIT, or ROLLBACK when the block or the commit fails."""
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.conn.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself (a full disk); then there is nothing left to undo.
        with suppress(sqlite3.Error):
            db.conn.execute("ROLLBACK")
        raise


def _number(db: Database, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])
