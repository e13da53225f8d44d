"""Control gram-sets: random n-grams matched to a gram-set (the paper's control), and a gram-set with some left out."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import StrategicGram
from hicra_cli.core.seeds import generator_for
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.gram_set import GramSet

PLACEBO_SOURCE = "placebo"
NEAREST = 5
"""A placebo is drawn among this many candidates that come nearest to its gram: fewer match better, more vary more."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A gram and the random n-gram that stands for it. gram_candidate: None where the candidates do not hold it."""

    gram: StrategicGram
    gram_candidate: Candidate | None
    placebo: Candidate


@dataclass(frozen=True, slots=True)
class Placebo:
    """The drawn pairs, and the grams for which no candidate was left."""

    pairs: tuple[Pair, ...]
    unmatched: tuple[StrategicGram, ...]

    @property
    def gram_set(self) -> GramSet:
        """The random n-grams as a gram-set; each has its gram's move, so that the moves are as frequent as before."""
        return GramSet(
            tuple(
                StrategicGram(
                    tuple(pair.placebo.gram.split()),
                    move=pair.gram.move,
                    source=PLACEBO_SOURCE,
                    document_frequency=pair.placebo.document_frequency,
                )
                for pair in self.pairs
            )
        )

    def to_summary(self) -> dict[str, Any]:
        """How well it matches: numbers by length, and mean differences of the logarithms (0 is a perfect match)."""
        known = [(pair.gram_candidate, pair.placebo) for pair in self.pairs if pair.gram_candidate is not None]
        return {
            "lengths": _lengths(pair.gram.words for pair in self.pairs),
            "unmatched": len(self.unmatched),
            "unknown_frequency": len(self.pairs) - len(known),
            **_differences("document_frequency", [(a.document_frequency, b.document_frequency) for a, b in known]),
            **_differences("count", [(a.count, b.count) for a, b in known]),
        }


def placebo(
    gram_set: GramSet, candidates: Sequence[Candidate], *, seed: int, passed_over: Collection[str] = ()
) -> Placebo:
    """For each gram a random n-gram with as many words and nearly its document frequency and count, none twice.

    No n-gram of the set, none inside or around a gram of it, none of `passed_over` (what annotators call strategic). A
    gram that the candidates do not hold is matched to its own document frequency, where it has one, else to the median
    of the others. Independent of the order given. Raises DataError where nothing can be drawn.
    """
    members = {gram.words for gram in gram_set.grams}
    known = {tuple(each.gram.split()): each for each in candidates}
    pools = _pools(known, members, passed_over)
    wanted = _frequencies(gram_set, known)
    generator = generator_for(seed, "placebo")
    pairs: list[Pair] = []
    unmatched: list[StrategicGram] = []
    # The most frequent first: they have the fewest candidates near them.
    for gram in sorted(gram_set.grams, key=lambda gram: (-float(wanted[gram.words].sum()), gram.words)):
        drawn = pools[len(gram.words)].draw(wanted[gram.words], generator) if len(gram.words) in pools else None
        if drawn is None:
            unmatched.append(gram)
        else:
            pairs.append(Pair(gram, known.get(gram.words), drawn))
    if not pairs:
        raise DataError(
            "no n-gram can stand for a gram of the set: the candidates hold none of its lengths outside it",
            fix="Collect candidates of the same lengths: `hicra collect-grams`",
        )
    return Placebo(tuple(sorted(pairs, key=lambda pair: pair.gram.words)), tuple(unmatched))


def drop(gram_set: GramSet, fraction: float, *, seed: int) -> GramSet:
    """The gram-set without that share of its grams, drawn at random and rounded to whole grams; one always stays.

    With the same seed a larger share leaves out all that a smaller one does.
    """
    order = generator_for(seed, "drop").permutation(len(gram_set))
    number = min(round(fraction * len(gram_set)), len(gram_set) - 1)
    left = sorted(order[number:].tolist())
    return replace(gram_set, grams=tuple(gram_set.grams[at] for at in left))


class _Pool:
    """Candidates of one length that may still be drawn."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self._candidates = sorted(candidates, key=lambda each: each.gram)
        self._frequencies = np.array([_logarithms(each) for each in self._candidates])  # (M, 2)
        self._free = np.ones(len(self._candidates), dtype=bool)

    def draw(self, wanted: NDArray[np.float64], generator: np.random.Generator) -> Candidate | None:
        """One of the nearest, at random; it is gone afterwards. None where the pool is empty."""
        places = np.flatnonzero(self._free)
        if not len(places):
            return None
        distances = np.abs(self._frequencies[places] - wanted).sum(axis=1)
        nearest = places[np.argsort(distances, kind="stable")[:NEAREST]]
        chosen = int(nearest[generator.integers(len(nearest))])
        self._free[chosen] = False
        return self._candidates[chosen]


def _pools(
    known: Mapping[tuple[str, ...], Candidate], members: Collection[tuple[str, ...]], passed_over: Collection[str]
) -> dict[int, _Pool]:
    inside = {run for words in members for run in _runs(words)}
    by_length: defaultdict[int, list[Candidate]] = defaultdict(list)
    for words, candidate in known.items():
        if (
            words not in inside
            and candidate.gram not in passed_over
            and not any(run in members for run in _runs(words))
        ):
            by_length[len(words)].append(candidate)
    return {length: _Pool(candidates) for length, candidates in by_length.items()}


def _runs(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    """All runs of words in a gram, itself too."""
    return {words[start:end] for start in range(len(words)) for end in range(start + 1, len(words) + 1)}


def _frequencies(
    gram_set: GramSet, known: Mapping[tuple[str, ...], Candidate]
) -> dict[tuple[str, ...], NDArray[np.float64]]:
    """(2,) of each gram: logarithms of document frequency and count."""
    found = {gram.words: np.array(_logarithms(known[gram.words])) for gram in gram_set.grams if gram.words in known}
    values = list(found.values()) or [np.array(_logarithms(each)) for each in known.values()]
    median = np.median(values, axis=0) if values else np.zeros(2)
    for gram in gram_set.grams:
        if gram.words not in found:
            frequency = gram.document_frequency
            found[gram.words] = np.full(2, math.log(frequency)) if frequency else median
    return found


def _logarithms(candidate: Candidate) -> tuple[float, float]:
    return math.log(max(1, candidate.document_frequency)), math.log(max(1, candidate.count))


def _lengths(grams: Any) -> dict[str, int]:
    return {f"{length}_words": number for length, number in sorted(Counter(map(len, grams)).items())}


def _differences(name: str, pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Mean difference and mean absolute difference of natural logarithms, placebo minus gram."""
    if not pairs:
        return {}
    differences = [math.log(max(1, drawn)) - math.log(max(1, own)) for own, drawn in pairs]
    return {
        f"{name}_log_difference": math.fsum(differences) / len(differences),
        f"{name}_log_distance": math.fsum(map(abs, differences)) / len(differences),
    }
