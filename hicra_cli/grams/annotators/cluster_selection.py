"""Which clusters of grams are strategic: the paper's rule (Cluster DF), and a guard against fillers.

Kept are the clusters whose Cluster DF reaches that of the one at rank ceil(keep_fraction x K): the paper's top 20 %,
a tie at the border kept whole, so that nothing depends on an order. What is frequent is often filler ("the number of"):
a kept cluster that is nearer to phrases of calculation than to those of any move is refused, and its place is not
given to another, so that the guard only takes away.

Sparsity within a solution, which the paper names as a motive, does not part the two on real long reasoning (measured in
docs/clusters.md): solutions check themselves as often as they count. It is recorded, not used.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.cluster_seeds import EXECUTION_SEEDS, MOVE_SEEDS, NEAREST
from hicra_cli.grams.annotators.lexicon import judge
from hicra_cli.grams.embeddings import Embedder, Embeddings

CERTAIN = 0.5  # from here on the lexicon's judgement is a vote
QUORUM = 0.1  # of the uses must have a vote: one odd member does not speak for its cluster


class Verdict(StrEnum):
    """kept: strategic. rare: its Cluster DF is below the border. filler: kept by frequency, refused by the guard."""

    KEPT = "kept"
    RARE = "rare"
    FILLER = "filler"


@dataclass(frozen=True, slots=True)
class Closeness:
    """How near a cluster is to the phrases of a move, or of execution; `phrase` is the nearest of them."""

    phrase: str
    cosine: float


@dataclass(frozen=True, slots=True)
class Seeds:
    """A cluster among the seed phrases: the move it is nearest to, and execution."""

    move: Move
    planning: Closeness
    execution: Closeness

    @property
    def margin(self) -> float:
        """By how much planning is nearer; below 0 a filler."""
        return self.planning.cosine - self.execution.cosine


@dataclass(frozen=True, slots=True)
class MoveVotes:
    """Uses of the members that the lexicon gives a move, by move; total: uses of all members."""

    votes: Counter[Move]
    total: int

    @property
    def fraction(self) -> float:
        """Share of the cluster's uses that the lexicon calls strategic."""
        return sum(self.votes.values()) / self.total if self.total else 0.0

    @property
    def winner(self) -> Move | None:
        """The move with most uses, among equal ones the first in the order of `Move`; None below QUORUM."""
        return max(Move, key=lambda move: self.votes[move]) if self.fraction >= QUORUM else None


NO_VOTES = MoveVotes(Counter(), 0)


def border_frequency(document_frequency: Sequence[int], keep_fraction: float) -> int:
    """The Cluster DF from which clusters are kept; at least 1."""
    ranked = sorted(document_frequency, reverse=True)
    # 0.2 * 15 is 3.0000000000000004: without the correction a fourth cluster would be kept.
    rank = math.ceil(keep_fraction * len(ranked) - 1e-9)
    return max(1, ranked[max(1, rank) - 1])


def verdict(document_frequency: int, seeds: Seeds, *, border: int, refuse_fillers: bool) -> Verdict:
    """The decision on one cluster."""
    if document_frequency < border:
        return Verdict.RARE
    return Verdict.FILLER if refuse_fillers and seeds.margin < 0 else Verdict.KEPT


def seeds_of(centres: Embeddings, embedder: Embedder) -> list[Seeds]:
    """Each cluster among the seed phrases. centres: (K, D) float32, unit rows."""
    execution = _closeness(centres, EXECUTION_SEEDS, embedder)
    by_move = {move: _closeness(centres, phrases, embedder) for move, phrases in MOVE_SEEDS.items()}
    found: list[Seeds] = []
    for at in range(len(centres)):
        move = max(MOVE_SEEDS, key=lambda each: by_move[each][at].cosine)
        found.append(Seeds(move, by_move[move][at], execution[at]))
    return found


def lexicon_votes(grams: Sequence[str], uses: NDArray[np.int64]) -> MoveVotes:
    """What the lexicon says of a cluster's members, weighted by their uses."""
    votes: Counter[Move] = Counter()
    for gram, count in zip(grams, uses.tolist(), strict=True):
        judgement = judge(gram)
        if judgement.move is not None and judgement.confidence >= CERTAIN and count:
            votes[judgement.move] += count
    return MoveVotes(votes, int(uses.sum()))


def _closeness(centres: Embeddings, phrases: Sequence[str], embedder: Embedder) -> list[Closeness]:
    cosines = centres @ embedder.embed(phrases).T
    nearest = cosines.argmax(axis=1)
    means = np.sort(cosines, axis=1)[:, -NEAREST:].mean(axis=1)
    return [Closeness(phrases[best], float(mean)) for best, mean in zip(nearest.tolist(), means, strict=True)]
