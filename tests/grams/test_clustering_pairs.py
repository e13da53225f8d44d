"""Neighbours by cosine: all of them, those of bounded lists, and those that cells find."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.grams import clustering_pairs
from hicra_cli.grams.clustering_pairs import cells, near_pairs, nearest

from .test_clustering import planted, unit


def as_pairs(neighbours, rows):
    return {(row, int(other)) for row in range(rows) for other in neighbours.of(row)}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.floats(-0.5, 0.95))
def test_all_pairs_that_reach_the_threshold_are_found_block_by_block(seed, threshold):
    rows, _ = planted(seed, groups=5, members=6, dimensions=4, noise=0.5)
    cosines = rows.astype(np.float64) @ rows.T.astype(np.float64)
    if (np.abs(cosines - threshold) < 1e-5).any():
        return  # rounding decides
    near = cosines >= threshold
    np.fill_diagonal(near, False)
    expected = {(int(row), int(other)) for row, other in np.argwhere(near)}
    assert as_pairs(near_pairs(rows, threshold=threshold, seed=0), len(rows)) == expected


def test_small_blocks_change_nothing(monkeypatch):
    rows, _ = planted(1, groups=6, members=10)
    whole = near_pairs(rows, threshold=0.3, seed=0)
    monkeypatch.setattr(clustering_pairs, "_BLOCK_BYTES", 1000)
    assert as_pairs(near_pairs(rows, threshold=0.3, seed=0), 60) == as_pairs(whole, 60)


def test_crowded_rows_keep_their_nearest_and_stay_mutual(monkeypatch):
    monkeypatch.setattr(clustering_pairs, "MAX_EDGES", 1)
    monkeypatch.setattr(clustering_pairs, "MIN_NEIGHBOURS", 1)
    # Angles 0, 10, 30, 70: each row's nearest is the one before it, and row 0's is row 1.
    angles = np.deg2rad([0, 10, 30, 70])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = as_pairs(near_pairs(rows, threshold=0.1, seed=0), 4)
    assert found == {(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)}


def test_cells_find_nearly_all_neighbours_and_nothing_else():
    rows, _ = planted(7, groups=150, members=20, dimensions=48, noise=0.08)
    exact = as_pairs(near_pairs(rows, threshold=0.7, seed=0), len(rows))
    found = as_pairs(near_pairs(rows, threshold=0.7, seed=0, exact_rows=100), len(rows))
    assert found <= exact
    assert len(found) >= 0.97 * len(exact)


def test_cells_repeat_themselves_and_depend_on_the_seed():
    rows, _ = planted(2, groups=10, members=30)
    first, second, other = (cells(rows, 6, seed=seed)[0] for seed in (4, 4, 5))
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != other.tobytes()


def test_a_row_belongs_to_the_first_of_equally_near_centres():
    centres = unit([[1, 1], [1, -1]])
    assert nearest(unit([[1, 0], [0, -1]]), centres).tolist() == [0, 1]


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_has_no_neighbours(rows):
    neighbours = near_pairs(np.ones((rows, 2), np.float32), threshold=0.5, seed=0)
    assert neighbours.start.tolist() == [0] * (rows + 1)
    assert not len(neighbours.ids)
