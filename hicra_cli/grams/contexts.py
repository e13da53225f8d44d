"""Example surroundings of grams, chosen by a hash: independent of the order of solutions, one per problem."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.seeds import seed_for
from hicra_cli.grams.counting import Solution
from hicra_cli.text.scan import BREAK, WordScanner
from hicra_cli.text.words import segments

CONTEXT_BEFORE = 120
CONTEXT_AFTER = 120

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def choose_contexts(
    solutions: Iterable[Solution],
    grams: Sequence[str],
    *,
    limit: int,
    seed: int,
    on_solution: Callable[[], None] = lambda: None,
) -> list[tuple[str, ...]]:
    """Up to `limit` surroundings of each gram, in the order of `grams`, at most one from each problem.

    grams: normalised words with a blank between, as in `Candidate.gram`. Only successful solutions are shown, each by
    the gram's first occurrence in it. Which ones is decided by a hash of (seed, problem, text, gram). The solutions
    are read once; of their texts nothing is kept but the best surroundings so far.
    """
    distinct = list(dict.fromkeys(grams))
    index, best = _GramIndex(distinct), _Best(distinct, limit)
    scanner = WordScanner()
    for batch in _batches(solutions, on_solution):
        if limit and distinct and batch:
            best.offer(batch, index.occurrences(batch, scanner), seed)
    chosen = dict(zip(distinct, best.contexts(), strict=True))
    return [chosen[gram] for gram in grams]


def context_around(text: str, start: int, end: int) -> str:
    """The characters around text[start:end], cut at blanks, each run of white space as one blank."""
    left, right = max(0, start - CONTEXT_BEFORE), min(len(text), end + CONTEXT_AFTER)
    before, after = text[left:start], text[end:right]
    if left > 0 and " " in before:
        before = before[before.index(" ") :]
    if right < len(text) and " " in after:
        after = after[: after.rindex(" ")]
    return " ".join((before + text[start:end] + after).split())


_BATCH_CHARACTERS = 1 << 21


def _batches(solutions: Iterable[Solution], on_solution: Callable[[], None]) -> Iterator[list[Solution]]:
    batch: list[Solution] = []
    characters = 0
    for solution in solutions:
        on_solution()
        if solution.successful:
            batch.append(solution)
            characters += len(solution.text)
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    yield batch


@dataclass(frozen=True, slots=True)
class _Occurrences:
    """First occurrences of grams in solutions: (U,) each. word: how many words of the solution come before."""

    gram: Ints
    solution: Ints
    word: Ints


class _GramIndex:
    """Finds grams in numbered text: a trie whose edges, level by level, are sorted arrays of (node, word)."""

    def __init__(self, grams: Sequence[str]) -> None:
        phrases = [gram.split(" ") for gram in grams]
        self._numbers = {word: number for number, word in enumerate(dict.fromkeys(chain.from_iterable(phrases)))}
        self._levels: list[tuple[Ints, Ints]] = []
        lengths = np.array([len(phrase) for phrase in phrases], dtype=np.int64)
        gram = np.arange(len(phrases))
        node = np.zeros(len(phrases), dtype=np.int64)
        for n in range(1, int(lengths.max(initial=0)) + 1):
            words = np.array([self._numbers[phrases[at][n - 1]] for at in gram.tolist()], dtype=np.int64)
            edges, node = np.unique(node * len(self._numbers) + words, return_inverse=True)
            ending = np.full(len(edges), -1, dtype=np.int64)
            ends = lengths[gram] == n
            ending[node[ends]] = gram[ends]
            self._levels.append((edges, ending))
            gram, node = gram[~ends], node[~ends]

    def occurrences(self, batch: Sequence[Solution], scanner: WordScanner) -> _Occurrences:
        """The first occurrence of each gram in each solution."""
        scanned = scanner.scan([each.text for each in batch], truncated=[each.truncated for each in batch])
        numbers = np.array([self._numbers.get(word, BREAK) for word in scanned.words] + [BREAK], dtype=np.int64)
        ids = np.concatenate([numbers[scanned.ids], np.full(len(self._levels), BREAK, dtype=np.int64)])
        place = np.flatnonzero(ids >= 0)
        gram, place = self._matches(ids, place)
        solution = np.searchsorted(scanned.ends, place, side="right")
        _, first = np.unique(gram * len(batch) + solution, return_index=True)
        gram, place, solution = gram[first], place[first], solution[first]
        before = np.concatenate([[0], np.cumsum(scanned.ids >= 0)])
        begins = np.concatenate([[0], scanned.ends])
        return _Occurrences(gram, solution, before[place] - before[begins[solution]])

    def _matches(self, ids: Ints, place: Ints) -> tuple[Ints, Ints]:
        """All (gram, place); those of one gram in the order of the text."""
        node = np.zeros(len(place), dtype=np.int64)
        grams, places = [], []
        for k, (edges, ending) in enumerate(self._levels):
            word = ids[place + k]
            key = node * len(self._numbers) + word
            node = np.searchsorted(edges, key)
            node[node == len(edges)] = 0
            found = (word >= 0) & (edges[node] == key)
            node, place = node[found], place[found]
            ends = ending[node] >= 0
            grams.append(ending[node[ends]])
            places.append(place[ends])
        return np.concatenate(grams), np.concatenate(places)


class _Best:
    """The best surroundings so far: for each gram up to `limit` problems, the smallest hash of each."""

    def __init__(self, grams: Sequence[str], limit: int) -> None:
        self._limit = limit
        self._lengths = [gram.count(" ") + 1 for gram in grams]
        self._salts = np.array([_text_hash(gram) for gram in grams], dtype=np.uint64)
        self._worst = np.full(len(grams), np.iinfo(np.uint64).max, dtype=np.uint64)
        self._chosen: list[dict[str, tuple[int, str]]] = [{} for _ in grams]

    def offer(self, batch: Sequence[Solution], found: _Occurrences, seed: int) -> None:
        """Take from a batch what is better than what is known."""
        hashes = np.array(
            [seed_for(seed, "contexts", prompt=f"{each.problem_id}\n{each.text}") for each in batch], dtype=np.uint64
        )
        priority = _mixed(hashes[found.solution] ^ self._salts[found.gram])
        better = np.flatnonzero(priority < self._worst[found.gram])
        better = better[np.lexsort((priority[better], found.gram[better]))]
        words_of: dict[int, list[tuple[int, int]]] = {}
        taken = self._taken(batch, found.gram[better].tolist(), found.solution[better].tolist())
        for at in better[taken][np.argsort(found.solution[better[taken]], kind="stable")].tolist():
            gram, number, word = int(found.gram[at]), int(found.solution[at]), int(found.word[at])
            if number not in words_of:
                words_of = {number: [(each.start, each.end) for each in chain(*segments(batch[number].text))]}
            start, end = words_of[number][word][0], words_of[number][word + self._lengths[gram] - 1][1]
            self._add(gram, batch[number].problem_id, int(priority[at]), context_around(batch[number].text, start, end))

    def contexts(self) -> list[tuple[str, ...]]:
        return [tuple(context for _, context in sorted(each.values())) for each in self._chosen]

    def _taken(self, batch: Sequence[Solution], grams: list[int], solutions: list[int]) -> Ints:
        """Of uses sorted by (gram, hash) the first of each problem, the first `limit` problems of each gram."""
        taken: list[int] = []
        problems: set[str] = set()
        last = -1
        for at, (gram, number) in enumerate(zip(grams, solutions, strict=True)):
            if gram != last:
                last, problems = gram, set()
            if len(problems) < self._limit and batch[number].problem_id not in problems:
                problems.add(batch[number].problem_id)
                taken.append(at)
        return np.array(taken, dtype=np.int64)

    def _add(self, gram: int, problem: str, priority: int, context: str) -> None:
        chosen = self._chosen[gram]
        chosen[problem] = min(chosen.get(problem, (priority, context)), (priority, context))
        if len(chosen) > self._limit:
            del chosen[max(chosen, key=lambda each: chosen[each])]
        if len(chosen) == self._limit:
            self._worst[gram] = max(chosen.values())[0]


def _text_hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _mixed(value: Hashes) -> Hashes:
    """The finaliser of splitmix64: spreads the bits of a xor of two hashes (Steele, Lea and Flood 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
