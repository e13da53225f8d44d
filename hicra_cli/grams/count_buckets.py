"""Places where grams begin, sorted into buckets by their first words: all places of a gram lie in one bucket.

A batch of scanned texts becomes one file of rows (the solution, then ngram_max words) in the order of buckets. Each
process numbers words on its own, so that batches can be scanned anywhere; the numbers of the corpus come when rows are
read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from hicra_cli.grams.count_levels import Ids, Ints, Rows
from hicra_cli.text.scan import BREAK, Scanned

BUCKETS = 1024
MOST_PREFIX_WORDS = 3


@dataclass(frozen=True, slots=True)
class RowFile:
    """Rows of one batch. offsets: (BUCKETS + 1,) rows before each bucket.

    numbers: of the words in the corpus, by their number in the process that wrote the file; -1 behind the last.
    """

    path: Path
    offsets: Ints
    numbers: Ids


def prefix_words(ngram_min: int) -> int:
    """How many first words decide on the bucket: as many as the shortest gram has, up to what spreads well."""
    return min(ngram_min, MOST_PREFIX_WORDS)


def write_rows(
    path: Path, scanned: Scanned, numbers: Ids, *, first_solution: int, ngram_min: int, ngram_max: int
) -> Ints:
    """Write the rows of solutions first_solution, first_solution + 1 …; returns the offsets of the buckets.

    numbers: of the words of the scan in this process, -1 behind the last.
    """
    prefix = prefix_words(ngram_min)
    ids = np.concatenate([scanned.ids, np.full(ngram_max, BREAK, dtype=np.int32)])
    unbroken = ids >= 0
    whole = unbroken[: len(scanned.ids)].copy()
    for k in range(1, prefix):
        whole &= unbroken[k : k + len(whole)]
    starts = np.flatnonzero(whole)
    bucket = _buckets(scanned.words, ids, starts, prefix)
    starts = starts[np.argsort(bucket, kind="stable")]
    rows = np.empty((len(starts), ngram_max + 1), dtype=np.int32)
    rows[:, 0] = _owners(scanned.ends, first_solution)[starts]
    for k in range(ngram_max):
        rows[:, k + 1] = numbers[ids[starts + k]]
    rows.tofile(path)
    offsets = np.zeros(BUCKETS + 1, dtype=np.int64)
    np.cumsum(np.bincount(bucket, minlength=BUCKETS), out=offsets[1:])
    return offsets


def read_rows(files: Sequence[RowFile], first: int, last: int, ngram_max: int) -> Rows:
    """The rows of buckets first … last - 1."""
    size = sum(int(file.offsets[last] - file.offsets[first]) for file in files)
    words, solutions = np.empty((ngram_max, size), dtype=np.int32), np.empty(size, dtype=np.int32)
    at = 0
    for raw in raw_rows(files, first, last, ngram_max):
        solutions[at : at + len(raw)] = raw[:, 0]
        words[:, at : at + len(raw)] = raw[:, 1:].T
        at += len(raw)
    return Rows(tuple(words), solutions)


def raw_rows(files: Sequence[RowFile], first: int, last: int, ngram_max: int) -> Iterator[Ids]:
    """The same in pieces (R, 1 + ngram_max), one a file, with the words' numbers in the corpus."""
    width = ngram_max + 1
    for file in files:
        begin, end = int(file.offsets[first]), int(file.offsets[last])
        if end > begin:
            raw = np.fromfile(file.path, dtype=np.int32, count=(end - begin) * width, offset=4 * begin * width)
            raw = raw.reshape(-1, width)
            # The break, -1, picks the last number, which is -1 again.
            raw[:, 1:] = file.numbers[raw[:, 1:]]
            yield raw


def rows_in_memory(batches: Sequence[tuple[Scanned, Ids]], ngram_max: int) -> Rows:
    """Every place of scanned batches, each with the numbers of its words in the corpus; solutions in their order."""
    ids = np.concatenate([numbers[scanned.ids] for scanned, numbers in batches])
    begins = np.cumsum([0, *(len(scanned.ids) for scanned, _ in batches)])
    ends = np.concatenate([scanned.ends + begin for (scanned, _), begin in zip(batches, begins, strict=False)])
    padded = np.concatenate([ids, np.full(ngram_max, BREAK, dtype=np.int32)])
    return Rows(tuple(padded[k : k + len(ids)] for k in range(ngram_max)), _owners(ends, 0))


def _buckets(words: Sequence[str], ids: Ids, starts: Ints, prefix: int) -> NDArray[np.uint16]:
    """A bucket for each start, from its first words as text: equal in every batch."""
    hashes = np.array([crc32(word.encode()) for word in words], dtype=np.uint32)
    mixed = hashes[ids[starts]]
    for k in range(1, prefix):
        mixed = mixed * np.uint32(0x9E3779B1) + hashes[ids[starts + k]]
    return ((mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x85EBCA77) >> np.uint32(22)).astype(np.uint16)


def _owners(ends: Ints, first_solution: int) -> Ids:
    """The solution of each place."""
    lengths = np.diff(ends, prepend=0)
    return np.repeat(np.arange(first_solution, first_solution + len(ends), dtype=np.int32), lengths)
