"""The n-grams that begin at given places: how many distinct ones, which survive, and the figures of those.

Exact by construction: an n-gram is named by the pair (name of its first words, its next words), as many words at once
as 63 bits hold, and Arrow's hash table, which compares the keys themselves, numbers the distinct pairs. A gram whose
first words occur once occurs once itself, so what is alone is counted and left out of longer n.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REASONS = ("rare", "symbols", "stop_words", "names")
SYMBOL, STOP_WORD, NAME = 1, 2, 4
BITS = 63


@dataclass(frozen=True, slots=True)
class Corpus:
    """What the numbers in rows mean.

    document_of, group_of: (solutions,) the document of a solution and its (policy, step), -1 where the solution is a
    failure. word_kinds: (V,) uint8, sums of SYMBOL, STOP_WORD, NAME.
    """

    document_of: Ids
    group_of: Ids
    word_kinds: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Rule:
    """Which grams are counted, and the fewest documents that a survivor is in."""

    ngram_min: int
    ngram_max: int
    minimum: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Places where grams begin. words: ngram_max arrays (R,), the words from there on; what follows a -1 means nothing.

    solutions: (R,).
    """

    words: tuple[Ids, ...]
    solutions: Ids


@dataclass(frozen=True, slots=True)
class Survivors:
    """Grams and their figures. words: (K, ngram_max), -1 behind the last word; all else (K,).

    A use is a row of three: the gram (its index here), a group, and how many solutions of the group contain the gram.
    """

    words: Ids
    document_frequency: Ints
    count: Ints
    solutions: Ints
    failures: Ints
    uses: tuple[Ids, Ids, Ids]

    def take(self, kept: Ints) -> "Survivors":
        """The grams at these indices, in this order."""
        number = np.full(len(self.words), -1, dtype=np.int32)
        number[kept] = np.arange(len(kept), dtype=np.int32)
        grams, groups, users = self.uses
        found = number[grams] >= 0
        return Survivors(
            self.words[kept],
            self.document_frequency[kept],
            self.count[kept],
            self.solutions[kept],
            self.failures[kept],
            (number[grams[found]], groups[found], users[found]),
        )


@dataclass(frozen=True, slots=True)
class Counted:
    """distinct: grams of all lengths; dropped: (4,) of them by REASONS; passed: how many none of the reasons met.

    survivors: those of the passed that can belong to the pool.
    """

    distinct: int
    dropped: Ints
    passed: int
    survivors: Survivors


def count_rows(rows: Rows, corpus: Corpus, rule: Rule, *, floor: tuple[int, int] = (0, 0)) -> Counted:
    """Count the grams that begin at `rows`: of each of them all the places in the corpus, or none.

    floor: (document frequency, count); a gram below it is counted but has no figures.
    """
    counted = corpus.group_of[rows.solutions] >= 0
    bits = max(1, len(corpus.word_kinds).bit_length())
    index = np.flatnonzero(rows.words[0] >= 0)
    key = rows.words[0][index].astype(np.int64)
    used = bits
    found: list[Counted] = []
    for n in range(1, rule.ngram_max + 1):
        if n > 1:
            index, key, word = _continued(rows.words[n - 1], index, key)
            key = (key << bits) | word
            used += bits
        if n < rule.ngram_min and used + bits <= BITS:
            continue
        key, distinct = _named(key)
        used = distinct.bit_length()
        if n >= rule.ngram_min:
            level = _Level(n, key, distinct, index, counted)
            found.append(_count_level(level, rows, corpus, rule, floor))
            if rule.minimum > 1 and n < rule.ngram_max:
                shared = level.occurrences[key] > 1
                found.append(_alone(rows, index[~shared & counted[index]], n, rule.ngram_max))
                index, key = index[shared], key[shared]
    return merged(found, rule.ngram_max)


def merged(parts: list[Counted], ngram_max: int) -> Counted:
    """Counts of disjoint sets of grams together."""
    return Counted(
        sum(part.distinct for part in parts),
        sum((part.dropped for part in parts), np.zeros(len(REASONS), dtype=np.int64)),
        sum(part.passed for part in parts),
        joined([part.survivors for part in parts], ngram_max),
    )


def joined(parts: list[Survivors], ngram_max: int) -> Survivors:
    """Different grams in one table."""
    parts = [_no_survivors(ngram_max), *parts]
    begins = np.cumsum([0, *(len(part.words) for part in parts[:-1])], dtype=np.int32)
    return Survivors(
        np.concatenate([part.words for part in parts]),
        np.concatenate([part.document_frequency for part in parts]),
        np.concatenate([part.count for part in parts]),
        np.concatenate([part.solutions for part in parts]),
        np.concatenate([part.failures for part in parts]),
        (
            np.concatenate([part.uses[0] + begin for part, begin in zip(parts, begins, strict=True)]),
            np.concatenate([part.uses[1] for part in parts]),
            np.concatenate([part.uses[2] for part in parts]),
        ),
    )


