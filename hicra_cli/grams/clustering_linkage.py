"""Average linkage at a cosine threshold over lists of neighbours: what clusters remain when everything near is merged.

For unit vectors the mean cosine between the members of two clusters is the product of their mean vectors, so no
distance matrix is needed. Clusters whose mean cosine reaches the threshold have a pair of members that does, so
neighbours by that threshold are the only clusters to look at: with all neighbours given, the result is that of the
full hierarchy cut at the threshold (held against scikit-learn in the tests).

The order of merging is that of nearest-neighbour chains. Average linkage is reducible: a cluster without a partner at
the threshold can never get one, and is final.
"""

import numpy as np
from numpy.typing import NDArray

from hicra_cli.grams.clustering_pairs import Neighbours

# A chain goes on only where the similarity grows by more than rounding does; so it cannot run in circles.
_ROUNDING = 1e-6


def average_linkage(embeddings: NDArray[np.float32], neighbours: Neighbours, *, threshold: float) -> NDArray[np.int64]:
    """(M,) int64: the first member of each row's cluster. embeddings: (M, D) float32, unit rows."""
    clusters = _Clusters(embeddings, neighbours)
    waiting = list(range(len(embeddings) - 1, -1, -1))
    chain: list[int] = []
    reached: list[float] = []  # similarity of each link of the chain to the one before
    while waiting or chain:
        if not chain:
            start = waiting.pop()
            if clusters.exists(start):
                chain, reached = [start], [threshold]
            continue
        partner, similarity = clusters.nearest(chain[-1])
        if len(chain) > 1 and similarity <= reached[-1] + _ROUNDING:
            waiting.append(clusters.merge(chain.pop(), chain.pop()))
            del reached[-2:]
        elif len(chain) == 1 and similarity < threshold:
            chain, reached = [], []
        else:
            chain.append(partner)
            reached.append(similarity)
    return clusters.first_members()


class _Clusters:
    """The clusters so far. A cluster is named by one of its rows; sums and sizes are kept at that row."""

    def __init__(self, embeddings: NDArray[np.float32], neighbours: Neighbours) -> None:
        rows = len(embeddings)
        self._name = np.arange(rows)
        self._sums = embeddings.astype(np.float32, copy=True)
        self._sizes = np.ones(rows, np.float32)
        self._members: dict[int, NDArray[np.int64]] = {}
        self._near: dict[int, NDArray[np.int64]] = {}
        self._neighbours = neighbours

    def exists(self, name: int) -> bool:
        return bool(self._name[name] == name)

    def nearest(self, cluster: int) -> tuple[int, float]:
        """The cluster of largest mean cosine and that cosine; (-1, -inf) where nothing is near."""
        others = self._name[self._near_of(cluster)]
        others = others[others != cluster]
        if not len(others):
            return -1, -np.inf
        similarity = self._sums[others] @ self._sums[cluster] / (self._sizes[others] * self._sizes[cluster])
        best = int(similarity.argmax())
        return int(others[best]), float(similarity[best])

    def merge(self, one: int, other: int) -> int:
        """Unite two clusters and return the name, which is that of the larger one: relabelling stays cheap."""
        kept, gone = (one, other) if self._sizes[one] >= self._sizes[other] else (other, one)
        moved = self._members_of(gone)
        near = np.concatenate([self._near_of(kept), self._near_of(gone)])
        self._name[moved] = kept
        self._members[kept] = np.concatenate([self._members_of(kept), moved])
        near = np.unique(self._name[near])
        self._near[kept] = near[near != kept]
        self._sums[kept] += self._sums[gone]
        self._sizes[kept] += self._sizes[gone]
        self._members.pop(gone, None)
        self._near.pop(gone, None)
        return kept

    def first_members(self) -> NDArray[np.int64]:
        first = np.full(len(self._name), len(self._name))
        np.minimum.at(first, self._name, np.arange(len(self._name)))
        return first[self._name]

    def _near_of(self, cluster: int) -> NDArray[np.int64]:
        found = self._near.get(cluster)
        return self._neighbours.of(cluster).astype(np.int64) if found is None else found

    def _members_of(self, cluster: int) -> NDArray[np.int64]:
        found = self._members.get(cluster)
        return np.array([cluster]) if found is None else found
