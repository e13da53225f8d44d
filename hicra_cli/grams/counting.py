"""Word n-grams of solutions: how often, in how many problems, by which policy, in which surroundings.

Exact counts over the whole corpus in one pass: words become numbers, the corpus one int32 array with -1 at every
break, and the n-gram that starts at a position is named by the pair (number of its first n - 1 words, number of its
last word), so that each n costs one sort. The result does not depend on the order of the solutions.

Document frequency counts *problems*: many rollouts of one easy problem are one document.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.collect import CollectConfig
from hicra_cli.grams.candidates import Candidate, Counts, Share
from hicra_cli.text.words import Word, segments

# A gram made of these alone says nothing about strategy ("of the", "it is in the"). Kept short on purpose:
# strategic grams are made of function words too ("is it true that", "so let me now"), hence no verbs but forms of
# `be`, no question words, no connectives of reasoning, no first or second person.
STOP_WORDS = frozenset(
    [
        *("a", "an", "the", "and", "or", "nor", "than", "as", "per"),
        *(
            "of",
            "to",
            "in",
            "on",
            "at",
            "by",
            "for",
            "from",
            "with",
            "into",
            "onto",
            "over",
            "under",
            "between",
            "among",
        ),
        *("is", "are", "was", "were", "be", "been", "being"),
        *("it", "its", "this", "that", "these", "those", "there", "here"),
        *("he", "she", "his", "her", "him", "they", "their", "them"),
    ]
)

POOL_FACTOR = 10
REASONS = ("rare", "symbols", "stop_words", "names", "beyond_pool")

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Solution:
    """One response to one problem.

    truncated: the limit of tokens cut it, so its last word may be a fragment. successful: False is read for comparison
    only (`Candidate.failures`) and counts for nothing else.
    """

    problem_id: str
    text: str
    policy: str | None = None
    step: int | None = None
    truncated: bool = False
    successful: bool = True


def count_grams(
    solutions: Iterable[Solution],
    config: CollectConfig,
    *,
    seed: int,
    scratch: Path | None = None,
    names: frozenset[str] = frozenset(),
    on_solution: Callable[[], None] = lambda: None,
) -> Counts:
    """Count the n-grams of `config.ngram_min` … `ngram_max` words in one pass; the pool of the most widespread ones.

    The pool holds POOL_FACTOR * `config.max_candidates` grams without contexts. scratch: a folder for what memory
    cannot hold. names: normalised words; a gram with one of them is dropped.
    """
    every = list(solutions)
    failed = [each for each in every if not each.successful]
    counted = [each for each in every if each.successful]
    corpus = _corpus(counted, on_solution)
    levels = [
        _count_level(corpus, level, minimum=config.min_document_frequency, names=names)
        for level in _levels(corpus, config.ngram_max)
        if level.n >= config.ngram_min
    ]
    order = _most_widespread(corpus, levels, limit=POOL_FACTOR * config.max_candidates)
    kept = {level.n: [gram for at, gram in order if at == index] for index, level in enumerate(levels)}
    built = [each for level in levels for each in _candidates(corpus, level, kept[level.n])]
    dropped = {reason: sum(level.dropped[reason] for level in levels) for reason in REASONS[:-1]}
    dropped["beyond_pool"] = sum(len(level.survivors) for level in levels) - len(order)
    failures = _failures(failed, {each.gram for each in built}, config)
    return Counts(
        candidates=tuple(sorted((replace(each, failures=failures[each.gram]) for each in built), key=_rank)),
        problems=corpus.num_problems,
        solutions=len(counted),
        words=int((corpus.words >= 0).sum()),
        distinct_grams=sum(level.distinct for level in levels),
        dropped=dropped,
        failures=len(failed),
    )


def _failures(failed: list[Solution], grams: set[str], config: CollectConfig) -> Counter[str]:
    found: Counter[str] = Counter()
    for solution in failed:
        lines = [[word.normalised for word in segment] for segment in _whole_segments(solution)]
        found.update(
            {
                gram
                for words in lines
                for n in range(config.ngram_min, config.ngram_max + 1)
                for at in range(len(words) - n + 1)
                if (gram := " ".join(words[at : at + n])) in grams
            }
        )
    return found


@dataclass(frozen=True, slots=True)
class _Corpus:
    """words: (P,) word numbers, -1 at breaks; start, end: (P,) characters; owner: (P,) solution, which has the rest."""

    vocabulary: list[str]
    words: Ids
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    owner: Ids
    problem_of: Ids
    num_problems: int
    group_of: Ids
    groups: list[tuple[str | None, int | None]]


@dataclass(frozen=True, slots=True)
class _Level:
    """The distinct n-grams. position, gram: (Q,) start and number of each occurrence; first: (D,) a start of each."""

    n: int
    position: Ids
    gram: Ids
    first: Ids


@dataclass(frozen=True, slots=True)
class _Counted:
    n: int
    position: Ids
    gram: Ids
    first: Ids
    count: Ids
    document_frequency: Ids
    survivors: Ids
    distinct: int
    dropped: dict[str, int]


def _corpus(solutions: Sequence[Solution], on_solution: Callable[[], None]) -> _Corpus:
    vocabulary: dict[str, int] = {}
    problems: dict[str, int] = {}
    groups: dict[tuple[str | None, int | None], int] = {}
    words, lengths, start, end = array("q"), array("q"), array("i"), array("i")
    problem_of, group_of = array("q"), array("q")
    for solution in solutions:
        before = len(words)
        for segment in _whole_segments(solution):
            words.extend([vocabulary.setdefault(word.normalised, len(vocabulary)) for word in segment])
            words.append(-1)
            start.extend([*(word.start for word in segment), 0])
            end.extend([*(word.end for word in segment), 0])
        lengths.append(len(words) - before)
        problem_of.append(problems.setdefault(solution.problem_id, len(problems)))
        group_of.append(groups.setdefault((solution.policy, solution.step), len(groups)))
        on_solution()
    return _Corpus(
        vocabulary=list(vocabulary),
        words=_int64(words),
        start=np.array(start, dtype=np.int32),
        end=np.array(end, dtype=np.int32),
        owner=np.repeat(np.arange(len(solutions), dtype=np.int64), _int64(lengths)),
        problem_of=_int64(problem_of),
        num_problems=len(problems),
        group_of=_int64(group_of),
        groups=list(groups),
    )


def _int64(values: "array[int]") -> Ids:
    return np.array(values, dtype=np.int64)


def _whole_segments(solution: Solution) -> list[list[Word]]:
    """The runs of words a gram may cover; the last word of a cut text is left out where it touches the end."""
    found = segments(solution.text)
    if solution.truncated and found and found[-1] and found[-1][-1].end == len(solution.text):
        return [*found[:-1], found[-1][:-1]]
    return found


def _levels(corpus: _Corpus, ngram_max: int) -> list[_Level]:
    """The n-grams for n = 1 … ngram_max: each is named by its first n - 1 words and its last word."""
    position = np.flatnonzero(corpus.words >= 0)
    _, first, gram = np.unique(corpus.words[position], return_index=True, return_inverse=True)
    levels = [_Level(1, position, gram, position[first])]
    for n in range(2, ngram_max + 1):
        last = position + n - 1
        inside = last < len(corpus.words)
        position, gram, last = position[inside], gram[inside], last[inside]
        unbroken = corpus.words[last] >= 0
        position, gram, last = position[unbroken], gram[unbroken], last[unbroken]
        pair = gram * len(corpus.vocabulary) + corpus.words[last]
        _, first, gram = np.unique(pair, return_index=True, return_inverse=True)
        levels.append(_Level(n, position, gram, position[first]))
    return levels


def _count_level(corpus: _Corpus, level: _Level, *, minimum: int, names: frozenset[str]) -> _Counted:
    distinct = len(level.first)
    used = np.unique(level.gram * max(corpus.num_problems, 1) + corpus.problem_of[corpus.owner[level.position]])
    document_frequency = np.bincount(used // max(corpus.num_problems, 1), minlength=distinct)
    words = corpus.words[level.first[:, None] + np.arange(level.n)]
    symbolic = _flags(corpus.vocabulary, _is_symbol)[words].any(axis=1)
    empty = _flags(corpus.vocabulary, STOP_WORDS.__contains__)[words].all(axis=1)
    named = _flags(corpus.vocabulary, names.__contains__)[words].any(axis=1)
    rare = document_frequency < minimum
    return _Counted(
        n=level.n,
        position=level.position,
        gram=level.gram,
        first=level.first,
        count=np.bincount(level.gram, minlength=distinct),
        document_frequency=document_frequency,
        survivors=np.flatnonzero(~rare & ~symbolic & ~empty & ~named),
        distinct=distinct,
        dropped={
            "rare": int(rare.sum()),
            "symbols": int((~rare & symbolic).sum()),
            "stop_words": int((~rare & ~symbolic & empty).sum()),
            "names": int((~rare & ~symbolic & ~empty & named).sum()),
        },
    )


def _flags(vocabulary: list[str], test: Callable[[str], bool]) -> NDArray[np.bool_]:
    return np.fromiter(map(test, vocabulary), dtype=np.bool_, count=len(vocabulary))


def _is_symbol(word: str) -> bool:
    """A variable (one letter, `a` and `i` excepted), a number or a word without letters: calculation, not strategy."""
    if len(word) == 1:
        return word not in ("a", "i")
    return any(letter.isdigit() for letter in word) or not any(letter.isalpha() for letter in word)


def _most_widespread(corpus: _Corpus, levels: list[_Counted], *, limit: int) -> list[tuple[int, int]]:
    """(level, gram) of the survivors with the largest document frequency; ties by count, then alphabetically."""
    level = np.concatenate([np.full(len(each.survivors), at) for at, each in enumerate(levels)])
    gram = np.concatenate([each.survivors for each in levels])
    frequency = np.concatenate([each.document_frequency[each.survivors] for each in levels])
    count = np.concatenate([each.count[each.survivors] for each in levels])
    order = np.lexsort((-count, -frequency))
    if len(order) > limit:
        # Equal figures at the border are ordered by their text, which only the border itself has to spell out.
        edge = order[limit - 1]
        clear = np.flatnonzero((frequency > frequency[edge]) | ((frequency == frequency[edge]) & (count > count[edge])))
        tied = np.flatnonzero((frequency == frequency[edge]) & (count == count[edge]))
        spelled = sorted(tied, key=lambda at: _spell(corpus, levels[level[at]], int(gram[at])))
        order = np.concatenate([clear, np.array(spelled[: limit - len(clear)], dtype=np.int64)])
    return [(int(level[at]), int(gram[at])) for at in order]


def _spell(corpus: _Corpus, level: _Counted, gram: int) -> str:
    start = level.first[gram]
    return " ".join(corpus.vocabulary[word] for word in corpus.words[start : start + level.n])


def _candidates(corpus: _Corpus, level: _Counted, kept: list[int]) -> list[Candidate]:
    """The kept grams of one length with their shares per policy and step."""
    if not kept:
        return []
    row_of = np.full(level.distinct, -1, dtype=np.int64)
    row_of[kept] = np.arange(len(kept))
    row = row_of[level.gram]
    position, row = level.position[row >= 0], row[row >= 0]
    num_solutions = len(corpus.problem_of)
    pair, first = np.unique(row * num_solutions + corpus.owner[position], return_index=True)
    row, owner, position = pair // num_solutions, pair % num_solutions, position[first]

    num_groups = len(corpus.groups)
    users = np.bincount(row * num_groups + corpus.group_of[owner], minlength=len(kept) * num_groups)
    users = users.reshape(len(kept), num_groups)
    sizes = np.bincount(corpus.group_of, minlength=num_groups)
    texts = [_spell(corpus, level, gram) for gram in kept]
    return [
        Candidate(
            gram=text,
            n=level.n,
            count=int(level.count[gram]),
            solutions=int(users[at].sum()),
            document_frequency=int(level.document_frequency[gram]),
            shares=_shares(corpus.groups, users[at], sizes),
            contexts=(),
        )
        for at, (gram, text) in enumerate(zip(kept, texts, strict=True))
    ]


def _shares(groups: list[tuple[str | None, int | None]], users: Ids, sizes: Ids) -> tuple[Share, ...]:
    found = [
        Share(policy, step, int(used), int(used) / int(size))
        for (policy, step), used, size in zip(groups, users, sizes, strict=True)
    ]
    return tuple(sorted(found, key=lambda share: (share.policy or "", -1 if share.step is None else share.step)))


def _rank(candidate: Candidate) -> tuple[int, int, str]:
    return -candidate.document_frequency, -candidate.count, candidate.gram
