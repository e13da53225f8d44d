"""A person's decisions about grams: JSON lines {gram, decision: accept|reject, move?, reason?}."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from hicra_cli.core.errors import DataError, RunError
from hicra_cli.core.records import Move
from hicra_cli.grams.jsonl import json_lines
from hicra_cli.text.words import normalise_gram

FIELDS = frozenset({"gram", "decision", "move", "reason"})


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


def read_decisions(path: Path) -> dict[str, Decision]:
    """The decisions of a file by normalised gram. Raises DataError at `file:line`, also for contradictions."""
    return merge_decisions((_decision(row, where=where), where) for where, row in json_lines(path))


def append_decision(path: Path, decision: Decision) -> None:
    """Add a line to a decisions file, made where it is missing; on disk when this returns. Raises RunError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(json.dumps(decision.to_row(), ensure_ascii=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise RunError(
            f"the decision about `{decision.gram}` could not be kept: {error.strerror}", where=str(path)
        ) from error


def merge_decisions(found: Iterable[tuple[Decision, str]]) -> dict[str, Decision]:
    """By gram; the same decision twice is one, two different ones about a gram are refused."""
    merged: dict[str, tuple[Decision, str]] = {}
    for decision, where in found:
        earlier, earlier_where = merged.setdefault(decision.gram, (decision, where))
        if (earlier.verdict, earlier.move) != (decision.verdict, decision.move):
            raise DataError(
                f"`{decision.gram}` is decided in two ways: {_words(earlier)} at {earlier_where}, "
                f"{_words(decision)} here",
                where=where,
                fix="Keep one of the two lines",
            )
    return {gram: decision for gram, (decision, _) in merged.items()}


def _words(decision: Decision) -> str:
    return decision.verdict if decision.move is None else f"{decision.verdict} as {decision.move}"


def _decision(row: dict[str, Any], *, where: str) -> Decision:
    if unknown := sorted(set(row) - FIELDS):
        raise DataError(f"unknown field {unknown[0]!r}", where=where, fix=f"Known: {', '.join(sorted(FIELDS))}")
    gram, verdict, move, reason = row.get("gram"), row.get("decision"), row.get("move"), row.get("reason")
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
