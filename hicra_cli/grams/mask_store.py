"""Two containers that grow while numpy looks things up in them: an array, and a table from pairs to numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class GrowingArray:
    """A numpy array with an end that moves. `used` is a view of what is in it, valid until the next `extend`."""

    def __init__(self, dtype: Any, row: tuple[int, ...] = ()) -> None:
        self._room = np.zeros((1024, *row), dtype=dtype)
        self.used = self._room[:0]

    def extend(self, values: Sequence[Any]) -> None:
        """Append the values, one row each."""
        old, new = len(self.used), len(self.used) + len(values)
        if new > len(self._room):
            room = np.zeros((2 * new, *self._room.shape[1:]), dtype=self._room.dtype)
            room[:old] = self.used
            self._room = room
        if values:
            self._room[old:new] = values
        self.used = self._room[:new]


class NumberTable:
    """Non-negative 64-bit keys -> non-negative numbers, by open addressing, looked up for many keys at once."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._build(bits=12)

    def __len__(self) -> int:
        return len(self._numbers)

    def get(self, key: int) -> int:
        """The number of one key, -1 where it has none."""
        return self._numbers.get(key, -1)

    def add(self, key: int, number: int) -> None:
        """Enter a key that is not there yet."""
        self._numbers[key] = number
        if 4 * len(self._numbers) > len(self._keys):
            self._build(bits=self._bits + 2)
        else:
            self._enter(key, number)

    def get_all(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,): the number of each key, -1 where it has none."""
        slots = self._slots(keys)
        there, numbers = self._keys.take(slots), self._values.take(slots)
        others = np.flatnonzero(there != keys)
        numbers[others] = -1
        searching = others[there[others] >= 0]
        while len(searching):
            slots[searching] = (slots[searching] + 1) & (len(self._keys) - 1)
            there, wanted = self._keys[slots[searching]], keys[searching]
            found = there == wanted
            numbers[searching[found]] = self._values[slots[searching[found]]]
            searching = searching[~found & (there >= 0)]
        return numbers

    def _build(self, *, bits: int) -> None:
        self._bits = bits
        self._keys = np.full(1 << bits, -1, dtype=np.int64)
        self._values = np.zeros(1 << bits, dtype=np.int64)
        for key, number in self._numbers.items():
            self._enter(key, number)

    def _enter(self, key: int, number: int) -> None:
        slot = ((key * _SPREAD) & _ALL_BITS) >> (64 - self._bits)
        while self._keys[slot] >= 0:
            slot = (slot + 1) & (len(self._keys) - 1)
        self._keys[slot] = key
        self._values[slot] = number

    def _slots(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        return ((keys.view(np.uint64) * np.uint64(_SPREAD)) >> np.uint64(64 - self._bits)).view(np.int64)


_SPREAD = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: the upper bits of a product are well mixed (Knuth, TAOCP 3, section 6.4)."""
_ALL_BITS = (1 << 64) - 1
