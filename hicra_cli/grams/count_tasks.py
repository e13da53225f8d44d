"""The two tasks of counting, the same in this process and in a worker: scan a batch of texts, count a few buckets.

They share a folder: `batch-N.rows` (see `count_buckets.py`) and, once all batches are scanned, `job.npz`, which says
what their numbers mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hicra_cli.grams.count_buckets import RowFile, read_rows, write_rows
from hicra_cli.grams.count_large import count_large
from hicra_cli.grams.count_levels import Corpus, Counted, Ids, Ints, Rule, Survivors, count_rows
from hicra_cli.text.scan import BREAK, Scanned, WordScanner


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive solutions. number: of the batch; first: number of its first solution; counted: the successful."""

    number: int
    first: int
    texts: Sequence[str]
    truncated: Sequence[bool]
    counted: Sequence[bool]


@dataclass(frozen=True, slots=True)
class Written:
    """A batch's file: rows before each bucket, and the words of counted solutions.

    process: who wrote it. words: those it had not met before; first_word: the number it gave to the first of them.
    """

    process: int
    offsets: Ints
    first_word: int
    words: list[str]
    num_words: int


class Tasks:
    """What one process remembers from task to task. process: its number; capacity: rows that it may count at once."""

    def __init__(self, folder: Path, rule: Rule, *, process: int, capacity: int) -> None:
        self._process = process
        self._folder = folder
        self._rule = rule
        self._capacity = capacity
        self._scanner = WordScanner()
        self._vocabulary: dict[str, int] = {}
        self._job: tuple[Corpus, list[RowFile]] | None = None

    def scan(self, batch: Batch) -> tuple[Scanned, int]:
        """The batch as numbers, and the words of its counted solutions."""
        scanned = self._scanner.scan(batch.texts, truncated=batch.truncated)
        words = np.cumsum(scanned.ids >= 0)[scanned.ends - 1] if len(scanned.ids) else np.zeros(0, dtype=np.int64)
        return scanned, int(np.diff(words, prepend=0)[np.array(batch.counted, dtype=np.bool_)].sum())

    def write(self, number: int, first: int, scanned: Scanned, num_words: int) -> Written:
        """Make the file of a scanned batch."""
        known = len(self._vocabulary)
        numbers = [self._vocabulary.setdefault(word, len(self._vocabulary)) for word in scanned.words]
        offsets = write_rows(
            batch_file(self._folder, number),
            scanned,
            np.array([*numbers, BREAK], dtype=np.int32),
            first_solution=first,
            ngram_min=self._rule.ngram_min,
            ngram_max=self._rule.ngram_max,
        )
        new = [word for word, own in zip(scanned.words, numbers, strict=True) if own >= known]
        return Written(self._process, offsets, known, new, num_words)

    def forget(self) -> None:
        """Give the memory of scanning back: no batch will come any more."""
        self._scanner = WordScanner()
        self._vocabulary = {}

    def count(self, first: int, last: int, floor: tuple[int, int]) -> Counted:
        """Count the grams of buckets first … last - 1."""
        if self._job is None:
            self.forget()
            self._job = open_job(self._folder)
        corpus, files = self._job
        size = sum(int(file.offsets[last] - file.offsets[first]) for file in files)
        if size <= self._capacity:
            return count_rows(read_rows(files, first, last, self._rule.ngram_max), corpus, self._rule, floor=floor)
        return count_large(
            files, first, last, corpus, self._rule, floor=floor, capacity=self._capacity, folder=self._folder
        )


def batch_file(folder: Path, number: int) -> Path:
    return folder / f"batch-{number}.rows"


def save_job(
    folder: Path, corpus: Corpus, numbers: Sequence[Ids], offsets: Sequence[Ints], processes: Sequence[int]
) -> None:
    """Write what all processes need to count.

    numbers: for each process, see `RowFile`; offsets, processes: of batch 0, 1 … and who wrote it.
    """
    np.savez(
        folder / "job.npz",
        document_of=corpus.document_of,
        group_of=corpus.group_of,
        word_kinds=corpus.word_kinds,
        offsets=np.stack(offsets),
        processes=np.array(processes),
        ends=np.cumsum([len(each) for each in numbers]),
        numbers=np.concatenate(numbers),
    )


def open_job(folder: Path) -> tuple[Corpus, list[RowFile]]:
    with np.load(folder / "job.npz") as job:
        corpus = Corpus(job["document_of"], job["group_of"], job["word_kinds"])
        numbers = np.split(job["numbers"], job["ends"][:-1])
        offsets, processes = job["offsets"], job["processes"].tolist()
    return corpus, [
        RowFile(batch_file(folder, number), offsets[number], numbers[process])
        for number, process in enumerate(processes)
    ]


def save_counted(path: Path, counted: Counted) -> None:
    """Write the counts of a task for the process that asked for them."""
    survivors = counted.survivors
    np.savez(
        path,
        totals=np.array([counted.distinct, counted.passed]),
        dropped=counted.dropped,
        words=survivors.words,
        figures=np.stack([survivors.document_frequency, survivors.count, survivors.solutions, survivors.failures]),
        uses=np.stack(survivors.uses),
    )


def load_counted(path: Path) -> Counted:
    with np.load(path) as saved:
        distinct, passed = saved["totals"].tolist()
        frequency, count, solutions, failures = saved["figures"]
        grams, groups, users = saved["uses"]
        survivors = Survivors(saved["words"], frequency, count, solutions, failures, (grams, groups, users))
        return Counted(distinct, saved["dropped"], passed, survivors)
