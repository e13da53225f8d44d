"""Samples of an evaluation while it runs: appended one by one, found again after a crash, written in order at the end.

`sampled.jsonl` in the draft holds what an engine gave, in the order it came; grading needs no model and is repeated.
The published `samples.jsonl` is in the order of benchmarks, questions and samples, so its bytes do not tell whether the
run was interrupted.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hicra_cli.core.filesystem import storage_errors

SAMPLED = "sampled.jsonl"
SAMPLES = "samples.jsonl"

Row = dict[str, Any]
Key = tuple[str, str, int]


class SampledFile:
    """The append-only file of a draft. Opening it reads what an earlier attempt left.

    rows: by (benchmark, question, sample). torn: whether a last line without its end was cut off: that sample is
    drawn again.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / SAMPLED
        self.rows: dict[Key, Row] = {}
        with storage_errors("keeping samples", folder):
            self.torn = _cut_torn_line(self.path)
            for row in _lines(self.path):
                self.rows[key_of(row)] = row
            self._stream = self.path.open("a", encoding="utf-8")

    def add(self, row: Row) -> None:
        """Keep a sample: after this call it survives the end of the process."""
        with storage_errors("keeping samples", self.path.parent):
            self._stream.write(to_line(row))
            self._stream.flush()
        self.rows[key_of(row)] = row

    def close(self) -> None:
        """Close the file; what it holds stays."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def key_of(row: Mapping[str, Any]) -> Key:
    """What names a sample."""
    return str(row["bench"]), str(row["question"]), int(row["sample"])


def to_line(row: Mapping[str, Any]) -> str:
    """One line of JSON, in the row's own order of fields. A lone surrogate in a model's text is escaped, not lost."""
    return json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n"


def write_samples(folder: Path, rows: Iterable[Row]) -> None:
    """Write `samples.jsonl` and only then drop the working file: a crash in between loses nothing."""
    scratch = folder / f"{SAMPLES}.unfinished"
    with storage_errors("writing samples", folder):
        with scratch.open("w", encoding="utf-8") as stream:
            stream.writelines(to_line(row) for row in rows)
        os.replace(scratch, folder / SAMPLES)
        (folder / SAMPLED).unlink(missing_ok=True)


def _lines(path: Path) -> Iterator[Row]:
    if path.exists():
        with path.open(encoding="utf-8") as stream:
            yield from (json.loads(line) for line in stream)


def _cut_torn_line(path: Path) -> bool:
    """Cut what follows the last line end; whether there was anything."""
    if not path.exists():
        return False
    with path.open("rb+") as stream:
        content = stream.read()
        whole = content.rfind(b"\n") + 1
        stream.truncate(whole)
    return whole < len(content)
