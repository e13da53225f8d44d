"""Clusters of embeddings: average linkage by cosine threshold (the default), HDBSCAN, or k-means.

A cluster is named by its first row, so a result is a function of the rows and their order; callers sort their grams.
Average linkage is exact up to `clustering_pairs.EXACT_ROWS` rows and works in cells beyond. HDBSCAN compares all pairs
of at most HDBSCAN_ROWS rows at a time; what borders of its cells cut is joined by average linkage of the clusters'
centroids. Memory never grows with the square of the rows.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.annotate_cluster import ClusterConfig
from hicra_cli.core.seeds import seed_for
from hicra_cli.grams.clustering_linkage import average_linkage
from hicra_cli.grams.clustering_pairs import cells, near_pairs
from hicra_cli.grams.embeddings import Embeddings

HDBSCAN_ROWS = 8192
FULL_KMEANS_ROWS = 100_000

Ids = NDArray[np.int64]


def cluster_embeddings(embeddings: Embeddings, config: ClusterConfig, *, seed: int) -> Ids:
    """(M,) int64: the first row of each row's cluster. embeddings: (M, D) float32, unit rows or zeros."""
    if len(embeddings) < 2:
        return np.arange(len(embeddings))
    return _ALGORITHMS[config.algorithm](embeddings, config, seed)


def centroids(embeddings: Embeddings, cluster_ids: Ids, count: int) -> tuple[Embeddings, NDArray[np.float64]]:
    """(K, D) unit mean vector of each cluster, and (K,) its cohesion: the mean cosine of members to it."""
    order = np.argsort(cluster_ids, kind="stable")
    sizes = np.bincount(cluster_ids, minlength=count)
    sums = np.add.reduceat(embeddings[order].astype(np.float64), np.cumsum(sizes) - sizes, axis=0)
    norms = np.linalg.norm(sums, axis=1)
    # The mean of x . c over the members x is |sum| / n where c = sum / |sum|.
    return (sums / np.maximum(norms, 1e-12)[:, None]).astype(np.float32), norms / sizes


def _agglomerative(embeddings: Embeddings, config: ClusterConfig, seed: int) -> Ids:
    neighbours = near_pairs(embeddings, threshold=config.threshold, seed=seed)
    return average_linkage(embeddings, neighbours, threshold=config.threshold)


def _hdbscan(embeddings: Embeddings, config: ClusterConfig, seed: int) -> Ids:
    name = np.arange(len(embeddings))
    parts = list(_parts(embeddings, name, seed))
    for part in parts:
        labels = _hdbscan_labels(embeddings[part], min_cluster_size=config.min_cluster_size)
        grouped = labels >= 0
        name[part[grouped]] = part[_first_of(labels[grouped], np.flatnonzero(grouped))]
    return name if len(parts) == 1 else _joined(embeddings, name, threshold=config.threshold, seed=seed)


def _kmeans(embeddings: Embeddings, config: ClusterConfig, seed: int) -> Ids:
    from sklearn.cluster import KMeans, MiniBatchKMeans  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    settings = {
        "n_clusters": min(config.num_clusters, len(np.unique(embeddings, axis=0))),
        "n_init": 1,
        "random_state": seed_for(seed, "k-means") % 2**32,
    }
    is_large = len(embeddings) > FULL_KMEANS_ROWS
    model = MiniBatchKMeans(batch_size=8192, **settings) if is_large else KMeans(**settings)
    # Threads would add up the means in the order in which they finish.
    with threadpool_limits(1):
        labels = model.fit_predict(embeddings)
    return _first_of(labels, np.arange(len(labels)))


_ALGORITHMS: dict[str, Callable[[Embeddings, ClusterConfig, int], Ids]] = {
    "agglomerative": _agglomerative,
    "hdbscan": _hdbscan,
    "kmeans": _kmeans,
}


def _hdbscan_labels(embeddings: Embeddings, *, min_cluster_size: int) -> Ids:
    """(M,) int64, -1 for rows of no cluster. For unit rows Euclidean distance orders pairs as the cosine does."""
    from sklearn.cluster import HDBSCAN

    if len(embeddings) < min_cluster_size:
        return np.full(len(embeddings), -1)
    labels: Ids = HDBSCAN(min_cluster_size=min_cluster_size, copy=True).fit_predict(embeddings.astype(np.float64))
    return labels


def _parts(embeddings: Embeddings, rows: Ids, seed: int) -> Iterator[Ids]:
    """`rows` in parts of at most HDBSCAN_ROWS: cells, cut again where they are too large."""
    if len(rows) <= HDBSCAN_ROWS:
        yield rows
        return
    count = -(-2 * len(rows) // HDBSCAN_ROWS)
    _, cell = cells(embeddings[rows], count, seed=seed, purpose=f"hdbscan {len(rows)}")
    for number in np.unique(cell):
        part = rows[cell == number]
        # Rows that all look the same fall into one cell again and again: cut them by their order.
        yield from _parts(embeddings, part, seed) if len(part) < len(rows) else np.array_split(part, count)


def _joined(embeddings: Embeddings, name: Ids, *, threshold: float, seed: int) -> Ids:
    """Clusters of more than one row whose centroids average linkage joins become one."""
    first, cluster_ids, sizes = np.unique(name, return_inverse=True, return_counts=True)
    centres, _ = centroids(embeddings, cluster_ids, len(first))
    grouped = np.flatnonzero(sizes > 1)
    united = np.arange(len(first))
    pairs = near_pairs(centres[grouped], threshold=threshold, seed=seed)
    united[grouped] = grouped[average_linkage(centres[grouped], pairs, threshold=threshold)]
    return _first_of(united[cluster_ids], np.arange(len(name)))


def _first_of(labels: Ids, rows: Ids) -> Ids:
    """For each row the first row that has its label. rows: ascending."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return rows[first][inverse]
