"""Answers of a paid service, kept the moment they arrive: one JSON line per accepted batch, forced to disk.

An item's key names everything that its answer depends on, so a killed run goes on with the missing items only. A
line that was torn by a crash is cut off on opening.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hicra_cli.core.errors import RunError


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said about one item. move: a move's name, `none`, or empty where it was not labelled."""

    move: str
    confidence: float
    reason: str
    model: str


class Ledger:
    """An append-only file of answers. A context manager; `known` holds what was read and what was added."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known, whole_bytes = _read(path)
        self.torn_bytes = (path.stat().st_size if path.exists() else 0) - whole_bytes
        self._file = path.open("ab")
        self._file.truncate(whole_bytes)

    def add(self, answers: Sequence[tuple[str, Answer]]) -> None:
        """Keep the answers of one batch; returns when they are on disk. Raises RunError (disk full …)."""
        line = json.dumps([{"key": key, **asdict(answer)} for key, answer in answers], ensure_ascii=False) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(
                f"an answer could not be kept: {error.strerror}", where=str(self.path), fix="Make room, then --resume"
            ) from error
        self.known.update(answers)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _read(path: Path) -> tuple[dict[str, Answer], int]:
    """All answers of whole lines, and how many bytes these lines have."""
    known: dict[str, Answer] = {}
    whole_bytes = 0
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            known.update((row.pop("key"), Answer(**row)) for row in json.loads(line))
            whole_bytes += len(line)
    return known, whole_bytes
