"""A person's decisions about grams, from a file: JSON lines, CSV or YAML with the fields gram, decision, move, reason.

A file written by hand decides each gram once: two different decisions are refused with both places. A journal is
written by the interview; its lines say so by `answer`, their running number. There the last line about a gram wins,
`undo` takes the last one back and `note` keeps a remark about a gram that is not decided yet. One file may hold both:
what an interview appends to a file written by hand stands above it.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from hicra_cli.config.yaml_file import read_yaml
from hicra_cli.core.errors import ConfigError, DataError
from hicra_cli.core.records import Move
from hicra_cli.grams.jsonl import json_lines
from hicra_cli.text.words import normalise_gram

FIELDS = ("gram", "decision", "move", "reason")
ANSWER = "answer"  # the field that makes a line one of a journal
_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True, slots=True)
class Decision:
    """`move`: None keeps the annotator's move."""

    gram: str
    verdict: Literal["accept", "reject"]
    move: Move | None = None
    reason: str = ""

    def to_row(self) -> dict[str, Any]:
        """The line of a decisions file."""
        row: dict[str, Any] = {"gram": self.gram, "decision": self.verdict, "reason": self.reason}
        return row if self.move is None else {**row, "move": self.move.value}


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a journal that stands. decision: None is a note about a gram that was not decided then."""

    gram: str
    decision: Decision | None
    note: str


def read_decisions(path: Path) -> dict[str, Decision]:
    """The decisions of a file by normalised gram. Raises DataError at `file:line`, also for contradictions.

    A last line that a crash left half written is passed over in a journal; elsewhere it is an error.
    """
    by_hand, entries = split_rows(_rows(path))
    return by_hand | {each.gram: each.decision for each in entries if each.decision is not None}


def split_rows(rows: Iterable[tuple[str, dict[str, Any]]]) -> tuple[dict[str, Decision], list[Entry]]:
    """What was written by hand, and the journal's standing entries in order. rows: (`file:line`, row)."""
    by_hand: list[tuple[Decision, str]] = []
    entries: list[Entry] = []
    for where, row in rows:
        if ANSWER in row:
            _replay(row, entries, where=where)
            continue
        decision = _decision(row, where=where)
        later = next(
            (each.decision for each in reversed(entries) if each.gram == decision.gram and each.decision), None
        )
        if later is not None and _content(later) != _content(decision):
            raise _contradiction(decision, f"{_words(later)} by an answer above", where=where)
        by_hand.append((decision, where))
    return merge_decisions(by_hand), entries


def merge_decisions(found: Iterable[tuple[Decision, str]]) -> dict[str, Decision]:
    """By gram; the same decision twice is one, two different ones about a gram are refused."""
    merged: dict[str, tuple[Decision, str]] = {}
    for decision, where in found:
        earlier, earlier_where = merged.setdefault(decision.gram, (decision, where))
        if _content(earlier) != _content(decision):
            raise _contradiction(decision, f"{_words(earlier)} at {earlier_where}", where=where)
    return {gram: decision for gram, (decision, _) in merged.items()}


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(`file:line`, row) by the file's ending; no ending (a pipe) is JSON lines."""
    name = path.with_suffix("") if path.suffix in _COMPRESSED else path
    ending = name.suffix.lower()
    if ending in (".jsonl", ".ndjson", ""):
        yield from _jsonl_rows(path)
    elif name is path and ending in (".csv", ".tsv"):
        yield from _csv_rows(path)
    elif name is path and ending in (".yaml", ".yml"):
        yield from _yaml_rows(path)
    else:
        raise DataError(f"decisions are no {ending} file", where=str(path), fix="Give a .jsonl, .csv, .tsv or .yaml")


def _jsonl_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    is_journal = False
    try:
        for where, row in json_lines(path):
            is_journal = is_journal or ANSWER in row
            yield where, row
    except DataError as error:
        if not is_journal or error.where != _torn_line(path):
            raise


def _torn_line(path: Path) -> str | None:
    """`file:line` of a last line without its line feed, None where the file ends with one."""
    if path.suffix in _COMPRESSED:
        return None
    raw = path.read_bytes()
    return None if raw.endswith(b"\n") else f"{path}:{raw.count(10) + 1}"


