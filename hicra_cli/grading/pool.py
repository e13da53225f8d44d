"""Grading many responses: exact forms here, algebra in worker processes that can be killed (see `workers.py`).

A worker is started when the first answer needs one, without this process's environment: hostile text is parsed there.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from hicra_cli.core.errors import RunError
from hicra_cli.core.records import Outcome, Verdict
from hicra_cli.grading.boxed import final_answer
from hicra_cli.grading.equivalence import equal, over_limit
from hicra_cli.grading.workers import (
    MAX_STARTS,
    Answer,
    Lost,
    Program,
    WorkerPool,
    WorkersDoNotStart,
    minimal_environment,
)

WALL_FACTOR = 12.0  # a worker that gets less than 1/12 of a core, or sleeps, is killed all the same
CACHE_SIZE = 65_536
KEPT_ANSWER = 500

Gold = str | Sequence[str]
Item = tuple[str, Gold, bool]


@dataclass(frozen=True, slots=True)
class _Pair:
    """One comparison for a worker: the cache key and the unit of work."""

    answer: str
    gold: str


@dataclass(frozen=True, slots=True)
class _Judgement:
    """What is known of a pair."""

    outcome: Outcome
    detail: str = ""


class GradingPool:
    """Grades lists of responses in order. A context manager: it may hold `workers` processes.

    timeout_s: CPU seconds that one comparison may cost; beyond, its outcome is `timeout`. Equal comparisons are
    remembered. Several threads may call; their lists are graded one after the other.
    """

    def __init__(self, *, workers: int = 1, timeout_s: float = 5.0) -> None:
        program = Program("hicra_cli.grading.worker", environment=minimal_environment())
        self._crew = WorkerPool(program, workers=workers, cpu_s=timeout_s, wall_s=WALL_FACTOR * timeout_s)
        self._timeout_s = timeout_s
        self._known: OrderedDict[_Pair, _Judgement] = OrderedDict()
        self._lock = threading.Lock()

    def grade_many(self, items: Sequence[Item]) -> list[Verdict]:
        """One verdict per (response, gold or golds, truncated), in order, whatever the responses hold.

        Several golds are alternatives: one match suffices. Raises RunError where workers cannot be started at all.
        """
        with self._lock:
            drafts = [_draft(*item) for item in items]
            undecided = OrderedDict.fromkeys(
                pair for draft in drafts for pair in draft.pairs if pair not in self._known
            )
            found = self._compare(list(undecided)) if undecided else {}
            verdicts = [_conclude(draft, self._known | found if found else self._known) for draft in drafts]
            self._remember(found)
            return verdicts

    def close(self) -> None:
        """End the workers; harmless when repeated, and the next grading starts new ones."""
        self._crew.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _remember(self, found: dict[_Pair, _Judgement]) -> None:
        """Keep certain results; a timeout is no property of the pair alone and is tried again."""
        self._known.update((pair, known) for pair, known in found.items() if known.outcome is not Outcome.TIMEOUT)
        while len(self._known) > CACHE_SIZE:
            self._known.popitem(last=False)

    def _compare(self, pairs: list[_Pair]) -> dict[_Pair, _Judgement]:
        """Have the workers judge pairs that exact forms do not decide."""
        try:
            answers = self._crew.answers([{"answer": pair.answer, "gold": pair.gold} for pair in pairs])
        except WorkersDoNotStart as failure:
            raise RunError(
                f"grading workers do not start (status {failure.status}, {MAX_STARTS} attempts)",
                fix=f"{sys.executable} -c 'import math_verify' shows why",
            ) from failure
        return {pair: self._judge(answer) for pair, answer in zip(pairs, answers, strict=True)}

    def _judge(self, answer: Answer) -> _Judgement:
        if isinstance(answer, Lost):
            if answer.why == "death":
                return _Judgement(Outcome.ERROR, f"two grading workers ended on it (status {answer.status})")
            return _Judgement(Outcome.TIMEOUT, f"comparing took longer than {self._timeout_s:g} s")
        if "error" in answer:
            return _Judgement(Outcome.ERROR, f"comparing failed: {answer['error']}")
        if answer["equal"] is None:
            return _Judgement(Outcome.WRONG, "no formula that can be read; compared as text")
        return _Judgement(Outcome.CORRECT if answer["equal"] else Outcome.WRONG)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A verdict, or the pairs that decide it."""

    verdict: Verdict
    pairs: tuple[_Pair, ...] = field(default=())


def _draft(response: str, gold: Gold, truncated: bool) -> _Draft:
    """Everything that needs no algebra."""
    answer = final_answer(response)
    if answer is None:
        outcome = Outcome.TRUNCATED if truncated else Outcome.NO_ANSWER
        return _Draft(Verdict(0.0, outcome, None, "no complete \\boxed{...}"))
    kept = answer[:KEPT_ANSWER]
    golds = (gold,) if isinstance(gold, str) else tuple(gold)
    excess = over_limit(answer)
    if excess is not None:
        if any(answer == one for one in golds):
            return _Draft(Verdict(1.0, Outcome.CORRECT, kept))
        return _Draft(Verdict(0.0, Outcome.ERROR, kept, f"the answer is not compared: {excess}"))
    equalities = {one: equal(answer, one) if over_limit(one) is None else answer == one.strip() for one in golds}
    if True in equalities.values():
        return _Draft(Verdict(1.0, Outcome.CORRECT, kept))
    pairs = tuple(_Pair(answer, one) for one, equality in equalities.items() if equality is None)
    return _Draft(Verdict(0.0, Outcome.WRONG, kept), pairs)


def _conclude(draft: _Draft, known: "dict[_Pair, _Judgement]") -> Verdict:
    """Right if any gold matches; else the first gold that could not be compared properly gives the outcome."""
    judgements = [known[pair] for pair in draft.pairs]
    for outcome in (Outcome.CORRECT, Outcome.TIMEOUT, Outcome.ERROR, Outcome.WRONG):
        for judgement in judgements:
            if judgement.outcome is outcome:
                reward = 1.0 if outcome is Outcome.CORRECT else 0.0
                return Verdict(reward, outcome, draft.verdict.answer, judgement.detail)
    return draft.verdict
