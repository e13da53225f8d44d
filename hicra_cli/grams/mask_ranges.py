"""Index arithmetic for groups that lie one after the other."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def joined_ranges(starts: Ints, lengths: Ints) -> Ints:
    """The numbers starts[i], starts[i] + 1, … of every range, `lengths[i]` of them, one range after the other."""
    ends = np.cumsum(lengths, dtype=np.int64)
    joined: Ints = np.repeat(starts - (ends - lengths), lengths)
    joined += np.arange(len(joined))
    return joined


def group_numbers(lengths: Ints) -> Ints:
    """The group of each element, where group i has `lengths[i]` elements."""
    return np.repeat(np.arange(len(lengths)), lengths)
