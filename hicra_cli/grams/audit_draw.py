"""What a blind round asks about: grams of the set and n-grams from outside it, matched and mixed."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hicra_cli.core.errors import DataError
from hicra_cli.core.seeds import generator_for

WINDOW = 16  # a control is drawn among this many of the nearest in frequency


class Counted(Protocol):
    """A gram with its figures in the corpus: `Considered` and `Candidate` are such."""

    @property
    def gram(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def document_frequency(self) -> int: ...
    @property
    def contexts(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class AuditItem:
    """A gram to be judged. strategic: it is in the set; stands_for: how many uses in the corpus it represents."""

    gram: str
    strategic: bool
    count: int
    document_frequency: int
    stands_for: float
    contexts: tuple[str, ...] = ()

    @property
    def num_words(self) -> int:
        return len(self.gram.split())


def draw_audit(accepted: Sequence[Counted], others: Sequence[Counted], *, size: int, seed: int) -> list[AuditItem]:
    """Half grams of the set, half n-grams from outside it, in an order that tells nothing. A function of its arguments,
    whatever their order.

    others: candidates; those of the set, those nested with one of its grams (one contains the other) and those that
    share more than half of their words with the end or the beginning of one are left out, for their planning is the
    set's. size: at most; less where there is not enough. Raises DataError where one half
    would be empty.
    """
    used = sorted((each for each in accepted if each.count > 0), key=lambda each: each.gram)
    population = _outside(used, others)
    if not used or not population:
        half = "gram of the set occurs in the candidates" if not used else "n-gram is left outside the set"
        raise DataError(
            f"no {half}: there is nothing to compare", fix="Collect from more rollouts, or name other --candidates"
        )
    generator = generator_for(seed, "audit")
    order = generator.permutation(len(used))
    strategic = [used[at] for at in order[: min(len(used), max(1, size // 2))]]
    controls = _matched(strategic, population, generator)
    uses = sum(each.count for each in used)
    items = [_item(each, strategic=True, stands_for=uses / len(strategic)) for each in strategic]
    items += _weighted_controls(controls, population)
    return [items[at] for at in generator.permutation(len(items))]


def _outside(used: Sequence[Counted], others: Sequence[Counted]) -> list[Counted]:
    """Candidates as widespread as the rarest gram of the set, without those that are mostly the set's own words."""
    if not used:
        return []
    grams = {each.gram for each in used}
    inside = {part for gram in grams for part in _parts(gram)}
    heads = {" ".join(gram.split()[:length]) for gram in grams for length in range(2, len(gram.split()))}
    tails = {" ".join(gram.split()[-length:]) for gram in grams for length in range(2, len(gram.split()))}
    rarest = min(each.document_frequency for each in used)
    kept = {
        each.gram: each
        for each in others
        if each.count > 0
        and each.document_frequency >= rarest
        and each.gram not in inside
        and grams.isdisjoint(_parts(each.gram))
        and not _continues(each.gram.split(), heads, tails)
    }
    return [kept[gram] for gram in sorted(kept)]


def _continues(words: list[str], heads: set[str], tails: set[str]) -> bool:
    """Whether more than half of the words begin where a gram of the set ends, or end where one begins.

    `me check the sum` beside `let me check the`: where it stands, the gram mostly stands too.
    """
    lengths = range(len(words) // 2 + 1, len(words))
    return any(" ".join(words[:length]) in tails or " ".join(words[-length:]) in heads for length in lengths)


def _parts(gram: str) -> set[str]:
    """All runs of words inside a gram, itself too."""
    words = gram.split()
    return {" ".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1)}


def _matched(
    strategic: Sequence[Counted], population: Sequence[Counted], generator: np.random.Generator
) -> list[Counted]:
    """For each gram one n-gram of its length and about its frequency, none twice; fewer where they run out.

    Nearness is in factors of two of document frequency plus those of count.
    """
    lengths = np.array([len(each.gram.split()) for each in population])
    frequencies = np.array([_frequency(each) for each in population])
    is_free = np.ones(len(population), dtype=bool)
    chosen: list[Counted] = []
    for gram in strategic:
        pool = np.flatnonzero(is_free & (lengths == len(gram.gram.split())))
        if not len(pool):
            continue
        distance = np.abs(frequencies[pool] - _frequency(gram)).sum(axis=1)
        nearest = pool[np.argsort(distance, kind="stable")[:WINDOW]]
        at = int(nearest[generator.integers(len(nearest))])
        is_free[at] = False
        chosen.append(population[at])
    return chosen


def _frequency(each: Counted) -> tuple[float, float]:
    return math.log2(each.document_frequency + 1), math.log2(each.count + 1)


def _weighted_controls(controls: Sequence[Counted], population: Sequence[Counted]) -> list[AuditItem]:
    """Each control stands for its part of the uses of all n-grams of its length."""
    uses: Counter[int] = Counter()
    for each in population:
        uses[len(each.gram.split())] += each.count
    drawn = Counter(len(each.gram.split()) for each in controls)
    return [
        _item(each, strategic=False, stands_for=uses[length] / drawn[length])
        for each in controls
        for length in [len(each.gram.split())]
    ]


def _item(each: Counted, *, strategic: bool, stands_for: float) -> AuditItem:
    return AuditItem(each.gram, strategic, each.count, each.document_frequency, stands_for, each.contexts)
