"""Index arithmetic for groups that lie one after the other; several times as fast as `np.repeat` with counts."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def joined_ranges(starts: Ints, lengths: Ints) -> Ints:
    """The numbers starts[i], starts[i] + 1, … of every range, `lengths[i]` of them, one range after the other."""
    filled = np.flatnonzero(lengths)
    if len(filled) < len(lengths):
        starts, lengths = starts.take(filled), lengths.take(filled)
    if not len(starts):
        return np.zeros(0, dtype=np.int64)
    ends = np.cumsum(lengths)
    steps = np.ones(ends[-1], dtype=np.int64)
    steps[0] = starts[0]
    steps[ends[:-1]] = starts[1:] - (starts[:-1] + lengths[:-1] - 1)
    return np.cumsum(steps)


def group_numbers(lengths: Ints) -> Ints:
    """The group of each element, where group i has `lengths[i]` elements."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.cumsum(np.bincount(ends[:-1], minlength=total)[:total])
