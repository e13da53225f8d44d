"""Where batches wait to be counted: in memory while they are few, else in files, made and counted by several processes.

Nothing here changes a result: which batches exist, who scans them and in how many tasks the buckets are counted
follows from memory and workers alone, and each gram is counted in one place whatever these are.
"""

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from hicra_cli.grams.count_buckets import BUCKETS, rows_in_memory
from hicra_cli.grams.count_crew import Crew
from hicra_cli.grams.count_levels import Corpus, Counted, Ids, Ints, Rule, count_rows
from hicra_cli.grams.count_tasks import Batch, Tasks, Written, save_job
from hicra_cli.text.scan import BREAK, Scanned

Floor = tuple[int, int]

# Measured on 1 GB of rollouts, rounded up.
_POOL_BYTES = 400 * 10**6  # the process that reads, merges words and keeps the pool
_WORKER_BYTES = 250 * 10**6  # a process that scans or counts
_PROCESS_BYTES = 110 * 10**6  # of which an interpreter with numpy and Arrow, and what a scanner remembers
_ROW_BYTES = 200  # of counting, per row
_CHARACTER_BYTES = 80  # of scanning, per character


@dataclass(frozen=True, slots=True)
class Budget:
    """How much may be done at once, by each of `workers` processes.

    capacity: rows that may be counted; rows_at_once: that should, where buckets allow; batch_characters: of text to
    scan; places_in_memory: of a corpus that needs no files; characters_alone: of one that needs no other processes.
    """

    workers: int
    capacity: int
    rows_at_once: int = 1 << 18  # their hash tables stay in a core's cache
    batch_characters: int = 1 << 21
    places_in_memory: int = 1 << 20
    characters_alone: int = 1 << 24  # counted before other processes had started


