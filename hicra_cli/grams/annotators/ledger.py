"""Answers of a paid service, kept the moment they arrive: JSON lines, forced to disk before an answer counts.

Lines: `sent` (a request leaves; at worst it costs this), `got` (it came back: what it was billed, and its answers,
empty where they were unusable), `job` (a batch job: written before and after it is submitted, and when it is done). An
item's key names everything that its answer depends on, so a killed run goes on with the missing items only. A `sent`
without `got` was killed in flight: it may have been billed. A line that was torn by a crash is cut off on opening.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import ArtifactError, RunError

from .budget import Spent
from .prices import Usage


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said about one item. move: a move's name, `none`, or empty where it was not labelled."""

    move: str
    confidence: float
    reason: str
    model: str


@dataclass(frozen=True, slots=True)
class Job:
    """A batch job that is not done. name: None where the run was killed while submitting it.

    requests: by id, each request's number in the ledger, what it may cost at worst, and the keys of its items.
    """

    label: str
    name: str | None
    requests: dict[str, tuple[int, float, list[str]]]


class Ledger:
    """An append-only file of answers; `known` holds what was read and what was added.

    Made from a path it can be read only; as a context manager it cuts off a torn line and can be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Answer] = {}
        self._in_flight: dict[str, dict[int, float]] = {}
        self._spent: dict[str, Spent] = {}
        self._jobs: dict[str, dict[str, Job]] = {}
        self._sent = 0
        whole_bytes = self._read()
        self.torn_bytes = (path.stat().st_size if path.exists() else 0) - whole_bytes
        self._whole_bytes = whole_bytes

    def sent(self, by: str, worst_cost: float) -> int:
        """A request leaves; returns its number. Not forced to disk: only a power failure can lose the line."""
        number = self._sent
        self._append({"sent": number, "by": by, "worst": worst_cost}, durable=False)
        return number

    def got(
        self, by: str, number: int, usage: Usage | None, cost: float | None, answers: Sequence[tuple[str, Answer]] = ()
    ) -> None:
        """A request is over, billed `cost` dollars; returns when all is on disk. Raises RunError (disk full …)."""
        billed = [usage.input_tokens, usage.output_tokens] if usage else None
        self._append({"got": number, "by": by, "usage": billed, "cost": cost, "answers": _rows(answers)}, durable=True)

    def keep(self, by: str, answers: Sequence[tuple[str, Answer]]) -> None:
        """Answers that belong to no one request: what stayed unlabelled in the end."""
        self._append({"got": None, "by": by, "answers": _rows(answers)}, durable=True)

    def job(self, by: str, job: Job) -> None:
        """A batch job is about to be submitted, or has got its name."""
        self._append({"job": job.label, "by": by, "name": job.name, "requests": job.requests}, durable=True)

    def job_done(self, by: str, label: str) -> None:
        """Nothing more is expected of a job."""
        self._append({"done": label, "by": by}, durable=True)

    def open_jobs(self, by: str) -> list[Job]:
        """Jobs that were submitted, or perhaps submitted, and not read to the end."""
        return list(self._jobs.get(by, {}).values())

    def is_in_flight(self, by: str, number: int) -> bool:
        """Whether nothing has been heard of a request."""
        return number in self._in_flight.get(by, {})

    def spent(self, by: str) -> Spent:
        """What the asker's requests have cost; those in flight at their worst case."""
        in_flight = sum(self._in_flight.get(by, {}).values())
        spent = self._spent.get(by, Spent())
        return replace(spent, lost_cost=spent.lost_cost + in_flight)

    def __enter__(self) -> "Ledger":
        self._file = self.path.open("ab", buffering=0)
        self._file.truncate(self._whole_bytes)
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def _append(self, row: dict[str, Any], *, durable: bool) -> None:
        # Lone surrogates cannot be written as UTF-8; escaped, they are plain ASCII.
        left = memoryview(json.dumps(row).encode() + b"\n")
        try:
            while left:
                left = left[self._file.write(left) :]
            if durable:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise RunError(
                f"an answer could not be kept: {error.strerror}", where=str(self.path), fix="Make room, then --resume"
            ) from error
        self._take(row)

    def _take(self, row: dict[str, Any]) -> None:
        by = row["by"]
        if "sent" in row:
            self._sent = row["sent"] + 1
            self._in_flight.setdefault(by, {})[row["sent"]] = row["worst"]
            spent = self._spent.get(by, Spent())
            self._spent[by] = replace(spent, requests=spent.requests + 1)
        elif "got" in row:
            if row["got"] is not None:
                self._settle(by, row)
            self.known.update((answer["key"], _answer(answer)) for answer in row["answers"])
        elif "job" in row:
            requests = {name: (int(each[0]), float(each[1]), list(each[2])) for name, each in row["requests"].items()}
            self._jobs.setdefault(by, {})[row["job"]] = Job(row["job"], row["name"], requests)
        else:
            self._jobs.get(by, {}).pop(row["done"], None)

    def _settle(self, by: str, row: dict[str, Any]) -> None:
        worst_cost = self._in_flight.get(by, {}).pop(row["got"], 0.0)
        spent = self._spent.get(by, Spent())
        inputs, outputs = row["usage"] or (0, 0)
        lost = row["usage"] is None and row["cost"] is None
        self._spent[by] = replace(
            spent,
            input_tokens=spent.input_tokens + inputs,
            output_tokens=spent.output_tokens + outputs,
            cost=spent.cost if row["cost"] is None else (spent.cost or 0.0) + row["cost"],
            lost_cost=spent.lost_cost + (worst_cost if lost else 0.0),
        )

    def _read(self) -> int:
        """Take all whole lines; returns how many bytes these lines have."""
        whole_bytes = 0
        if self.path.exists():
            for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True), start=1):
                if not line.endswith(b"\n"):
                    break
                try:
                    self._take(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise ArtifactError(
                        f"this line is none of a ledger of answers ({type(error).__name__})",
                        where=f"{self.path}:{number}",
                        fix="Start the annotation anew, without --resume",
                    ) from error
                whole_bytes += len(line)
        return whole_bytes


def _rows(answers: Sequence[tuple[str, Answer]]) -> list[dict[str, Any]]:
    return [{"key": key, **asdict(answer)} for key, answer in answers]


def _answer(row: dict[str, Any]) -> Answer:
    return Answer(row["move"], row["confidence"], row["reason"], row["model"])
