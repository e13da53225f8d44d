"""Clusters of embeddings: the sparse average linkage against scikit-learn's, and what must not depend on order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering  # type: ignore[import-untyped]

from hicra_cli.config.annotate_cluster import ClusterConfig
from hicra_cli.grams import clustering
from hicra_cli.grams.clustering import centroids, cluster_embeddings
from hicra_cli.grams.clustering_linkage import average_linkage
from hicra_cli.grams.clustering_pairs import near_pairs


def unit(rows):
    rows = np.asarray(rows, np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def planted(seed, *, groups, members, dimensions=24, noise=0.05):
    """Unit rows around `groups` random directions, shuffled, and the group of each."""
    generator = np.random.default_rng(seed)
    directions = unit(generator.normal(size=(groups, dimensions)))
    truth = np.repeat(np.arange(groups), members)
    rows = unit(directions[truth] + noise * generator.normal(size=(len(truth), dimensions)))
    order = generator.permutation(len(truth))
    return rows[order], truth[order]


def partition(labels):
    """The clusters as a set of sets of rows: independent of how they are named."""
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


def assert_nearly(labels, truth):
    """No cluster mixes groups, and each group is one cluster but for at most a tenth of its rows, left as noise."""
    for label in np.unique(labels):
        assert len(np.unique(truth[labels == label])) == 1
    for group in np.unique(truth):
        _, sizes = np.unique(labels[truth == group], return_counts=True)
        assert sizes.max() >= 0.9 * sizes.sum()


def linked(rows, *, threshold):
    return cluster_embeddings(rows, ClusterConfig(threshold=threshold), seed=0)


def test_clusters_merge_by_the_mean_cosine_of_their_members():
    # Unit vectors at 0, 20, 40 degrees. cos 20 = 0.940, cos 40 = 0.766. The first two merge at 0.940; the third is at
    # a mean of (0.766 + 0.940) / 2 = 0.853 from them: one cluster at 0.85, two at 0.86.
    angles = np.deg2rad([0, 20.0, 40.001])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert partition(linked(rows, threshold=0.85)) == {frozenset({0, 1, 2})}
    assert partition(linked(rows, threshold=0.86)) == {frozenset({0, 1}), frozenset({2})}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(2, 120), threshold=st.floats(0.05, 0.98))
def test_average_linkage_over_neighbours_is_the_full_hierarchy_cut_at_the_threshold(seed, rows, threshold):
    points, _ = planted(seed, groups=max(1, rows // 6), members=6, dimensions=5, noise=0.4)
    points = points[:rows]
    if len(points) < 2:
        return
    theirs = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - threshold
    ).fit_predict(points)
    assert partition(linked(points, threshold=threshold)) == partition(theirs)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_average_linkage_finds_the_same_clusters_whatever_the_order_of_rows(seed):
    points, _ = planted(seed, groups=12, members=7, dimensions=6, noise=0.3)
    order = np.random.default_rng(seed + 1).permutation(len(points))
    permuted = np.empty(len(points), np.int64)
    permuted[order] = linked(points[order], threshold=0.7)
    assert partition(linked(points, threshold=0.7)) == partition(permuted)


@pytest.mark.parametrize("algorithm", ["agglomerative", "hdbscan", "kmeans"])
def test_every_algorithm_finds_planted_groups_and_repeats_itself(algorithm):
    rows, truth = planted(3, groups=8, members=30)
    config = ClusterConfig(algorithm=algorithm, num_clusters=8)
    labels = cluster_embeddings(rows, config, seed=5)
    assert np.array_equal(labels, cluster_embeddings(rows, config, seed=5))
    assert np.array_equal(labels, labels[labels])  # a cluster is named by one of its members, the first
    assert (labels <= np.arange(len(labels))).all()
    if algorithm == "agglomerative":
        assert partition(labels) == partition(truth)
    elif algorithm == "hdbscan":
        assert_nearly(labels, truth)


def test_hdbscan_in_cells_finds_what_it_finds_at_once(monkeypatch):
    rows, truth = planted(11, groups=20, members=40)
    monkeypatch.setattr(clustering, "HDBSCAN_ROWS", 400)
    assert_nearly(cluster_embeddings(rows, ClusterConfig(algorithm="hdbscan"), seed=0), truth)


def test_hdbscan_cuts_rows_that_are_all_equal(monkeypatch):
    monkeypatch.setattr(clustering, "HDBSCAN_ROWS", 50)
    rows = np.tile(unit([[1.0, 2.0, 3.0]]), (240, 1))
    assert len(cluster_embeddings(rows, ClusterConfig(algorithm="hdbscan"), seed=0)) == 240


def test_kmeans_makes_no_more_clusters_than_there_are_different_rows():
    rows = unit([[1, 0], [1, 0], [0, 1], [0, 1], [-1, 0]])
    labels = cluster_embeddings(rows, ClusterConfig(algorithm="kmeans", num_clusters=100), seed=0)
    assert partition(labels) == {frozenset({0, 1}), frozenset({2, 3}), frozenset({4})}


def test_a_row_of_zeros_is_near_to_nothing():
    rows = np.concatenate([unit([[1, 0], [1, 0.1]]), np.zeros((2, 2), np.float32)])
    assert partition(linked(rows, threshold=0.5)) == {frozenset({0, 1}), frozenset({2}), frozenset({3})}


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_and_one_gram_are_clustered(rows):
    assert linked(np.ones((rows, 3), np.float32), threshold=0.7).tolist() == list(range(rows))


def test_many_equal_rows_are_one_cluster():
    rows = np.tile(unit([[0.3, 0.4, 0.5]]), (300, 1))
    assert np.unique(linked(rows, threshold=0.99)).tolist() == [0]


def test_centroids_are_unit_means_and_cohesion_is_the_mean_cosine_to_them():
    # (1, 0) and (0.6, 0.8): sum (1.6, 0.8) of length 1.788854; cohesion 1.788854 / 2 = 0.894427, which is also
    # ((1, 0) + (0.6, 0.8)) . (0.894427, 0.447214) / 2 = (0.894427 + 0.894427) / 2
    rows = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    centres, cohesion = centroids(rows, np.array([0, 1, 0]), 2)
    np.testing.assert_allclose(centres, np.array([[0.894427, 0.447214], [0, 1]]), atol=1e-6)
    np.testing.assert_allclose(cohesion, [0.894427, 1.0], atol=1e-6)


def test_linkage_without_neighbours_leaves_every_row_alone():
    rows = unit([[1, 0], [0, 1], [1, 1]])
    neighbours = near_pairs(rows, threshold=0.99, seed=0)
    assert average_linkage(rows, neighbours, threshold=0.99).tolist() == [0, 1, 2]
