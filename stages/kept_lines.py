"""Rows that survive the end of the process: appended one by one, found again after a crash, read back in any order.

One JSON line per row in the order they came; memory holds where each line begins, not the rows. A row is handed to the
operating system at once, so a killed process loses nothing; it is forced to the disk every few seconds, so a machine
that loses its power loses at most those.
"""

import json
import os
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from hicra_cli.core.filesystem import storage_errors

SYNC_EVERY_S = 5.0

Row = dict[str, Any]
K = TypeVar("K", bound=Hashable)


class KeptLines(Generic[K]):
    """The append-only file at `path`. Opening it reads what an earlier attempt has left.

    key_of: what names a row; of two rows of one key the later one counts. torn: whether a last line without its end was
    cut off. damaged: lines in the middle that cannot be read; like the torn one they count as never written. Reading
    and adding may happen in different threads; adding in one.
    """

    def __init__(self, path: Path, key_of: Callable[[Mapping[str, Any]], K]) -> None:
        self._path = path
        self._key_of = key_of
        self._places: dict[K, int] = {}
        self.torn = False
        self.damaged = 0
        self._synced = time.monotonic()
        with storage_errors("keeping samples", path.parent):
            self._read_places()
            # Without a buffer: what a full disk did not take must not come up again when the file is closed.
            self._stream = path.open("ab", buffering=0)
            self._end = self._stream.seek(0, os.SEEK_END)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep a row: after this call it survives the end of the process. RunError where the disk is full."""
        with storage_errors("keeping samples", self._path.parent):
            place = self._append(to_line(row))
            if time.monotonic() - self._synced >= SYNC_EVERY_S:
                os.fsync(self._stream.fileno())
                self._synced = time.monotonic()
        self._places[self._key_of(row)] = place

    def read(self, keys: Iterable[K]) -> Iterator[Row]:
        """The rows of these keys, in their order. A KeyError is a bug: the caller knows what was added."""
        with storage_errors("reading kept samples", self._path.parent), self._path.open("rb") as stream:
            for key in keys:
                stream.seek(self._places[key])
                yield json.loads(stream.readline())

    def close(self) -> None:
        """Close the file; what it holds stays."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> int:
        """Write a whole line or nothing; where it begins."""
        place, rest = self._end, memoryview(line)
        try:
            while rest:
                rest = rest[self._stream.write(rest) :]
        except BaseException:
            with suppress(OSError):
                self._stream.truncate(place)
            raise
        self._end = place + len(line)
        return place

    def _read_places(self) -> None:
        """Note where each whole line begins; cut what follows the last one."""
        if not self._path.exists():
            return
        with self._path.open("rb+") as stream:
            place = 0
            while line := stream.readline():
                if not line.endswith(b"\n"):
                    stream.truncate(place)
                    self.torn = True
                    return
                try:
                    self._places[self._key_of(json.loads(line))] = place
                except (ValueError, KeyError, TypeError):  # a machine that lost its power may leave blocks of zeros
                    self.damaged += 1
                place = stream.tell()


def to_line(row: Mapping[str, Any]) -> bytes:
    """One line of JSON, in the row's own order of fields. ASCII: half a surrogate pair is escaped, not lost."""
    return json.dumps(row, ensure_ascii=True, allow_nan=False).encode() + b"\n"