def budget_for(memory: int, workers: int) -> Budget:
    """memory: bytes for the growth of this process and all workers together; workers: 0 is one per core.

    There are no more workers than memory has room for, and none beside this process where it has room for one.
    """
    workers = min(workers or os.cpu_count() or 1, max(1, (memory - _POOL_BYTES) // _WORKER_BYTES))
    share = (memory if workers == 1 else (memory - _POOL_BYTES) // workers) - _PROCESS_BYTES
    capacity = _between(1 << 16, share // _ROW_BYTES, 1 << 22)
    return Budget(
        workers=workers,
        capacity=capacity,
        batch_characters=_between(1 << 18, share // _CHARACTER_BYTES, 1 << 21),
        places_in_memory=min(capacity, 1 << 20),
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """A batch in memory: its number, its first solution, and what its scan has found."""

    number: int
    first: int
    scanned: Scanned
    num_words: int


class Spool:
    """Takes batches, then counts them once. A context manager: it holds files and processes."""

    def __init__(self, rule: Rule, budget: Budget, scratch: Path | None) -> None:
        self._rule = rule
        self._budget = budget
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=scratch, prefix="counting-")))
        self._tasks = Tasks(self._folder, rule, process=0, capacity=budget.capacity)
        self._crew: Crew | None = None
        self._characters = 0
        self._held: list[_Held] = []
        self._scanning: dict[int, Future[Written]] = {}
        self._files: dict[int, Written] = {}
        self._known: list[dict[int, Ids]] = [{} for _ in range(budget.workers + 1)]  # by process and first word
        self._vocabulary: dict[str, int] = {}
        self.num_words = 0
        """Words of the counted solutions, right once `words` was called."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, batch: Batch) -> None:
        """Take the next batch."""
        self._characters += sum(map(len, batch.texts))
        if self._budget.workers > 1 and self._characters > self._budget.characters_alone:
            self._add_to_crew(batch)
            return
        scanned, num_words = self._tasks.scan(batch)
        self._held.append(_Held(batch.number, batch.first, scanned, num_words))
        if sum(len(held.scanned.ids) for held in self._held) > self._budget.places_in_memory:
            self._spill()

    def words(self) -> list[str]:
        """The words of all batches in alphabetical order. No batch can be added afterwards."""
        self._await_scans(0)
        if self._files:
            self._spill()
        for held in self._held:
            self.num_words += held.num_words
            self._number(held.scanned.words)
        return sorted(self._vocabulary)

    def counts(self, words: Sequence[str], corpus: Corpus, floor: Callable[[], Floor]) -> Iterator[Counted]:
        """Count everything in parts. words: those of `words`; floor: asked for each part, see `count_rows`."""
        number = dict(zip(words, range(len(words)), strict=True))
        rank = np.fromiter(map(number.__getitem__, self._vocabulary), dtype=np.int32, count=len(number))
        del number
        if not self._files:
            batches = [(held.scanned, _with_break(rank[self._number(held.scanned.words)])) for held in self._held]
            self._held = []
            if batches:
                yield count_rows(rows_in_memory(batches, self._rule.ngram_max), corpus, self._rule, floor=floor())
            return
        files = [self._files[number] for number in range(len(self._files))]
        numbers = [_with_break(rank[_joined(known)]) for known in self._known]
        offsets = [file.offsets for file in files]
        save_job(self._folder, corpus, numbers, offsets, [file.process for file in files])
        tasks = self._parts(np.sum(offsets, axis=0))
        del files, numbers, offsets, rank
        self._files, self._known, self._vocabulary = {}, [], {}
        if self._crew is None:
            for first, last in tasks:
                yield self._tasks.count(first, last, floor())
        else:
            self._crew.restart()
            yield from self._counts_of_crew(self._crew, tasks, floor)

    def _add_to_crew(self, batch: Batch) -> None:
        self._spill()
        if self._crew is None:
            crew = Crew(self._budget.workers, self._folder, self._rule, capacity=self._budget.capacity)
            self._crew = self._stack.enter_context(crew)
            self._tasks.forget()
        self._scanning[batch.number] = self._crew.scan(batch)
        self._await_scans(2 * self._budget.workers)

    def _await_scans(self, most: int) -> None:
        """Wait until no more than so many batches are being scanned."""
        while len(self._scanning) > most:
            done, _ = wait(self._scanning.values(), return_when=FIRST_COMPLETED)
            for number in [number for number, future in self._scanning.items() if future in done]:
                self._keep(number, self._scanning.pop(number).result())

    def _spill(self) -> None:
        for held in self._held:
            self._keep(held.number, self._tasks.write(held.number, held.first, held.scanned, held.num_words))
        self._held = []

    def _keep(self, number: int, written: Written) -> None:
        if written.words:
            self._known[written.process][written.first_word] = self._number(written.words)
        self.num_words += written.num_words
        self._files[number] = replace(written, words=[])

    def _number(self, words: Sequence[str]) -> Ids:
        """Numbers in the order in which words were met; a new word gets the next one."""
        vocabulary = self._vocabulary
        return np.array([vocabulary.setdefault(word, len(vocabulary)) for word in words], dtype=np.int32)

    def _parts(self, offsets: Ints) -> list[tuple[int, int]]:
        """Ranges of buckets that one task counts: one bucket at least, few enough rows to be quick."""
        most = min(self._budget.capacity, self._budget.rows_at_once)
        parts, first = [], 0
        for bucket in range(BUCKETS):
            if bucket > first and offsets[bucket + 1] - offsets[first] > most:
                parts.append((first, bucket))
                first = bucket
        return [*parts, (first, BUCKETS)]

    def _counts_of_crew(
        self, crew: Crew, tasks: Sequence[tuple[int, int]], floor: Callable[[], Floor]
    ) -> Iterator[Counted]:
        waiting = deque(tasks)
        counting: set[Future[Counted]] = set()
        while waiting or counting:
            while waiting and len(counting) < self._budget.workers:
                counting.add(crew.count(*waiting.popleft(), floor()))
            done, counting = wait(counting, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _joined(known: dict[int, Ids]) -> Ids:
    """The words of one process, in the order in which it has numbered them."""
    parts = [known[first] for first in sorted(known)]
    return np.concatenate([np.zeros(0, dtype=np.int32), *parts])


def _with_break(numbers: Ids) -> Ids:
    return np.append(numbers, np.int32(BREAK))


def _between(least: int, value: int, most: int) -> int:
    return max(least, min(value, most))
