"""How widely clusters of grams are used: one pass over the solutions, with one automaton for all grams.

A solution uses a cluster when any of its grams occurs in it. So Cluster DF cannot be had from the grams' own counts:
their solutions overlap.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.errors import RunError
from hicra_cli.core.records import StrategicGram
from hicra_cli.grams.counting import Solution
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import TextMatcher

_PAIRS_HELD = 4_000_000

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Usage:
    """document_frequency, solutions: (K,) distinct documents and solutions that use a cluster.

    uses: (M,) occurrences of each gram, nested and overlapping ones each. num_documents, num_solutions: of the corpus.
    """

    document_frequency: Ids
    solutions: Ids
    uses: Ids
    num_documents: int
    num_solutions: int


def cluster_usage(
    grams: Sequence[str],
    cluster_ids: Ids,
    solutions: Iterable[Solution],
    *,
    by_problem: bool,
    on_solution: Callable[[], object] = lambda: None,
) -> Usage:
    """Count over the solutions. grams: (M,) normalised, distinct; cluster_ids: (M,) from 0 to K - 1.

    by_problem: documents are problems, else solutions. Unsuccessful solutions count for nothing. Raises RunError where
    no solution is left.
    """
    gram_set = GramSet(tuple(StrategicGram(tuple(gram.split())) for gram in grams))
    matcher = TextMatcher(gram_set)
    position = {gram: at for at, gram in enumerate(grams)}
    row_of = np.array([position[gram.text] for gram in gram_set.grams])
    num_clusters = int(cluster_ids.max()) + 1
    uses, users = np.zeros(len(grams), np.int64), np.zeros(num_clusters, np.int64)
    documents: dict[str, int] = {}
    pairs = _DistinctPairs(num_clusters)
    number = 0
    for number, solution in enumerate((each for each in solutions if each.successful), start=1):
        document = documents.setdefault(solution.problem_id if by_problem else str(number), len(documents))
        places = matcher.places(solution.text, truncated=solution.truncated)
        rows = row_of[np.fromiter((place[2] for place in places), np.int64, len(places))]
        np.add.at(uses, rows, 1)
        used = np.unique(cluster_ids[rows])
        users[used] += 1
        pairs.add(used, document)
        on_solution()
    if number == 0:
        raise RunError("there is no solution to count clusters in", fix="Repeat `hicra collect-grams`")
    return Usage(pairs.per_cluster(), users, uses, len(documents), number)


class _DistinctPairs:
    """Distinct (document, cluster) pairs; what is held grows with them, not with the solutions."""

    def __init__(self, num_clusters: int) -> None:
        self._num_clusters = num_clusters
        self._seen: Ids = np.empty(0, np.int64)
        self._new: list[Ids] = []
        self._held = 0

    def add(self, clusters: Ids, document: int) -> None:
        self._new.append(document * self._num_clusters + clusters)
        self._held += len(clusters)
        if self._held > max(_PAIRS_HELD, len(self._seen)):
            self._settle()

    def per_cluster(self) -> Ids:
        self._settle()
        counts: Ids = np.bincount(self._seen % self._num_clusters, minlength=self._num_clusters)
        return counts

    def _settle(self) -> None:
        self._seen = np.unique(np.concatenate([self._seen, *self._new]))
        self._new, self._held = [], 0
