"""A file of comparisons that algebra decided, so that grading the same samples again needs no algebra.

An SQLite database of its own, not the registry: it may be deleted at any time, is shared by any number of processes,
and holds no text of answers, only a digest of (gold, answer, versions of grader and math-verify). Exact comparisons are
not kept: making them again costs less than looking them up.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from importlib import metadata
from pathlib import Path

from hicra_cli.core.errors import UsageError
from hicra_cli.core.records import Outcome
from hicra_cli.grading.memory import Judgement, Pair
from hicra_cli.grading.version import GRADER_VERSION

APPLICATION_ID = 0x68696376  # "hicv"
BUSY_TIMEOUT_S = 30.0
_AT_ONCE = 500  # keys in one query

_TABLE = (
    "CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, outcome TEXT NOT NULL, detail TEXT NOT NULL) STRICT"
)


class VerdictFile:
    """Judgements by pair. fault: why reading or writing failed; the file is not used any more then.

    Raises UsageError where `path` is something else, or cannot be opened. Not for several threads at once.
    """

    def __init__(self, path: Path) -> None:
        self.fault: str | None = None
        self._path = path
        self._versions = f"{GRADER_VERSION} {metadata.version('math-verify')}"
        try:
            with closing(self._connect()) as database:
                database.execute("BEGIN IMMEDIATE")  # another process may be making the same file
                (found,) = database.execute("PRAGMA application_id").fetchone()
                if found not in (0, APPLICATION_ID) or (found == 0 and _has_tables(database)):
                    raise self._refusal("is a database of something else")
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(_TABLE)
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._refusal(f"cannot be used: {error}") from error

    def read(self, pairs: Iterable[Pair]) -> dict[Pair, Judgement]:
        """What is known of these pairs."""
        by_key = {self._key(pair): pair for pair in pairs}
        keys = list(by_key)
        found: dict[Pair, Judgement] = {}
        if self.fault is not None:
            return found
        try:
            with closing(self._connect()) as database:
                for start in range(0, len(keys), _AT_ONCE):
                    some = keys[start : start + _AT_ONCE]
                    marks = ",".join("?" * len(some))
                    rows = database.execute(f"SELECT key, outcome, detail FROM verdicts WHERE key IN ({marks})", some)
                    found |= {by_key[key]: Judgement(Outcome(outcome), detail) for key, outcome, detail in rows}
        except (sqlite3.Error, ValueError) as error:
            self.fault = f"{self._path} cannot be read: {error}"
        return found

    def write(self, judgements: Mapping[Pair, Judgement]) -> None:
        """Keep judgements; what another process kept first stays."""
        if self.fault is not None or not judgements:
            return
        rows = [(self._key(pair), each.outcome.value, each.detail) for pair, each in judgements.items()]
        try:
            with closing(self._connect()) as database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)", rows)
                database.execute("COMMIT")
        except sqlite3.Error as error:
            self.fault = f"{self._path} cannot be written: {error}"

    def _connect(self) -> sqlite3.Connection:
        # A connection per list: it belongs to one thread, and a fork of this process inherits none.
        return sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)

    def _key(self, pair: Pair) -> bytes:
        parts = (self._versions, pair.gold, pair.answer)
        whole = b"".join(len(part).to_bytes(8, "big") + part.encode("utf-8", "surrogatepass") for part in parts)
        return hashlib.blake2b(whole, digest_size=16).digest()

    def _refusal(self, what: str) -> UsageError:
        return UsageError(f"the cache {self._path} {what}", fix="Name another file, or delete this one")


def _has_tables(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
