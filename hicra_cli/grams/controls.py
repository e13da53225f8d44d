"""Control gram-sets: random n-grams matched to a gram-set (the paper's control), and a gram-set with some left out."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import FinishReason, StrategicGram
from hicra_cli.core.seeds import generator_for
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import TextMatcher
from hicra_cli.grams.rollout_file import RolloutRow

Words = tuple[str, ...]

PLACEBO_SOURCE = "placebo"
NEAREST = 5
"""A placebo is drawn among this many candidates that come nearest to its gram: fewer match better, more vary more."""


@dataclass(frozen=True, slots=True)
class Frequency:
    """How often a gram is used, and in how many problems."""

    document_frequency: int
    count: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A gram, its frequency (None: not known), and the random n-gram that stands for it."""

    gram: StrategicGram
    frequency: Frequency | None
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
        known = [(pair.frequency, pair.placebo) for pair in self.pairs if pair.frequency is not None]
        return {
            "lengths": _lengths(pair.gram.words for pair in self.pairs),
            "unmatched": len(self.unmatched),
            "unknown_frequency": len(self.pairs) - len(known),
            **_differences("document_frequency", [(a.document_frequency, b.document_frequency) for a, b in known]),
            **_differences("count", [(a.count, b.count) for a, b in known]),
        }


def placebo(
    gram_set: GramSet,
    candidates: Sequence[Candidate],
    *,
    seed: int,
    passed_over: Collection[str] = (),
    measured: Mapping[str, Frequency] | None = None,
) -> Placebo:
    """For each gram a random n-gram with as many words and nearly its document frequency and count, none twice.

    No n-gram of the set, none inside or around a gram of it, none of `passed_over` (what annotators call strategic).
    measured: frequencies of grams that the candidates do not hold; without, such a gram is matched to its own document
    frequency, where it has one, else to the median of the others. Independent of the order given. Raises DataError
    where nothing can be drawn.
    """
    members = {gram.words for gram in gram_set.grams}
    known = {tuple(each.gram.split()): each for each in candidates}
    pools = _pools(known, members, passed_over)
    if not known:
        raise _nothing_to_draw()
    frequencies = _frequencies(gram_set, known, measured or {})
    wanted = _wanted(gram_set, frequencies, known)
    generator = generator_for(seed, "placebo")
    pairs: list[Pair] = []
    unmatched: list[StrategicGram] = []
    # The most frequent first: they have the fewest candidates near them.
    for gram in sorted(gram_set.grams, key=lambda gram: (-float(wanted[gram.words].sum()), gram.words)):
        drawn = pools[len(gram.words)].draw(wanted[gram.words], generator) if len(gram.words) in pools else None
        if drawn is None:
            unmatched.append(gram)
        else:
            pairs.append(Pair(gram, frequencies.get(gram.words), drawn))
    if not pairs:
        raise _nothing_to_draw()
    return Placebo(tuple(sorted(pairs, key=lambda pair: pair.gram.words)), tuple(unmatched))


def frequencies_in(gram_set: GramSet, rows: Iterable[RolloutRow]) -> dict[str, Frequency]:
    """Of every gram, in rollouts that are not known to be wrong: what collecting counts."""
    matcher = TextMatcher(gram_set)
    counts: Counter[str] = Counter()
    problems: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.is_correct is False:
            continue
        for occurrence in matcher.occurrences(row.text, truncated=row.finish_reason is FinishReason.LENGTH):
            counts[occurrence.gram.text] += 1
            problems[occurrence.gram.text].add(row.prompt_id)
    return {gram.text: Frequency(len(problems[gram.text]), counts[gram.text]) for gram in gram_set.grams}


def drop(gram_set: GramSet, fraction: float, *, seed: int) -> GramSet:
    """The gram-set without that share of its grams, drawn at random and rounded to whole grams; one always stays.

    With the same seed a larger share leaves out all that a smaller one does.
    """
    order = generator_for(seed, "drop").permutation(len(gram_set))
    number = min(round(fraction * len(gram_set)), len(gram_set) - 1)
    left = sorted(order[number:].tolist())
    return replace(gram_set, grams=tuple(gram_set.grams[at] for at in left))


def _nothing_to_draw() -> DataError:
    return DataError(
        "no n-gram can stand for a gram of the set: the candidates hold none of its lengths outside it",
        fix="Collect candidates of the same lengths: `hicra collect-grams`",
    )


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
    known: Mapping[Words, Candidate], members: Collection[Words], passed_over: Collection[str]
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


def _runs(words: Words) -> set[Words]:
    """All runs of words in a gram, itself too."""
    return {words[start:end] for start in range(len(words)) for end in range(start + 1, len(words) + 1)}


def _frequencies(
    gram_set: GramSet, known: Mapping[Words, Candidate], measured: Mapping[str, Frequency]
) -> dict[Words, Frequency]:
    """Of the grams of the set, where they are known."""
    found = {
        gram.words: Frequency(known[gram.words].document_frequency, known[gram.words].count)
        for gram in gram_set.grams
        if gram.words in known
    }
    return {gram.words: measured[gram.text] for gram in gram_set.grams if gram.text in measured} | found


def _wanted(
    gram_set: GramSet, frequencies: Mapping[Words, Frequency], known: Mapping[Words, Candidate]
) -> dict[Words, NDArray[np.float64]]:
    """(2,) for each gram: logarithms of the document frequency and count to look for."""
    found = {words: np.array(_logarithms(each)) for words, each in frequencies.items()}
    median = np.median(list(found.values()) or [np.array(_logarithms(each)) for each in known.values()], axis=0)
    for gram in gram_set.grams:
        if gram.words not in found:
            own = gram.document_frequency
            found[gram.words] = np.full(2, math.log(own)) if own else median
    return found


def _logarithms(each: Candidate | Frequency) -> tuple[float, float]:
    return math.log(max(1, each.document_frequency)), math.log(max(1, each.count))


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
