"""Grams that are not in the set but near it: what the paper expands a gram-set by (arXiv 2509.03646v1, section 2.1).

A candidate is near through a *family*, a group of grams of which some are in the set already:

- changed: the grams that differ from it in the same one word (`but let me *`);
- shortened: the grams that are longer by one word, at either end;
- extended: the grams that, like it, are a gram of the set and one word more;
- cluster: the grams of its cluster;
- association: the grams that are as strongly bound to success, or grow as much in training.

Association speaks only for grams that no annotator has judged, and what one has called not strategic is half as near.
How near is the share of the family that is in the set, with two grams more as a prior so that a family of two says
little. The best family of each kind counts, kinds are combined as independent evidence (1 - product of 1 - share).
Proposals are ordered by that times the logarithm of the words they would add to the planning mask. Everything is looked
up by key: the cost is linear in candidates and set.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hicra_cli.core.records import Move, StrategicGram
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.curation import num_uncovered

Kind = Literal["changed", "shortened", "extended", "cluster", "association"]
Words = tuple[str, ...]
Key = tuple[Any, ...]

PRIOR = 2
REDUNDANT_SHARE = 0.8
NUM_LEVELS = 20
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Missed:
    """A proposal. nearness: in (0, 1), see above. new_words: uses outside the set's grams times words not yet covered.

    kind, near: of the family that speaks most for it, and its members in the set, most widespread first.
    """

    candidate: Candidate
    move: Move | None
    kind: Kind
    near: tuple[str, ...]
    nearness: float
    new_words: int
    reason: str

    def to_row(self) -> dict[str, Any]:
        """The line of `missed.jsonl`."""
        scores = self.candidate.scores
        return {
            "gram": self.candidate.gram,
            "move": self.move.value if self.move else None,
            "kind": self.kind,
            "reason": self.reason,
            "near": list(self.near),
            "nearness": round(self.nearness, 4),
            "new_words": self.new_words,
            "count": self.candidate.count,
            "document_frequency": self.candidate.document_frequency,
            "log_odds": scores.log_odds,
            "growth": scores.growth,
            "contexts": list(self.candidate.contexts),
        }


def propose_missed(
    gram_set: Sequence[StrategicGram],
    candidates: Sequence[Candidate],
    *,
    passed_over: Collection[str] = (),
    judged: Collection[str] = (),
    clusters: Mapping[str, int] | None = None,
    limit: int,
) -> list[Missed]:
    """At most `limit` candidates that are near the set, the most promising first; independent of the order given.

    passed_over: grams that are not to be proposed (decided, or left out on purpose). judged: those that annotators have
    called not strategic. clusters: of candidates, where they have any.
    """
    members = {gram.words: gram for gram in gram_set}
    words_of = {tuple(each.gram.split()): each for each in candidates}
    families = _Families(members, words_of, clusters or {})
    counts = {words: each.count for words, each in words_of.items()}
    found = []
    for words, candidate in words_of.items():
        if words in members or candidate.gram in passed_over:
            continue
        is_judged = candidate.gram in judged
        if evidence := families.evidence(words, candidate, with_association=not is_judged):
            uses = max(0, candidate.count - families.uses_around(words, counts))
            new_words = uses * num_uncovered(words, members)
            if new_words:
                found.append(_proposal(candidate, evidence, members, new_words, weight=0.5 if is_judged else 1.0))
    found.sort(key=lambda each: (-each.nearness * math.log1p(each.new_words), each.candidate.gram))
    return _without_redundant(found, limit)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """A family of a candidate: how many of its `total` grams are the `members` in the set."""

    kind: Kind
    pattern: str
    members: Sequence[Words]
    total: int
    base: float = 0.0

    @property
    def share(self) -> float:
        return max(0.0, len(self.members) / (self.total + PRIOR) - self.base)


class _Families:
    """Which keys lead from a candidate to grams of the set, and how many grams each key has."""

    def __init__(
        self, members: Mapping[Words, StrategicGram], candidates: Mapping[Words, Candidate], clusters: Mapping[str, int]
    ) -> None:
        self._clusters = clusters
        self._levels = _levels(candidates)
        self._members: dict[Key, list[Words]] = defaultdict(list)
        self._cores = frozenset(members)
        for words in members:
            for key in self._keys(words, members[words].cluster):
                self._members[key].append(words)
        keys = (key for words in candidates.keys() | members.keys() for key in self._keys(words, None))
        self._totals = Counter(key for key in keys if key in self._members)
        for each in members.values():  # clusters that only the set knows
            if each.cluster is not None and each.text not in clusters:
                self._totals["cluster", each.cluster] += 1
        self._base = len(members) / max(1, len(candidates.keys() | members.keys()))
        self._around: dict[Words, list[Words]] = defaultdict(list)
        for words in members:
            for inner in _inner(words):
                self._around[inner].append(words)

    def evidence(self, words: Words, candidate: Candidate, *, with_association: bool) -> list[_Evidence]:
        """The best family of each kind, the most telling first; empty where there is none."""
        best: dict[Kind, _Evidence] = {}
        for each in self._of(words, candidate):
            if each.kind == "association" and not with_association:
                continue
            if each.share > 0 and (each.kind not in best or each.share > best[each.kind].share):
                best[each.kind] = each
        return sorted(best.values(), key=lambda each: (-each.share, each.kind))

    def uses_around(self, words: Words, counts: Mapping[Words, int]) -> int:
        """Uses of the candidate that a gram of the set around it covers already, at least."""
        return max((counts.get(outer, 0) for outer in self._around.get(words, ())), default=0)

    def _of(self, words: Words, candidate: Candidate) -> Iterator[_Evidence]:
        for key in _changed_keys(words):
            yield self._family("changed", " ".join(key[1:]), key)
        yield self._family("shortened", f"{candidate.gram} …", ("extends", words))
        for core in (words[1:], words[:-1]):
            if core in self._cores:
                yield self._family("extended", " ".join(core), ("extends", core))
        if candidate.gram in self._clusters:
            number = self._clusters[candidate.gram]
            yield self._family("cluster", f"cluster {number}", ("cluster", number))
        for key in self._levels.get(words, ()):
            yield self._family("association", str(key[1]), key, base=self._base)

    def _family(self, kind: Kind, pattern: str, key: Key, *, base: float = 0.0) -> _Evidence:
        return _Evidence(kind, pattern, self._members.get(key, ()), self._totals.get(key, 0), base)

    def _keys(self, words: Words, cluster: int | None) -> Iterator[Key]:
        """The families a gram belongs to."""
        yield from _changed_keys(words)
        if len(words) > 1:
            yield "extends", words[1:]
            if words[1:] != words[:-1]:
                yield "extends", words[:-1]
        number = self._clusters.get(" ".join(words), cluster)
        if number is not None:
            yield "cluster", number
        yield from self._levels.get(words, ())


def _changed_keys(words: Words) -> Iterator[Key]:
    for at in range(len(words)):
        yield "changed", *words[:at], "*", *words[at + 1 :]


def _levels(candidates: Mapping[Words, Candidate]) -> dict[Words, list[Key]]:
    """The candidates in the top twentieth of an association, where the corpus could tell: one key for each."""
    found: dict[Words, list[Key]] = defaultdict(list)
    measures: tuple[tuple[str, Callable[[Candidate], float | None]], ...] = (
        ("association with success", lambda each: each.scores.log_odds),
        ("growth in training", lambda each: each.scores.growth),
    )
    for name, measure in measures:
        known = [(words, value) for words, each in candidates.items() if (value := measure(each)) is not None]
        if len(known) < NUM_LEVELS:
            continue
        border = float(np.quantile([value for _, value in known], 1 - 1 / NUM_LEVELS))
        for words, value in known:
            if value >= border and value > 0:
                found[words].append(("level", name))
    return found


def _inner(words: Words) -> set[Words]:
    """The distinct shorter runs of words inside a gram."""
    lengths = range(1, len(words))
    return {words[start : start + length] for length in lengths for start in range(len(words) - length + 1)}


def _proposal(
    candidate: Candidate,
    evidence: Sequence[_Evidence],
    members: Mapping[Words, StrategicGram],
    new_words: int,
    *,
    weight: float,
) -> Missed:
    nearness = weight * (1 - math.prod(1 - each.share for each in evidence))
    best = evidence[0]
    alike = best.members if best.kind != "association" else ()  # nothing in common but a figure
    near = sorted(alike, key=lambda words: (-(members[words].document_frequency or 0), words))
    moves = Counter(move for words in alike if (move := members[words].move) is not None)
    move = min(moves, key=lambda each: (-moves[each], each), default=None)
    return Missed(
        candidate, move, best.kind, tuple(" ".join(words) for words in near[:SHOWN]), nearness, new_words, _reason(best)
    )


def _reason(best: _Evidence) -> str:
    share = f"{len(best.members)} of {best.total}"
    if best.kind == "changed":
        return f"{share} grams of the form `{best.pattern}` are in the set"
    if best.kind == "shortened":
        return f"{share} grams that are one word longer are in the set"
    if best.kind == "extended":
        return f"{share} grams that are `{best.pattern}` and one word more are in the set, like `{best.pattern}` itself"
    if best.kind == "cluster":
        return f"{share} grams of {best.pattern} are in the set"
    return f"{best.pattern}: among the highest twentieth, of which {share} grams are in the set"


def _without_redundant(ranked: Iterable[Missed], limit: int) -> list[Missed]:
    """The first ones, without those that are mostly a part of, or mostly around, one that is proposed already."""
    chosen: list[Missed] = []
    counts: dict[Words, int] = {}
    inside: dict[Words, int] = defaultdict(int)  # runs of words inside chosen ones → uses of the most used of them
    for each in ranked:
        if len(chosen) >= limit:
            break
        words, count = tuple(each.candidate.gram.split()), each.candidate.count
        runs = _inner(words)
        if inside.get(words, 0) >= REDUNDANT_SHARE * count or any(
            count >= REDUNDANT_SHARE * counts[run] for run in runs if run in counts
        ):
            continue
        chosen.append(each)
        counts[words] = count
        for run in runs:
            inside[run] = max(inside[run], count)
    return chosen
