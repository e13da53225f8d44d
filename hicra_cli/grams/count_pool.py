"""The pool: the most widespread grams met so far, never many more than its limit, and the candidates made of them."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from hicra_cli.grams.candidates import Candidate, Share
from hicra_cli.grams.count_levels import Ints, Survivors, joined

Group = tuple[str | None, int | None]


class Pool:
    """Keeps the `limit` grams of largest document frequency, ties broken by count, then alphabetically.

    Words are numbered in their alphabetical order, so that grams compare as their texts do.
    """

    def __init__(self, limit: int, ngram_max: int) -> None:
        self._limit = limit
        self._ngram_max = ngram_max
        self._parts: list[Survivors] = []
        self._size = 0
        self.floor = (0, 0)
        """(document frequency, count) below which no gram can enter any more."""

    def add(self, survivors: Survivors) -> None:
        self._parts.append(survivors)
        self._size += len(survivors.words)
        if self._size > self._limit + self._limit // 4:
            self._prune()

    def ranked(self) -> Survivors:
        """The pool, first gram first."""
        self._prune()
        (pool,) = self._parts
        return pool.take(np.lexsort((*_text_keys(pool), -pool.count, -pool.document_frequency)))

    def _prune(self) -> None:
        pool = joined(self._parts, self._ngram_max)
        kept = _most_widespread(pool, self._limit)
        self._parts = [pool.take(kept)]
        self._size = len(kept)
        if len(kept) == self._limit:
            lowest = int(np.lexsort((pool.count[kept], pool.document_frequency[kept]))[0])
            self.floor = int(pool.document_frequency[kept[lowest]]), int(pool.count[kept[lowest]])


def candidates(pool: Survivors, words: Sequence[str], groups: Sequence[Group], sizes: Sequence[int]) -> list[Candidate]:
    """The grams of a pool in its order, without contexts. sizes: (groups,) the counted solutions of each group."""
    with _no_collections():
        return list(_candidates(pool, words, groups, sizes))


@contextmanager
def _no_collections() -> Iterator[None]:
    """No garbage collection meanwhile: it would go through hundreds of thousands of new objects that hold no cycle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _candidates(
    pool: Survivors, words: Sequence[str], groups: Sequence[Group], sizes: Sequence[int]
) -> Iterator[Candidate]:
    vocabulary = np.array([*words, ""], dtype=object)  # the break, -1, picks the last
    lengths = (pool.words >= 0).sum(axis=1)
    for begin in range(0, len(pool.words), _CANDIDATES_AT_ONCE):
        part = pool.take(np.arange(begin, min(begin + _CANDIDATES_AT_ONCE, len(pool.words))))
        texts = [" ".join(row).rstrip() for row in vocabulary[part.words].tolist()]
        figures = (
            texts,
            lengths[begin : begin + len(texts)].tolist(),
            part.count.tolist(),
            part.solutions.tolist(),
            part.document_frequency.tolist(),
            _shares(part, groups, sizes),
            [()] * len(texts),
            part.failures.tolist(),
        )
        yield from map(Candidate, *figures)


_CANDIDATES_AT_ONCE = 1 << 14


def _shares(pool: Survivors, groups: Sequence[Group], sizes: Sequence[int]) -> list[tuple[Share, ...]]:
    """For each gram every group with counted solutions, in order, those that do not use it too.

    Equal shares are one object: there are millions.
    """
    order = [number for number, size in enumerate(sizes) if size]
    order.sort(key=lambda number: _group_key(groups[number]))
    table = np.empty((len(pool.words), len(order)), dtype=object)
    for column, number in enumerate(order):
        table[:, column] = Share(*groups[number], 0, 0.0)
    column_of = np.zeros(len(groups), dtype=np.int64)
    column_of[order] = np.arange(len(order))
    gram, group, users = pool.uses
    distinct, which = np.unique(users.astype(np.int64) * len(groups) + group, return_inverse=True)
    known = np.empty(len(distinct), dtype=object)
    for at, key in enumerate(distinct.tolist()):
        used, number = key // len(groups), key % len(groups)
        policy, step = groups[number]
        known[at] = Share(policy, step, used, used / sizes[number])
    table[gram, column_of[group]] = known[which]
    return [tuple(row) for row in table.tolist()]


def _group_key(group: Group) -> tuple[bool, str, bool, int]:
    policy, step = group
    return policy is not None, policy or "", step is not None, step or 0


def _most_widespread(pool: Survivors, limit: int) -> Ints:
    """The indices of the `limit` first grams, ascending. Texts are compared where the border falls only."""
    size = len(pool.words)
    if size <= limit:
        return np.arange(size)
    frequency, count = pool.document_frequency, pool.count
    edge = int(np.lexsort((-count, -frequency))[limit - 1])
    above = (frequency > frequency[edge]) | ((frequency == frequency[edge]) & (count > count[edge]))
    tied = np.flatnonzero((frequency == frequency[edge]) & (count == count[edge]))
    spelled = tied[np.lexsort(_text_keys(pool, tied))]
    return np.sort(np.concatenate([np.flatnonzero(above), spelled[: limit - int(above.sum())]]))


def _text_keys(pool: Survivors, at: Ints | slice = slice(None)) -> tuple[Ints, ...]:
    """Keys for `lexsort`, least important first: later words; an absent one, -1, comes before every word."""
    return tuple(pool.words[at, k].astype(np.int64) for k in reversed(range(pool.words.shape[1])))
