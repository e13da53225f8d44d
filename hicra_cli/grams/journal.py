"""An append-only file of a person's answers: one JSON line each, on disk before the next question.

Its lines carry `answer`, their running number. A line that a crash left half written at the end is cut off. One process
at a time may ask; the kernel gives the lock up however that process ends.
"""

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from hicra_cli.core.errors import RunError, UsageError
from hicra_cli.grams.decisions import ANSWER
from hicra_cli.grams.jsonl import json_lines


class Journal:
    """Open for appending from the start to `close` (or `with`).

    rows: (`file:line`, object) of what the file held. cut: the torn end that was cut off, empty where there was none.
    Raises UsageError where another process asks about the same file, DataError for a line that is no JSON object,
    RunError where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix != ".jsonl":
            raise UsageError(
                f"answers are kept as JSON lines, {path.name} is none",
                where=str(path),
                fix="Name a file ending in .jsonl",
            )
        self.path = path
        self.cut = ""
        self._descriptor: int | None = _open(path)
        try:
            self._lock()
            self._mend()
            self.rows: list[tuple[str, dict[str, Any]]] = list(json_lines(path))
        except BaseException:
            self.close()
            raise
        self._number = sum(ANSWER in row for _, row in self.rows)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line; on disk when this returns. RunError where that fails, and then the file is as before."""
        if self._descriptor is None:
            raise ValueError("the journal is closed")
        line = json.dumps({ANSWER: self._number + 1, **row}, ensure_ascii=False) + "\n"
        before = os.fstat(self._descriptor).st_size
        try:
            _write_all(self._descriptor, line.encode("utf-8", "replace"))
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, before)
            raise RunError(
                f"the answer could not be kept: {error.strerror}", where=str(self.path), fix="Make room and start again"
            ) from error
        self._number += 1

    def close(self) -> None:
        """Give the file and its lock up; safe to repeat."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            self.close()

    def _lock(self) -> None:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "another hicra process is asking about this file now", where=str(self.path), fix="End it first"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # a file system without locks: asking works there
                raise

    def _mend(self) -> None:
        """End the file with a line feed: complete a line that lacks only that, cut off one that is torn."""
        assert self._descriptor is not None
        raw = self.path.read_bytes()
        last = raw[raw.rfind(b"\n") + 1 :]
        if not last:
            return
        if _is_object(last):
            os.write(self._descriptor, b"\n")
        else:
            os.ftruncate(self._descriptor, len(raw) - len(last))
            self.cut = last.decode("utf-8", "replace")
        os.fsync(self._descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if is_new:
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)  # the file's name, too, survives a power cut
            finally:
                os.close(folder)
    except OSError as error:
        raise RunError(
            f"answers cannot be kept here: {error.strerror}", where=str(path), fix="Make the folder writable"
        ) from error
    return descriptor


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode()), dict)
    except (ValueError, RecursionError):
        return False
