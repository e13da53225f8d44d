"""Grading many responses: exact forms here, algebra in worker processes that can be killed.

A worker is started when the first answer needs one. Its clock counts CPU time of the work on one answer (see
`worker.py`), so neither waiting in a queue nor a busy machine turns a right answer into a timeout. Workers are new
interpreters, not forks: safe beside torch's threads, without this process's environment, killed with it.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from hicra_cli.core.errors import RunError
from hicra_cli.core.records import Outcome, Verdict
from hicra_cli.grading.boxed import final_answer
from hicra_cli.grading.equivalence import equal, over_limit

START_LIMIT_S = 120.0
WALL_FACTOR = 12.0  # a worker that gets less than 1/12 of a core, or sleeps, is killed all the same
MAX_STARTS = 3
CACHE_SIZE = 65_536
KEPT_ANSWER = 500

Gold = str | Sequence[str]
Item = tuple[str, Gold, bool]

_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from hicra_cli.grading.worker import main; main()"


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


@dataclass(eq=False, slots=True)
class _Worker:
    """A grading process and what it is doing. `deadline` is wall time by the monotonic clock."""

    process: subprocess.Popen[bytes]
    deadline: float
    ready: bool = False
    pair: _Pair | None = None
    unread: bytes = b""


class GradingPool:
    """Grades lists of responses in order. A context manager: it may hold `workers` processes.

    timeout_s: CPU seconds that one comparison may cost; beyond, its outcome is `timeout`. Equal comparisons are
    remembered. Several threads may call; their lists are graded one after the other.
    """

    def __init__(self, *, workers: int = 1, timeout_s: float = 5.0) -> None:
        self._size = workers
        self._timeout_s = timeout_s
        self._workers: list[_Worker] = []
        self._failed_starts = 0
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
        for worker in self._workers:
            _kill(worker)
        self._workers = []

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
        """Spread pairs over workers, one at a time each, until all are judged."""
        waiting = deque(pairs)
        retried: set[_Pair] = set()
        found: dict[_Pair, _Judgement] = {}
        try:
            while len(found) < len(pairs):
                self._start_workers(len(waiting))
                for worker in self._workers:
                    if worker.ready and worker.pair is None and waiting:
                        self._give(worker, waiting.popleft())
                for worker in self._wait():
                    self._hear(worker, waiting, retried, found)
        except BaseException:
            self.close()  # a worker in the middle of something must not meet the next list
            raise
        return found

    def _start_workers(self, num_waiting: int) -> None:
        busy = sum(worker.pair is not None for worker in self._workers)
        for _ in range(min(self._size, busy + num_waiting) - len(self._workers)):
            self._workers.append(_start())

    def _give(self, worker: _Worker, pair: _Pair) -> None:
        request = {"answer": pair.answer, "gold": pair.gold, "seconds": self._timeout_s}
        worker.pair = pair
        worker.deadline = time.monotonic() + WALL_FACTOR * self._timeout_s
        assert worker.process.stdin is not None
        # A worker that died idle breaks the pipe: `_hear` meets the end of its output and passes the pair on.
        with contextlib.suppress(BrokenPipeError):
            worker.process.stdin.write(json.dumps(request).encode() + b"\n")
            worker.process.stdin.flush()

    def _wait(self) -> list[_Worker]:
        """Workers that said something, ended, or are past their deadline."""
        now = time.monotonic()
        active = [worker for worker in self._workers if worker.pair is not None or not worker.ready]
        with selectors.DefaultSelector() as selector:
            for worker in active:
                assert worker.process.stdout is not None
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
            patience = max(0.0, min(worker.deadline for worker in active) - now)
            heard = [key.data for key, _ in selector.select(patience)]
        late = [worker for worker in active if worker not in heard and time.monotonic() >= worker.deadline]
        return heard + late

    def _hear(
        self, worker: _Worker, waiting: deque[_Pair], retried: set[_Pair], found: dict[_Pair, _Judgement]
    ) -> None:
        """Take a worker's reply; replace it where it ended or is late."""
        late = time.monotonic() >= worker.deadline
        assert worker.process.stdout is not None
        heard = b"" if late else os.read(worker.process.stdout.fileno(), 65536)
        worker.unread += heard
        if heard and not worker.unread.endswith(b"\n"):
            return
        pair, worker.pair = worker.pair, None
        if heard:
            worker.unread, reply = b"", json.loads(worker.unread)
            worker.ready, self._failed_starts = True, 0
            if pair is not None:
                found[pair] = _judge(reply)
            return
        self._workers.remove(worker)
        status = _kill(worker)
        if not worker.ready:
            self._count_failed_start(status)
        elif pair is not None and (late or status == -signal.SIGPROF):
            found[pair] = _Judgement(Outcome.TIMEOUT, f"comparing took longer than {self._timeout_s:g} s")
        elif pair is not None and pair in retried:
            found[pair] = _Judgement(Outcome.ERROR, f"two grading workers ended on it (status {status})")
        elif pair is not None:
            retried.add(pair)
            waiting.appendleft(pair)

    def _count_failed_start(self, status: int) -> None:
        self._failed_starts += 1
        if self._failed_starts >= MAX_STARTS:
            raise RunError(
                f"grading workers do not start (status {status}, {MAX_STARTS} attempts)",
                fix=f"{sys.executable} -c 'import math_verify' shows why",
            )


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


def _judge(reply: dict[str, object]) -> _Judgement:
    if "error" in reply:
        return _Judgement(Outcome.ERROR, f"comparing failed: {reply['error']}")
    if reply["equal"] is None:
        return _Judgement(Outcome.WRONG, "no formula that can be read; compared as text")
    return _Judgement(Outcome.CORRECT if reply["equal"] else Outcome.WRONG)


def _start() -> _Worker:
    # A minimal environment: hostile text is parsed there, and sympy's order of terms must not depend on a random hash.
    # Library paths are kept because some installations of Python do not start without.
    environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *(path for path in sys.path if path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment | kept,
        start_new_session=True,
    )
    return _Worker(process, deadline=time.monotonic() + START_LIMIT_S)


def _kill(worker: _Worker) -> int:
    """End a worker for sure; its exit status, negative for a signal."""
    worker.process.kill()
    for stream in (worker.process.stdin, worker.process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):  # an unsent request to a dead worker
                stream.close()
    return worker.process.wait()
