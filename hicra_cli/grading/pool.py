"""Grading many responses: exact forms here, algebra in worker processes that can be killed (see `workers.py`).

A worker is started when the first answer needs one, without this process's environment: hostile text is parsed there.
Every item gets one verdict, in order, whatever its text holds; only workers that do not start at all are a failure.
"""

import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from hicra_cli.core.errors import RunError
from hicra_cli.core.records import Outcome, Verdict
from hicra_cli.grading.boxed import find_boxed, last_box
from hicra_cli.grading.equivalence import equal, is_sentence, over_limit
from hicra_cli.grading.lenient import lenient_answer
from hicra_cli.grading.memory import Judgement, KnownPairs, Pair
from hicra_cli.grading.verdict_file import VerdictFile
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
KEPT_ANSWER = 500
MEMORY_MIB = 1024

Gold = str | Sequence[str]
Item = tuple[str, Gold, bool]
Mode = Literal["strict", "lenient"]

# What is true of a pair under any bounds on time and memory, so that another process may rely on it.
_DECIDED = (Outcome.CORRECT, Outcome.WRONG, Outcome.UNPARSABLE)
# Of several golds the first of these that occurs: an answer that one gold could be compared with is readable.
_BY_WEIGHT = (
    Outcome.CORRECT, Outcome.TIMEOUT, Outcome.ERROR, Outcome.OVER_LIMIT, Outcome.WRONG, Outcome.UNPARSABLE
)  # fmt: skip


class GradingPool:
    """Grades lists of responses in order. A context manager: it may hold `workers` processes.

    timeout_s: CPU seconds that one comparison may cost; beyond, its outcome is `timeout`. memory_mib: what a worker may
    take above its libraries. cache: a file that keeps what algebra decided, shared by any number of processes.
    Comparisons are also remembered in memory. Several threads may call; only algebra is done one list after the other.
    """

    def __init__(
        self, *, workers: int = 1, timeout_s: float = 5.0, memory_mib: int = MEMORY_MIB, cache: Path | None = None
    ) -> None:
        options = {"memory_bytes": memory_mib << 20}
        program = Program("hicra_cli.grading.worker", options, environment=minimal_environment())
        self._crew = WorkerPool(program, workers=workers, cpu_s=timeout_s, wall_s=WALL_FACTOR * timeout_s)
        self._timeout_s = timeout_s
        self._known = KnownPairs()
        self._file = None if cache is None else VerdictFile(cache)
        self._lock = threading.Lock()

    def grade_many(self, items: Sequence[Item], *, mode: Mode = "strict") -> list[Verdict]:
        """One verdict per (response, gold or golds, truncated), in order.

        Several golds are alternatives: one match suffices. Raises RunError where workers cannot be started at all.
        """
        draft = _strict if mode == "strict" else _lenient
        return self._verdicts([draft(*item) for item in items])

    def grade_both(self, items: Sequence[Item]) -> list[tuple[Verdict, Verdict]]:
        """The strict and the lenient verdict of each item; the same one where strict extraction found an answer."""
        strict = [_strict(*item) for item in items]
        lenient = [
            draft if draft.answer is not None else _lenient(*item) for draft, item in zip(strict, items, strict=True)
        ]
        verdicts = self._verdicts([*strict, *lenient])
        return list(zip(verdicts[: len(items)], verdicts[len(items) :], strict=True))

    def grade_answers(self, pairs: Sequence[tuple[str, Gold]]) -> list[Verdict]:
        """One verdict per (answer, gold or golds): the answer stands alone, without a response around it."""
        return self._verdicts([_bare(answer, gold) for answer, gold in pairs])

    @property
    def cache_fault(self) -> str | None:
        """Why the cache file is not used any more, or None."""
        return None if self._file is None else self._file.fault

    def close(self) -> None:
        """End the workers; harmless when repeated, and the next grading starts new ones."""
        self._crew.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _verdicts(self, drafts: "Sequence[_Draft]") -> list[Verdict]:
        pairs = {pair: self._exactly(pair) for draft in drafts for pair in draft.pairs}
        undecided = dict.fromkeys(
            pair
            for draft in drafts
            if not any(_is_correct(pairs[pair]) for pair in draft.pairs)
            for pair in draft.pairs
            if pairs[pair] is None
        )
        if undecided:
            pairs.update(self._by_algebra(list(undecided)))
        return [
            _conclude(draft, [each for pair in draft.pairs if (each := pairs[pair]) is not None]) for draft in drafts
        ]

    def _exactly(self, pair: Pair) -> Judgement | None:
        """What is known or can be decided without algebra."""
        known = self._known.get(pair)
        if known is None and (known := _compare_exactly(pair)) is not None:
            self._known.add(pair, known)
        return known

    def _by_algebra(self, pairs: list[Pair]) -> dict[Pair, Judgement]:
        with self._lock:
            found = {} if self._file is None else self._file.read(pairs)
            fresh = self._ask_workers([pair for pair in pairs if pair not in found])
            if self._file is not None:
                self._file.write({pair: each for pair, each in fresh.items() if each.outcome in _DECIDED})
        for pair, judgement in (found | fresh).items():
            if judgement.lasting:
                self._known.add(pair, judgement)
        return found | fresh

    def _ask_workers(self, pairs: list[Pair]) -> dict[Pair, Judgement]:
        if not pairs:
            return {}
        try:
            answers = self._crew.answers([{"answer": pair.answer, "gold": pair.gold} for pair in pairs])
        except WorkersDoNotStart as failure:
            raise RunError(
                f"grading workers do not start (status {failure.status}, {MAX_STARTS} attempts)",
                fix=f"{sys.executable} -c 'import math_verify' shows why",
            ) from failure
        return {pair: self._judge(answer) for pair, answer in zip(pairs, answers, strict=True)}

    def _judge(self, answer: Answer) -> Judgement:
        if isinstance(answer, Lost):
            return self._lost(answer)
        if "error" in answer:
            return Judgement(Outcome.ERROR, f"comparing failed: {answer['error']}")
        if answer["equal"] is None:
            return _NO_FORMULA
        return Judgement(Outcome.CORRECT if answer["equal"] else Outcome.WRONG)

    def _lost(self, lost: Lost) -> Judgement:
        """Only the CPU clock says something about the pair: a death or a stopped machine may not happen again."""
        if lost.why == "death":
            return Judgement(Outcome.ERROR, f"two grading workers ended on it (status {lost.status})", lasting=False)
        detail = f"comparing took longer than {self._timeout_s:g} s"
        return Judgement(Outcome.TIMEOUT, detail, lasting=lost.why == "cpu")


