"""Buckets with more rows than may be counted at once.

Rows are dealt again by a finer hash of the same first words. What cannot be dealt further are the rows of one gram,
said very often: its own figures need no more than a mark for each document and solution, after which its rows are
dealt by one word more. So memory is bounded whatever is repeated in a corpus, a single sentence included.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hicra_cli.grams.count_buckets import RowFile, prefix_words, raw_rows
from hicra_cli.grams.count_levels import Corpus, Counted, Ids, Ints, Rows, Rule, count_rows, merged
from hicra_cli.text.scan import BREAK

PARTS = 16


def count_large(
    files: Sequence[RowFile],
    first: int,
    last: int,
    corpus: Corpus,
    rule: Rule,
    *,
    floor: tuple[int, int],
    capacity: int,
    folder: Path,
) -> Counted:
    """What `count_rows` finds in buckets first … last - 1, with at most `capacity` rows at once in memory."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="large-") as parts:
        large = _Large(corpus, rule, floor, capacity, Path(parts))
        rows = raw_rows(files, first, last, rule.ngram_max)
        return merged(large.count(rows, prefix_words(rule.ngram_min)), rule.ngram_max)


@dataclass(frozen=True, slots=True)
class _Part:
    """A file of rows (size, width)."""

    path: Path
    size: int
    width: int

    def pieces(self, most: int) -> Iterator[Ids]:
        """Its rows, at most so many at once."""
        for begin in range(0, self.size, most):
            count = min(most, self.size - begin) * self.width
            yield np.fromfile(self.path, np.int32, count, offset=4 * self.width * begin).reshape(-1, self.width)


class _Large:
    """Deals rows until they can be counted. Grams shorter than a prefix have been counted before it is reached."""

    def __init__(self, corpus: Corpus, rule: Rule, floor: tuple[int, int], capacity: int, folder: Path) -> None:
        self._corpus = corpus
        self._rule = rule
        self._floor = floor
        self._capacity = capacity
        self._folder = folder
        self._deals = 0

    def count(self, pieces: Iterable[Ids], prefix: int) -> list[Counted]:
        """The grams of at least `prefix` words. All rows have that many, and each such gram lies wholly in them."""
        found = []
        often, *others = self._deal(pieces, prefix)
        for part in (often, *others):
            if part.size <= self._capacity:
                found += [self._count_rows(raw, prefix) for raw in part.pieces(self._capacity)]
            elif part is often:
                found += self._count_gram(part, prefix)
            else:
                found += self.count(part.pieces(self._capacity), prefix)
            part.path.unlink(missing_ok=True)
        return found

    def _deal(self, pieces: Iterable[Ids], prefix: int) -> list[_Part]:
        """First the rows of the gram that is most frequent at the beginning, then the others in parts by a hash."""
        self._deals += 1
        paths = [self._folder / f"{self._deals}-{part}.rows" for part in range(PARTS + 1)]
        sizes = np.zeros(PARTS + 1, dtype=np.int64)
        often: Ids | None = None
        for raw in pieces:
            words = raw[:, 1 : prefix + 1]
            often = _most_frequent(words) if often is None else often
            part = np.where((words == often).all(axis=1), 0, 1 + _hashes(words, self._deals) % PARTS)
            for number in np.unique(part).tolist():
                with open(paths[number], "ab") as stream:
                    raw[part == number].tofile(stream)
            sizes += np.bincount(part, minlength=PARTS + 1)
        width = self._rule.ngram_max + 1
        return [_Part(path, int(size), width) for path, size in zip(paths, sizes, strict=True)]

    def _count_rows(self, raw: Ids, prefix: int) -> Counted:
        words = np.ascontiguousarray(raw[:, 1:].T)
        return count_rows(Rows(tuple(words), raw[:, 0]), self._corpus, self._from(prefix), floor=self._floor)

    def _count_gram(self, part: _Part, prefix: int) -> list[Counted]:
        """The gram of `prefix` words with which all rows begin, and the longer ones that go on from it."""
        found = [self._figures(part, prefix)] if prefix >= self._rule.ngram_min else []
        if prefix < self._rule.ngram_max:
            longer = (raw[raw[:, prefix + 1] >= 0] for raw in part.pieces(self._capacity))
            found += self.count((raw for raw in longer if len(raw)), prefix + 1)
        return found

    def _figures(self, part: _Part, prefix: int) -> Counted:
        """Count that gram by one row for each solution that has it; only its occurrences are more than those rows."""
        used = np.zeros(len(self._corpus.group_of), dtype=np.bool_)
        occurrences = 0
        for raw in part.pieces(self._capacity):
            used[raw[:, 0]] = True
            occurrences += int((self._corpus.group_of[raw[:, 0]] >= 0).sum())
            gram = raw[0, 1 : prefix + 1]
        solutions = np.flatnonzero(used).astype(np.int32)
        words = np.full((self._rule.ngram_max, len(solutions)), BREAK, dtype=np.int32)
        words[:prefix] = gram[:, None]
        counted = count_rows(Rows(tuple(words), solutions), self._corpus, self._from(prefix))
        survivors = counted.survivors
        return replace(counted, survivors=replace(survivors, count=np.full_like(survivors.count, occurrences)))

    def _from(self, prefix: int) -> Rule:
        return replace(self._rule, ngram_min=max(self._rule.ngram_min, prefix))


def _most_frequent(words: Ids) -> Ids:
    grams, count = np.unique(words, axis=0, return_counts=True)
    most: Ids = grams[count.argmax()]
    return most


def _hashes(words: Ids, salt: int) -> Ints:
    """A hash of each row of words, another one for each salt."""
    mixed = np.full(len(words), salt, dtype=np.uint64)
    for word in words.T:
        mixed = (mixed ^ word.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return (mixed >> np.uint64(8)).astype(np.int64)
