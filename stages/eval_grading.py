"""Grading beside sampling: a thread judges samples as they come, so that the last verdict follows the last sample.

Verdicts are kept like samples, which bounds memory and spares a resumed run the work; they could be given again. Exact
comparisons are done in the thread, algebra in the pool's processes. A failure of the grader reaches the caller at the
next sample.
"""

import queue
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import FinishReason, Outcome, Prompt, Verdict
from hicra_cli.grading import GradingPool
from hicra_cli.tasks.benchmarks import Benchmark
from hicra_cli.tasks.countdown import grade_countdown
from hicra_cli.tasks.problems import golds

from .kept_lines import KeptLines, Row
from .samples import VERDICTS, Key, key_of

ROWS_PER_GRADING = 64
PATIENCE_S = 10.0  # for the thread to notice that nobody waits for its verdicts any more
NOT_SAMPLED = "none"  # finish_reason of a question that was never given to the model

Asked = Mapping[tuple[str, str], tuple[Benchmark, Prompt]]


class Grading:
    """A verdict for every sample of `sampled` that is announced. A context manager: it holds a thread and processes.

    verdicts: the kept verdicts, by the key of their sample.
    """

    def __init__(self, folder: Path, sampled: KeptLines[Key], benches: Sequence[Benchmark], task: TaskConfig) -> None:
        self.verdicts = KeptLines(folder / VERDICTS, key_of)
        self._sampled = sampled
        self._asked: Asked = {(bench.name, prompt.id): (bench, prompt) for bench in benches for prompt in bench.prompts}
        self._pool = GradingPool(workers=task.grader_workers, timeout_s=task.grader_timeout_s)
        self._waiting: queue.SimpleQueue[Key | None] = queue.SimpleQueue()
        self._judged = threading.Semaphore(0)
        self._failure: BaseException | None = None
        self._given_up = False
        self._thread = threading.Thread(target=self._work, name="grading", daemon=True)
        self._announced = 0

    def announce(self, keys: Iterable[Key]) -> None:
        """Have these samples graded, which are kept already; those with a verdict are passed over."""
        self._raise_failure()
        for key in keys:
            if key not in self.verdicts:
                self._announced += 1
                self._waiting.put(key)

    def finish(self, progress: Progress) -> None:
        """Wait until everything announced has its verdict."""
        if not self._announced:
            return
        with progress.phase("grade", self._announced) as advance:
            for _ in range(self._announced):
                while not self._judged.acquire(timeout=0.5):
                    self._raise_failure()
                advance()
        self._announced = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up = True
        self._waiting.put(None)
        self._thread.join(PATIENCE_S)
        self._pool.close()
        self.verdicts.close()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            while not self._given_up and (keys := self._next()):
                rows = list(self._sampled.read(keys))
                for row in judged(rows, [self._asked[key[:2]] for key in keys], self._pool):
                    if self._given_up:
                        return
                    self.verdicts.add(row)
                    self._judged.release()
        except BaseException as failure:  # noqa: BLE001 - carried to the thread that waits, which raises it
            self._failure = failure

    def _next(self) -> list[Key]:
        """The samples that wait now, at least one and at most a batch; empty at the end."""
        keys: list[Key] = []
        key = self._waiting.get()
        while key is not None:
            keys.append(key)
            if len(keys) == ROWS_PER_GRADING:
                break
            try:
                key = self._waiting.get_nowait()
            except queue.Empty:
                break
        return keys


def judged(rows: Sequence[Row], asked: Sequence[tuple[Benchmark, Prompt]], pool: GradingPool) -> list[Row]:
    """What the grader adds to each sample, with its key: one row each, in order, whatever the responses hold.

    lenient_reward: where strict extraction found no answer, what lenient extraction gives. corrected_reward: only where
    the question's gold is in doubt and a right one is certain.
    """
    both = _verdicts(rows, asked, pool)
    corrected = _corrected_rewards(rows, asked, pool)
    return [
        {
            "bench": row["bench"],
            "question": row["question"],
            "sample": row["sample"],
            "reward": strict.reward,
            "outcome": strict.outcome.value,
            "answer": strict.answer,
            "detail": strict.detail,
            "lenient_reward": lenient.reward,
            **({} if reward is None else {"corrected_reward": reward}),
            "gold": _gold(prompt),
        }
        for row, (strict, lenient), reward, (_, prompt) in zip(rows, both, corrected, asked, strict=True)
    ]


def _gold(prompt: Prompt) -> str | list[str]:
    """The gold answer; a list of them where one of several suffices."""
    every = golds(prompt)
    return list(every) if len(every) > 1 else prompt.answer


def _verdicts(
    rows: Sequence[Row], asked: Sequence[tuple[Benchmark, Prompt]], pool: GradingPool
) -> list[tuple[Verdict, Verdict]]:
    """Strict and lenient, in order. Maths goes through the pool as one list, so that its workers share the work."""
    verdicts: dict[int, tuple[Verdict, Verdict]] = {}
    for place, (row, (bench, prompt)) in enumerate(zip(rows, asked, strict=True)):
        if "obstacle" in row:
            verdicts[place] = (Verdict(0.0, Outcome.ERROR, detail=row["obstacle"]),) * 2
        elif bench.kind == "countdown":
            verdicts[place] = (grade_countdown(row["text"], prompt.answer, truncated=_is_cut(row)),) * 2
    open_places = [place for place in range(len(rows)) if place not in verdicts]
    items = [(rows[place]["text"], golds(asked[place][1]), _is_cut(rows[place])) for place in open_places]
    verdicts.update(zip(open_places, pool.grade_both(items), strict=True))
    return [verdicts[place] for place in range(len(rows))]


def _corrected_rewards(
    rows: Sequence[Row], asked: Sequence[tuple[Benchmark, Prompt]], pool: GradingPool
) -> list[float | None]:
    """The reward under the corrected gold, where there is one."""
    corrected = {
        place: doubt.corrected
        for place, (bench, prompt) in enumerate(asked)
        if (doubt := bench.doubtful.get(prompt.id)) is not None and doubt.corrected is not None
    }
    items = [(rows[place]["text"], gold, _is_cut(rows[place])) for place, gold in corrected.items()]
    rewards = {place: each.reward for place, each in zip(corrected, pool.grade_many(items), strict=True)}
    return [rewards.get(place) for place in range(len(rows))]


def _is_cut(row: Mapping[str, Any]) -> bool:
    return bool(row["finish_reason"] == FinishReason.LENGTH.value)