class _Level:
    """The n-grams. gram: (Q,) the number of each, index: (Q,) its row; counted: (R,) rows of successful solutions."""

    def __init__(self, n: int, gram: Ints, distinct: int, index: Ints, counted: Bools) -> None:
        self.n = n
        self.gram = gram
        self.index = index
        self.distinct = distinct
        self.counted = counted[index]
        self.occurrences = np.bincount(gram, minlength=distinct)
        whole = bool(self.counted.all())
        self.count = self.occurrences if whole else np.bincount(gram[self.counted], minlength=distinct)


def _continued(word: Ids, index: Ints, key: Ints) -> tuple[Ints, Ints, Ids]:
    following = word[index]
    inside = following >= 0
    return index[inside], key[inside], following[inside]


def _named(key: Ints) -> tuple[Ints, int]:
    """The number of each key among the distinct ones, and how many those are."""
    encoded = pa.array(key).dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)


def _distinct(key: Ints) -> Ints:
    values: Ints = pc.unique(pa.array(key)).to_numpy()
    return values


def _count_level(level: _Level, rows: Rows, corpus: Corpus, rule: Rule, floor: tuple[int, int]) -> Counted:
    frequency = _document_frequency(level, rows, corpus, rule.minimum)
    common = np.flatnonzero(frequency >= rule.minimum)
    place = np.empty(level.distinct, dtype=np.int64)
    place[level.gram] = level.index
    words = np.stack([rows.words[k][place[common]] for k in range(level.n)], axis=1)
    kinds = corpus.word_kinds[words]
    symbols = (kinds & SYMBOL).any(axis=1)
    stop_words = ~symbols & (kinds & STOP_WORD).all(axis=1)
    names = ~symbols & ~stop_words & (kinds & NAME).any(axis=1)
    passed = ~symbols & ~stop_words & ~names
    distinct = int(np.count_nonzero(level.count))
    dropped = np.array([distinct - len(common), symbols.sum(), stop_words.sum(), names.sum()], dtype=np.int64)
    figures = frequency[common], level.count[common]
    high = (figures[0] > floor[0]) | ((figures[0] == floor[0]) & (figures[1] >= floor[1]))
    kept = np.flatnonzero(passed & high)
    padded = np.full((len(kept), rule.ngram_max), -1, dtype=np.int32)
    padded[:, : level.n] = words[kept]
    solutions, failures, uses = _users(level, rows, corpus, common[kept])
    survivors = Survivors(padded, figures[0][kept], figures[1][kept], solutions, failures, uses)
    return Counted(distinct, dropped, int(passed.sum()), survivors)


def _document_frequency(level: _Level, rows: Rows, corpus: Corpus, minimum: int) -> Ints:
    """(distinct,) documents with each gram; zero for those with fewer occurrences than `minimum`."""
    wanted = (level.count >= minimum)[level.gram] & level.counted
    document = corpus.document_of[rows.solutions[level.index[wanted]]]
    bits = _bits(document)
    pairs = _distinct((level.gram[wanted] << bits) | document)
    return np.bincount(pairs >> bits, minlength=level.distinct)


def _users(level: _Level, rows: Rows, corpus: Corpus, grams: Ints) -> tuple[Ints, Ints, tuple[Ids, Ids, Ids]]:
    """For each of these grams the successful solutions, the failures, and the uses by group."""
    number = np.full(level.distinct, -1, dtype=np.int64)
    number[grams] = np.arange(len(grams))
    gram = number[level.gram]
    wanted = gram >= 0
    solution = rows.solutions[level.index[wanted]]
    bits = _bits(solution)
    pairs = _distinct((gram[wanted] << bits) | solution)
    gram, group = pairs >> bits, corpus.group_of[pairs & ((1 << bits) - 1)]
    failed = group < 0
    failures = np.bincount(gram[failed], minlength=len(grams))
    gram, group = gram[~failed], group[~failed]
    bits = _bits(group)
    encoded = pa.array((gram << bits) | group).dictionary_encode()
    keys: Ints = encoded.dictionary.to_numpy()
    users = np.bincount(encoded.indices.to_numpy(), minlength=len(keys))
    uses = _int32(keys >> bits), _int32(keys & ((1 << bits) - 1)), _int32(users)
    return np.bincount(gram, minlength=len(grams)), failures, uses


def _bits(values: NDArray[np.integer]) -> int:
    return int(values.max()).bit_length() if len(values) else 1


def _int32(values: Ints) -> Ids:
    return values.astype(np.int32)


def _alone(rows: Rows, index: Ints, n: int, ngram_max: int) -> Counted:
    """The longer grams at rows whose n-gram occurs nowhere else: each is distinct, and rare."""
    distinct = 0
    for following in rows.words[n:ngram_max]:
        index = index[following[index] >= 0]
        distinct += len(index)
    return Counted(distinct, np.array([distinct, 0, 0, 0], dtype=np.int64), 0, _no_survivors(ngram_max))


def _no_survivors(ngram_max: int) -> Survivors:
    none, uses = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int32)
    return Survivors(np.zeros((0, ngram_max), dtype=np.int32), none, none, none, none, (uses, uses, uses))