_NO_FORMULA = Judgement(Outcome.UNPARSABLE, "no formula that can be read; compared as text")


@dataclass(frozen=True, slots=True)
class _Draft:
    """An extracted answer with the pairs that decide it; without an answer the verdict. rule: said in the detail."""

    answer: str | None
    pairs: tuple[Pair, ...] = ()
    absent: Verdict | None = None
    rule: str = ""


def _strict(response: str, gold: Gold, truncated: bool) -> _Draft:
    boxed = find_boxed(response)
    if boxed.answer is not None:
        return _answered(boxed.answer, gold)
    if boxed.closed:
        return _absent(Outcome.NO_ANSWER, "the last box is empty")
    if truncated:
        return _absent(
            Outcome.TRUNCATED, "the token limit came " + ("inside a box" if boxed.opened else "before a box")
        )
    if boxed.opened:
        return _absent(Outcome.UNCLOSED, "a box was opened and never closed")
    return _absent(Outcome.NO_ANSWER, "no \\boxed{...}")


def _lenient(response: str, gold: Gold, truncated: bool) -> _Draft:
    found = lenient_answer(response)
    if found is not None:
        return _answered(found.answer, gold, rule="" if found.rule == "box" else f"lenient: found by {found.rule}")
    return _absent(Outcome.TRUNCATED if truncated else Outcome.NO_ANSWER, "nothing that looks like an answer")


def _bare(answer: str, gold: Gold) -> _Draft:
    answer = (last_box(answer) or answer).strip()
    return _answered(answer, gold) if answer else _absent(Outcome.NO_ANSWER, "the answer is empty")


def _answered(answer: str, gold: Gold, *, rule: str = "") -> _Draft:
    golds = [(last_box(each) or each).strip() for each in _listed(gold)]
    if not any(golds):
        return _Draft(answer, absent=Verdict(0.0, Outcome.ERROR, answer[:KEPT_ANSWER], "there is no gold answer"))
    return _Draft(answer, tuple(Pair(answer, each) for each in golds if each), rule=rule)


def _listed(gold: Gold) -> Iterable[str]:
    return (gold,) if isinstance(gold, str) else gold


def _absent(outcome: Outcome, detail: str) -> _Draft:
    return _Draft(None, absent=Verdict(0.0, outcome, None, detail))


def _compare_exactly(pair: Pair) -> Judgement | None:
    """The judgement of exact forms; None where algebra has to decide. Never raises."""
    for text, name in ((pair.answer, "answer"), (pair.gold, "gold")):
        if (excess := over_limit(text)) is not None:
            if pair.answer == pair.gold:
                return Judgement(Outcome.CORRECT)
            return Judgement(Outcome.OVER_LIMIT, f"the {name} is not compared: {excess}")
    try:
        equality = equal(pair.answer, pair.gold)
    except Exception as error:  # noqa: BLE001 - a fault of ours on a model's text is one verdict, not the end of a run
        return Judgement(Outcome.ERROR, f"comparing failed: {type(error).__name__}: {str(error)[:200]}")
    if equality is not None:
        return Judgement(Outcome.CORRECT if equality else Outcome.WRONG)
    return _NO_FORMULA if is_sentence(pair.answer) or is_sentence(pair.gold) else None  # algebra reads no prose


def _is_correct(judgement: Judgement | None) -> bool:
    return judgement is not None and judgement.outcome is Outcome.CORRECT


def _conclude(draft: _Draft, judgements: Sequence[Judgement]) -> Verdict:
    """Right if any gold matches; else the outcome that weighs most."""
    if draft.absent is not None or draft.answer is None:
        assert draft.absent is not None
        return draft.absent
    weightiest = min(judgements, key=lambda each: _BY_WEIGHT.index(each.outcome))
    detail = "; ".join(part for part in (draft.rule, weightiest.detail) if part)
    reward = 1.0 if weightiest.outcome is Outcome.CORRECT else 0.0
    return Verdict(reward, weightiest.outcome, draft.answer[:KEPT_ANSWER], detail)
