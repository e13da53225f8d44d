"""Reading a log to be graded: samples and faults in the order of the log, a batch at a time, whatever it holds.

Every line gives at least one entry, an empty line too: what reads the verdicts can count on it. A record of several
responses (lm-eval's repeats, lighteval's samples) gives one entry for each.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import DataError, UsageError
from hicra_cli.grading.log_layouts import Id, Layout, NotGradable, Sample, identity_of, layout_for, samples_of
from hicra_cli.grading.log_lines import RawLine, line_batches, read_from

BATCH = 512
_PARQUET_ROWS = 64


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that cannot be graded, and why."""

    id: Id
    detail: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample or fault with the number of its line (in Parquet its row), from 1."""

    line: int
    content: Sample | Fault


class Written(float):
    """A number of a log that remembers how it is written: as a gold answer `0.10` is a decimal of two places."""

    written: str

    def __new__(cls, text: str) -> "Written":
        made = super().__new__(cls, text)
        made.written = text
        return made


class LogReader:
    """Reads one log. path: None is stdin. The first record that can be read decides the layout where it is `auto`."""

    def __init__(
        self, path: Path | None, *, format_name: str = "auto", fields: Mapping[str, str] | None = None
    ) -> None:
        self._path = path
        self._format = format_name
        self._fields = dict(fields or {})
        layout_for({}, format_name, self._fields)  # an unknown role is refused before anything is read
        self.layout: Layout | None = None

    def batches(self) -> Iterator[list[Entry]]:
        """Entries as they arrive, in order. Raises UsageError for a file that cannot be opened."""
        if self._path is not None and self._path.suffix == ".parquet":
            yield from self._parquet(self._path)
            return
        for lines in line_batches(read_from(self._path), most=BATCH):
            yield [entry for line in lines for entry in self._entries(line)]

    def _entries(self, line: RawLine) -> list[Entry]:
        if line.fault:
            return [Entry(line.number, Fault(None, line.fault))]
        row, fault = _parse(line.content)
        if fault:
            return [Entry(line.number, Fault(identity_of(row, self.layout), fault))]
        return self._row_entries(line.number, row)

    def _row_entries(self, number: int, row: Mapping[str, Any]) -> list[Entry]:
        if self.layout is None:
            self.layout = layout_for(row, self._format, self._fields)
        try:
            return [Entry(number, sample) for sample in samples_of(row, self.layout)]
        except NotGradable as why:
            return [Entry(number, Fault(identity_of(row, self.layout), str(why)))]

    def _parquet(self, path: Path) -> Iterator[list[Entry]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        number = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                    rows = batch.to_pylist()
                    yield [
                        entry for place, row in enumerate(rows, number + 1) for entry in self._row_entries(place, row)
                    ]
                    number += len(rows)
        except (OSError, pa.ArrowException) as error:
            if number == 0:
                raise UsageError(
                    f"cannot be read as Parquet: {error}", where=str(path), fix="Check the file"
                ) from error
            yield [Entry(number + 1, Fault(None, f"the input cannot be read on: {error}"))]


def json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a file of JSON lines, in order. Raises UsageError, DataError for a line that is none."""
    for lines in line_batches(read_from(path), most=BATCH):
        for line in lines:
            row, fault = (None, line.fault) if line.fault else _parse(line.content)
            if fault or row is None:
                raise DataError(fault, where=f"{path}:{line.number}")
            yield row


def _parse(content: bytes) -> tuple[Any, str]:
    """The object of a line, or what can be read of it and why it is no such."""
    if not content.strip():
        return None, "the line is empty"
    try:
        text, fault = content.decode(), ""
    except UnicodeDecodeError as error:
        text, fault = content.decode("utf-8", "replace"), f"the line is not UTF-8: {error.reason} at byte {error.start}"
    try:
        row = json.loads(text, parse_float=Written)
    except json.JSONDecodeError as error:
        return None, fault or f"the line is no JSON: {error.msg} at column {error.colno}"
    except (RecursionError, ValueError) as error:  # nested too deeply; an integer of more than 4300 digits
        return None, fault or f"the line cannot be read as JSON: {type(error).__name__}"
    if not isinstance(row, dict) and not fault:
        fault = f"the line holds no JSON object but {json.dumps(row)[:40]}"
    return row, fault
