"""Which embeddings are near each other: the pairs whose cosine reaches a threshold, as lists of neighbours.

All pairs are compared up to EXACT_ROWS rows. Beyond it, rows are put into cells around about sqrt(M) centres and
compared within the cells that are nearest to them, so that time grows as M^1.5 and a few per cent of the pairs are
missed (measured by `bench_clustering --cells`). Memory is bounded in both cases: products are computed block by block,
and at most MAX_EDGES neighbours are kept, the nearest of each row.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.seeds import generator_for
from hicra_cli.grams.embeddings import Embeddings

EXACT_ROWS = 131_072
MAX_EDGES = 50_000_000
MIN_NEIGHBOURS = 32
PROBES = 32
_BLOCK_BYTES = 1 << 28
_ROUNDS = 8
_SAMPLE_PER_CENTRE = 64

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Row i's neighbours are `ids[start[i] : start[i + 1]]`, ascending; i is among j's where j is among i's.

    start: (M + 1,) int64. ids: (E,) int32.
    """

    start: NDArray[np.int64]
    ids: NDArray[np.int32]

    def of(self, row: int) -> NDArray[np.int32]:
        """The neighbours of a row, itself not among them."""
        return self.ids[self.start[row] : self.start[row + 1]]


def near_pairs(embeddings: Embeddings, *, threshold: float, seed: int, exact_rows: int = EXACT_ROWS) -> Neighbours:
    """Rows whose cosine is at least `threshold`.

    embeddings: (M, D) float32, unit rows. Where a row is compared with more than max(MIN_NEIGHBOURS, MAX_EDGES / M)
    near ones, only the nearest so many are kept, besides those that keep it as theirs.
    """
    rows = len(embeddings)
    limit = max(MIN_NEIGHBOURS, MAX_EDGES // max(rows, 1))
    blocks = _all_blocks(embeddings) if rows <= exact_rows else _cell_blocks(embeddings, seed=seed)
    found: list[NDArray[np.int64]] = []
    for block, columns in blocks:
        cosines = embeddings[block] @ embeddings[columns].T
        row, column = np.nonzero(_nearest_only(cosines, threshold=threshold, limit=limit))
        pair = block[row] * rows + columns[column]
        found.append(pair[block[row] != columns[column]])
    return _symmetric(np.concatenate(found) if found else np.empty(0, np.int64), rows)


def cells(embeddings: Embeddings, count: int, *, seed: int, purpose: str = "cells") -> tuple[Embeddings, Ids]:
    """`count` unit centres by spherical k-means, and the centre that each row is nearest to.

    Centres are fitted on a sample; equal rows in equal order give equal centres.
    """
    generator = generator_for(seed, purpose)
    sample = generator.permutation(len(embeddings))[: count * _SAMPLE_PER_CENTRE]
    points = embeddings[np.sort(sample)]
    centres = points[np.sort(generator.permutation(len(points))[:count])]
    for _ in range(_ROUNDS):
        centres = _centres(points, nearest(points, centres), centres)
    return centres, nearest(embeddings, centres)


def nearest(embeddings: Embeddings, centres: Embeddings) -> Ids:
    """(M,) int64: the centre with the largest cosine, the first of equal ones."""
    step = _rows_per_block(len(centres))
    parts = [(embeddings[start : start + step] @ centres.T).argmax(axis=1) for start in range(0, len(embeddings), step)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _all_blocks(embeddings: Embeddings) -> Iterator[tuple[Ids, Ids]]:
    """Rows against themselves and those after them: each pair is compared in one direction."""
    every = np.arange(len(embeddings))
    step = _rows_per_block(len(embeddings))
    for start in range(0, len(embeddings), step):
        yield every[start : start + step], every[start:]


def _cell_blocks(embeddings: Embeddings, *, seed: int) -> Iterator[tuple[Ids, Ids]]:
    """Rows of one cell against the rows of the PROBES cells nearest to its centre, its own included."""
    centres, cell = cells(embeddings, round(len(embeddings) ** 0.5), seed=seed)
    members = np.split(np.argsort(cell, kind="stable"), np.cumsum(np.bincount(cell, minlength=len(centres)))[:-1])
    for number, own in enumerate(members):
        if not len(own):
            continue
        probed = np.argsort(-(centres @ centres[number]), kind="stable")[:PROBES]
        columns = np.sort(np.concatenate([members[each] for each in probed]))
        step = _rows_per_block(len(columns))
        for start in range(0, len(own), step):
            yield own[start : start + step], columns


def _rows_per_block(columns: int) -> int:
    return max(1, _BLOCK_BYTES // (4 * max(columns, 1)))


def _nearest_only(cosines: Embeddings, *, threshold: float, limit: int) -> NDArray[np.bool_]:
    """Which entries reach the threshold and the `limit` largest of their row, itself not counted; ties stay whole."""
    near: NDArray[np.bool_] = cosines >= threshold
    crowded = np.flatnonzero(near.sum(axis=1) > limit + 1)
    if len(crowded):
        last = np.partition(cosines[crowded], -limit - 1, axis=1)[:, -limit - 1]
        near[crowded] &= cosines[crowded] >= last[:, None]
    return near


def _symmetric(pairs: NDArray[np.int64], rows: int) -> Neighbours:
    swapped = pairs % rows * rows + pairs // rows if rows else pairs
    both = np.unique(np.concatenate([pairs, swapped]))
    counts = np.bincount(both // max(rows, 1), minlength=rows)
    return Neighbours(np.concatenate([[0], np.cumsum(counts)]), (both % max(rows, 1)).astype(np.int32))


def _centres(points: Embeddings, cell: Ids, previous: Embeddings) -> Embeddings:
    """The unit mean of each cell's points; a cell that lost all of its points keeps its centre."""
    order = np.argsort(cell, kind="stable")
    filled, first = np.unique(cell[order], return_index=True)
    sums = np.add.reduceat(points[order], first, axis=0)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    centres = previous.copy()
    centres[filled] = np.where(norms > 0, sums / np.maximum(norms, 1e-12), previous[filled])
    return centres