def _csv_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A header names the fields in any order; commas, semicolons or tabs part the cells; empty ones are absent."""
    text = _text(path)
    header = text.partition("\n")[0]
    separator = next((each for each in "\t;" if each in header), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: list[str] | None = None
    while True:
        first_line = reader.line_num + 1
        where = f"{path}:{first_line}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise DataError(f"the line is no CSV: {error}", where=where) from error
        if cells is None:
            break
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = _header(cells, where=where)
            continue
        if len(cells) > len(names):
            raise DataError(
                f"{len(cells)} cells under {len(names)} columns", where=where, fix="Quote a text that holds a separator"
            )
        yield where, {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
    if names is None:
        raise DataError("the file is empty", where=str(path), fix=f"Begin it with {','.join(FIELDS)}")


def _header(cells: list[str], *, where: str) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    missing = [name for name in ("gram", "decision") if name not in names]
    fix = f"The first line names the columns: {','.join(FIELDS)}"
    if missing:
        raise DataError(f"column `{missing[0]}` is missing", where=where, fix=fix)
    if doubled := [name for at, name in enumerate(names) if name in names[:at]]:
        raise DataError(f"column {doubled[0]!r} occurs twice", where=where, fix=fix)
    if unknown := [name for name in names if name not in FIELDS]:
        raise DataError(f"unknown column {unknown[0]!r}", where=where, fix=fix)
    return names


def _yaml_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """A list of mappings."""
    try:
        document = read_yaml(path)
    except ConfigError as error:
        raise DataError(error.what, where=error.where, fix=error.fix) from error
    listed = document.value
    if not isinstance(listed, list):
        raise DataError(
            "a list of decisions is needed",
            where=document.where(),
            fix="Write `- {gram: let me check, decision: accept}`",
        )
    for at, row in enumerate(listed):
        if not isinstance(row, dict):
            raise DataError(f"a decision is {type(row).__name__}, a mapping is needed", where=document.where(at))
        if ANSWER in row:
            raise DataError(f"unknown field {ANSWER!r}", where=document.where(at), fix=f"Known: {', '.join(FIELDS)}")
        yield document.where(at), row


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be opened: {error.strerror}", where=str(path), fix="Check the path") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"the line is not UTF-8: {error.reason}", where=f"{path}:{line}") from error


def _replay(row: dict[str, Any], entries: list[Entry], *, where: str) -> None:
    """Apply a line of a journal to the entries that stand so far."""
    verdict = row.get("decision")
    if verdict not in ("undo", "note"):
        decision = _decision(row, where=where)
        entries.append(Entry(decision.gram, decision, decision.reason))
        return
    gram, reason = row.get("gram"), row.get("reason", "")
    if not isinstance(gram, str) or not isinstance(reason, str):
        raise DataError("`gram` and `reason` of an answer are texts", where=where)
    if verdict == "note":
        entries.append(Entry(gram, None, reason))
    elif entries and entries[-1].gram == gram:
        entries.pop()
    else:
        last = f"it is about `{entries[-1].gram}`" if entries else "there is none"
        raise DataError(
            f"this takes back the last answer about `{gram}`, but {last}", where=where, fix="Remove the line"
        )


def _decision(row: dict[str, Any], *, where: str) -> Decision:
    if unknown := sorted(set(row) - {*FIELDS, ANSWER}):
        raise DataError(f"unknown field {unknown[0]!r}", where=where, fix=f"Known: {', '.join(FIELDS)}")
    gram, verdict, move, reason = (row.get(name) for name in FIELDS)
    if not isinstance(gram, str):
        raise DataError("field `gram` is missing or no text", where=where)
    if verdict not in ("accept", "reject"):
        raise DataError(f"field `decision` is {verdict!r}, it must be accept or reject", where=where)
    if move is not None and move not in set(Move):
        known = ", ".join(each.value for each in Move)
        raise DataError(f"field `move` is {move!r}", where=where, fix=f"Known moves: {known}; or leave it out")
    if reason is not None and not isinstance(reason, str):
        raise DataError("field `reason` is no text", where=where)
    try:
        words = normalise_gram(gram)
    except DataError as error:
        raise DataError(error.what, where=where, fix=error.fix) from error
    return Decision(
        " ".join(words), cast(Literal["accept", "reject"], verdict), Move(move) if move else None, reason or ""
    )


def _contradiction(decision: Decision, earlier: str, *, where: str) -> DataError:
    return DataError(
        f"`{decision.gram}` is decided in two ways: {earlier}, {_words(decision)} here",
        where=where,
        fix="Keep one of the two lines",
    )


def _content(decision: Decision) -> tuple[str, Move | None]:
    return decision.verdict, decision.move


def _words(decision: Decision) -> str:
    return decision.verdict if decision.move is None else f"{decision.verdict} as {decision.move}"
