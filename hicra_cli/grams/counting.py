"""Word n-grams of solutions: how often, in how many problems, by which policy, beside how many failures.

Exact counts of a stream that is read once, in bounded memory, by several processes. Texts become numbers of words
(`text/scan.py`), the places where grams begin are dealt into buckets by their first words (`count_buckets.py`), and
each bucket is counted by itself (`count_levels.py`); the most widespread grams meet in one pool (`count_pool.py`). The
result depends on nothing but the set of solutions: not on their order, nor on memory, nor on the number of processes.

Held in memory whatever the limit: each distinct word, each problem's name, and a few bytes for each solution.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.collect import CollectConfig
from hicra_cli.grams.candidates import Counts
from hicra_cli.grams.count_levels import NAME, REASONS, STOP_WORD, SYMBOL, Corpus, Rule
from hicra_cli.grams.count_pool import Group, Pool, candidates
from hicra_cli.grams.count_spool import Budget, Spool, budget_for
from hicra_cli.grams.count_tasks import Batch

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
"""The pool is so many times larger than the candidates that ranking leaves of it."""


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
    scratch: Path | None = None,
    names: frozenset[str] = frozenset(),
    on_solution: Callable[[], None] = lambda: None,
) -> Counts:
    """Count the n-grams of `config.ngram_min` … `ngram_max` words in one pass; the pool of the most widespread ones.

    The pool holds POOL_FACTOR * `config.max_candidates` grams without contexts. scratch: a folder for what memory
    cannot hold, by default the system's. names: normalised words; a gram with one of them is dropped.
    Raises RunError where a counting process ends.
    """
    budget = budget_for(config.memory, config.workers)
    return count_within(budget, solutions, config, scratch=scratch, names=names, on_solution=on_solution)


def count_within(
    budget: Budget,
    solutions: Iterable[Solution],
    config: CollectConfig,
    *,
    scratch: Path | None = None,
    names: frozenset[str] = frozenset(),
    on_solution: Callable[[], None] = lambda: None,
) -> Counts:
    """`count_grams` under a budget that changes nothing but its costs."""
    rule = Rule(config.ngram_min, config.ngram_max, config.min_document_frequency)
    register = _Register()
    pool = Pool(POOL_FACTOR * config.max_candidates, config.ngram_max)
    distinct, passed, dropped = 0, 0, np.zeros(len(REASONS), dtype=np.int64)
    with Spool(rule, budget, scratch) as spool:
        for batch in _batches(solutions, register, on_solution, most_characters=budget.batch_characters):
            spool.add(batch)
        words = spool.words()
        corpus = register.corpus(words, names, by_problem=config.document == "problem")
        for counted in spool.counts(words, corpus, lambda: pool.floor):
            distinct, passed, dropped = distinct + counted.distinct, passed + counted.passed, dropped + counted.dropped
            pool.add(counted.survivors)
    ranked = pool.ranked()
    reasons = dict(zip(REASONS, dropped.tolist(), strict=True))
    return Counts(
        candidates=tuple(candidates(ranked, words, list(register.groups), register.group_sizes())),
        problems=register.num_problems(),
        solutions=len(register.counted) - register.num_failures(),
        words=spool.num_words,
        distinct_grams=distinct,
        dropped={**reasons, "beyond_pool": passed - len(ranked.words)},
        failures=register.num_failures(),
    )


class _Register:
    """What is kept of every solution, by its number: problem, group, success."""

    def __init__(self) -> None:
        self.groups: dict[Group, int] = {}
        self.counted = array("b")
        self._problems: dict[str, int] = {}
        self._problem_of, self._group_of = array("i"), array("i")

    def add(self, solution: Solution) -> None:
        self._problem_of.append(self._problems.setdefault(solution.problem_id, len(self._problems)))
        self._group_of.append(self.groups.setdefault((solution.policy, solution.step), len(self.groups)))
        self.counted.append(solution.successful)

    def corpus(self, words: Sequence[str], names: frozenset[str], *, by_problem: bool) -> Corpus:
        problem_of, group_of, counted = self._arrays()
        document_of = problem_of if by_problem else np.arange(len(counted), dtype=np.int32)
        return Corpus(document_of, np.where(counted, group_of, np.int32(-1)), _word_kinds(words, names))

    def group_sizes(self) -> list[int]:
        """The counted solutions of each group."""
        _, group_of, counted = self._arrays()
        sizes: list[int] = np.bincount(group_of[counted], minlength=len(self.groups)).tolist()
        return sizes

    def num_problems(self) -> int:
        """Problems with a counted solution."""
        problem_of, _, counted = self._arrays()
        return len(np.unique(problem_of[counted]))

    def num_failures(self) -> int:
        return len(self.counted) - sum(self.counted)

    def _arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
        problem_of, group_of = (np.array(values, dtype=np.int32) for values in (self._problem_of, self._group_of))
        return problem_of, group_of, np.array(self.counted, dtype=np.bool_)


def _batches(
    solutions: Iterable[Solution], register: _Register, on_solution: Callable[[], None], *, most_characters: int
) -> Iterator[Batch]:
    waiting: list[Solution] = []
    characters = first = number = 0
    for solution in solutions:
        register.add(solution)
        on_solution()
        waiting.append(solution)
        characters += len(solution.text)
        if characters >= most_characters:
            yield _batch(number, first, waiting)
            first += len(waiting)
            waiting, characters, number = [], 0, number + 1
    if waiting:
        yield _batch(number, first, waiting)


def _batch(number: int, first: int, solutions: Sequence[Solution]) -> Batch:
    return Batch(
        number,
        first,
        [each.text for each in solutions],
        [each.truncated for each in solutions],
        [each.successful for each in solutions],
    )


def _word_kinds(words: Sequence[str], names: frozenset[str]) -> NDArray[np.uint8]:
    kinds = (SYMBOL * _is_symbol(word) + STOP_WORD * (word in STOP_WORDS) + NAME * (word in names) for word in words)
    return np.fromiter(kinds, dtype=np.uint8, count=len(words))


def _is_symbol(word: str) -> bool:
    """A variable (one letter, `a` and `i` excepted), a number or a word without letters: calculation, not strategy."""
    if len(word) == 1:
        return word not in ("a", "i")
    return any(letter.isdigit() for letter in word) or not any(letter.isalpha() for letter in word)
