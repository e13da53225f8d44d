"""Rewards by a user's function: one verdict per response, whatever the function does, and an end where it fails often.

No failure is silently a 0: a call that hangs is `timeout`, one that raises, ends its process or returns no number is
`error`, both with reward 0 and a detail that says where; past `max_failed_fraction` the run stops.
"""

import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.errors import ConfigError, HicraError, RunError
from hicra_cli.core.records import Outcome, Verdict
from hicra_cli.grading.function_worker import OUT_OF_MEMORY
from hicra_cli.grading.functions import RewardFunction, find_function
from hicra_cli.grading.workers import START_LIMIT_S, Answer, Lost, Program, WorkerPool, WorkersDoNotStart

FEWEST_JUDGED = 20
SHOWN_FAILURES = 3
_GIB = 1 << 30
_FAILED = (Outcome.TIMEOUT, Outcome.ERROR)


@dataclass(frozen=True, slots=True)
class RewardCall:
    """What the function is told of one response (see `functions.py`); `name` stands for it in messages."""

    name: str
    prompt: str
    response: str
    answer: str
    truncated: bool
    metadata: Mapping[str, Any] = field(default_factory=dict)


class RewardPool:
    """Worker processes that call the function of `task.reward`. A context manager.

    Entering starts a worker, so that a function that cannot be imported or called is a ConfigError before anything is
    sampled. Several threads may call; their lists are judged one after the other.
    """

    def __init__(self, task: TaskConfig) -> None:
        assert task.reward is not None
        self._function = find_function(task.reward)
        self._digest = self._function.digest()
        self._task = task
        self._started = False
        self._crew = WorkerPool(
            _program(self._function, task.reward_memory_gib),
            workers=task.grader_workers,
            cpu_s=task.grader_timeout_s,
            wall_s=max(task.reward_deadline_s, task.grader_timeout_s),
            welcome=self._welcome,
        )
        self._judged = 0
        self._failures: list[str] = []
        self._lock = threading.Lock()

    def verdicts(self, calls: Sequence[RewardCall]) -> list[Verdict]:
        """One per call, in order. Raises RunError as soon as it is certain that too many failed."""
        with self._lock:
            return self._judge(calls)

    def close(self) -> None:
        """End the workers; harmless when repeated."""
        self._crew.close()

    def __enter__(self) -> Self:
        try:
            self._crew.start()
        except WorkersDoNotStart as failure:
            raise self._no_worker(failure) from failure
        self._started = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _judge(self, calls: Sequence[RewardCall]) -> list[Verdict]:
        total = self._judged + len(calls)
        verdicts: dict[int, Verdict] = {}

        def heard(place: int, answer: Answer) -> None:
            verdicts[place] = self._verdict(answer)
            if verdicts[place].outcome in _FAILED:
                self._failures.append(f"{calls[place].name}: {verdicts[place].outcome}: {verdicts[place].detail}")
                if total >= FEWEST_JUDGED and len(self._failures) > self._task.max_failed_fraction * total:
                    raise self._too_many(total)

        try:
            self._crew.answers([_request(call) for call in calls], heard=heard)
        except WorkersDoNotStart as failure:
            raise self._no_worker(failure) from failure
        self._judged = total
        if total >= FEWEST_JUDGED:  # smaller batches are judged together
            self._judged, self._failures = 0, []
        return [verdicts[place] for place in range(len(calls))]

    def _verdict(self, answer: Answer) -> Verdict:
        if isinstance(answer, Lost):
            return _lost(answer, self._task)
        if "error" in answer:
            return Verdict(0.0, Outcome.ERROR, detail=answer["error"])
        return Verdict(answer["reward"], Outcome(answer["outcome"]), detail=answer["detail"])

    def _welcome(self, message: dict[str, Any]) -> None:
        """A worker's first word: a fault, or the digest of the source it runs."""
        if "fault" in message:
            raise self._refusal(message["fault"], message["where"])
        if message["digest"] != self._digest:
            raise RunError(
                "the reward function's file was changed while the run goes on",
                where=str(self._function.path),
                fix="Put the old file back and resume, or start a new run",
            )

    def _too_many(self, total: int) -> RunError:
        shown = "; ".join(self._failures[:SHOWN_FAILURES])
        return RunError(
            f"the reward function failed on {len(self._failures)} of {total} responses, more than "
            f"task.max_failed_fraction {self._task.max_failed_fraction:g} allows: {shown}",
            where=str(self._function.path),
            fix="Correct the function, or raise task.max_failed_fraction",
        )

    def _no_worker(self, failure: WorkersDoNotStart) -> HicraError:
        if failure.late:
            return self._refusal(f"importing it takes more than {START_LIMIT_S:g} s", str(self._function.path))
        what = f"importing it ends the process (status {failure.status})"
        return self._refusal(what, str(self._function.path))

    def _refusal(self, what: str, where: str | None) -> HicraError:
        """Wrong configuration at the start; later, when it has worked before, a failure of the run."""
        kind = RunError if self._started else ConfigError
        fix = "Correct it, or change task.reward; `hicra_cli.grading.functions` says what is called and what comes back"
        return kind(f"the reward function {self._function.text}: {what}", where=where, fix=fix)


def failure_summary(verdicts: Sequence[Verdict]) -> str | None:
    """How many verdicts are `timeout` or `error` and the commonest reasons, for a warning; None where none are."""
    reasons = Counter(f"{each.outcome}: {each.detail}" for each in verdicts if each.outcome in _FAILED)
    if not reasons:
        return None
    shown = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(SHOWN_FAILURES))
    return f"{reasons.total()} of {len(verdicts)} responses could not be judged and count as reward 0: {shown}"


def _program(function: RewardFunction, memory_gib: float | None) -> Program:
    # The user's own environment: a reward may ask a service and need its key. Hashes are fixed, because a reward that
    # depends on the order of a set would differ from run to run.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    options = {
        "function": {"module": function.module, "name": function.name, "path": str(function.path)},
        "memory_bytes": None if memory_gib is None else int(memory_gib * _GIB),
    }
    return Program("hicra_cli.grading.function_worker", options, environment)


def _request(call: RewardCall) -> dict[str, Any]:
    return {
        "prompt": call.prompt,
        "response": call.response,
        "answer": call.answer,
        "metadata": dict(call.metadata),
        "truncated": call.truncated,
    }


def _lost(lost: Lost, task: TaskConfig) -> Verdict:
    match lost.why:
        case "cpu":
            detail = f"took more than {task.grader_timeout_s:g} s of processor time (task.grader_timeout_s)"
            return Verdict(0.0, Outcome.TIMEOUT, detail=detail)
        case "clock":
            detail = f"took more than {task.reward_deadline_s:g} s (task.reward_deadline_s)"
            return Verdict(0.0, Outcome.TIMEOUT, detail=detail)
        case "death":
            memory = f"needs more memory than {task.reward_memory_gib} GiB (task.reward_memory_gib)"
            ended = f"ended its process, twice (status {lost.status})"
            return Verdict(0.0, Outcome.ERROR, detail=memory if lost.status == OUT_OF_MEMORY else ended)
