"""Names that come from the problem text: Natalia, Springfield, ABC. A gram with one is about a problem, not a strategy.

A name is a word that the problems write with a capital inside a sentence, more than once with a capital anywhere, and
(almost) never without one. A word that the problems happen to show in a title only can still be an ordinary one: what
the solutions write in lower case now and then is no name either.

Languages that give every noun a capital defeat this; there nothing is taken for a name.
"""

import heapq
import re
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from hicra_cli.text.words import Word, segments

LOWER_FRACTION = 0.05
"""A name may be written in lower case this often: problems come from people."""

MOST_CAPITALS = 0.2
"""Share of capitals inside sentences above which capitals mean nothing (English problems have 2 to 7 %)."""

ENOUGH_WORDS = 500
"""Fewer words inside sentences cannot tell that share."""

SAMPLED_SOLUTIONS = 4000
"""Solutions looked at for lower case: a fixed number bounds time and memory."""

# Written with a capital by rule and yet part of how one thinks aloud.
_NEVER_NAMES = frozenset(("i", "i'm", "i'll", "i'd", "i've", "ok"))
_LOWER_WORD = re.compile(r"[^\W\d_A-Z][^\W\d_]*(?:['’][^\W\d_]+)?")


class NameFinder:
    """Collects evidence problem by problem and solution by solution; the order does not matter."""

    def __init__(self) -> None:
        self._problems: set[bytes] = set()
        self._capital: Counter[str] = Counter()
        self._first: Counter[str] = Counter()
        self._lower: Counter[str] = Counter()
        self._sampled: list[tuple[int, str]] = []

    def add(self, problem: str | None, solution: str) -> None:
        """One row of the corpus: a problem that was seen before counts no second time."""
        if problem is not None and (key := _digest(problem)) not in self._problems:
            self._problems.add(key)
            self._read_problem(problem)
        self._sample(solution)

    def names(self) -> frozenset[str]:
        """The names as normalised words, with and without the possessive 's."""
        total = self._capital.total() + self._lower.total()
        if total >= ENOUGH_WORDS and self._capital.total() > MOST_CAPITALS * total:
            return frozenset()
        likely = {
            word
            for word, number in self._capital.items()
            if number + self._first[word] > 1 and self._is_name(word, number, self._lower[word])
        }
        solved = Counter(word for _, text in self._sampled for word in _LOWER_WORD.findall(text) if word in likely)
        names = {word for word in likely if self._is_name(word, self._capital[word], solved[word])}
        return frozenset(names | {f"{name}'s" for name in names})

    @staticmethod
    def _is_name(word: str, capital: int, lower: int) -> bool:
        return word not in _NEVER_NAMES and lower <= LOWER_FRACTION * (capital + lower)

    def _read_problem(self, problem: str) -> None:
        found = segments(problem)
        inside = [word for segment in found for word in segment[1:]]
        if sum(_has_capital(problem, word) for word in inside) > len(inside) / 2:
            return  # a title or shouting
        for word in inside:
            (self._capital if _has_capital(problem, word) else self._lower)[_owner(word)] += 1
        for word in (segment[0] for segment in found):  # any word has a capital where a sentence begins
            (self._first if _has_capital(problem, word) else self._lower)[_owner(word)] += 1

    def _sample(self, solution: str) -> None:
        """Keep the solutions with the largest hashes: a sample that does not depend on the order."""
        entry = (int.from_bytes(_digest(solution), "big"), solution)
        if len(self._sampled) < SAMPLED_SOLUTIONS:
            heapq.heappush(self._sampled, entry)
        elif entry > self._sampled[0]:
            heapq.heapreplace(self._sampled, entry)


def names_in(rows: Iterable[tuple[str | None, str]]) -> frozenset[str]:
    """The names in (problem, solution) rows."""
    finder = NameFinder()
    for problem, solution in rows:
        finder.add(problem, solution)
    return finder.names()


def _has_capital(text: str, word: Word) -> bool:
    return text[word.start].isupper()


def _owner(word: Word) -> str:
    """The word without a possessive 's, so that Eliza and Eliza's are two uses of one name."""
    return word.normalised.removesuffix("'s")


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
