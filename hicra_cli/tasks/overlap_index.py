"""Which runs of n words of known texts occur in other texts: an index of the known ones, any number of others.

A run is a 64-bit sum of its words' hashes, so a batch of texts costs a few array operations; the chance that two runs
of a large training set and a benchmark are taken for one another is below 1e-4 for 10^10 runs.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST_OWNERS = 256
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


class GramIndex:
    """The runs of `n` words of `texts`; texts with fewer words have none.

    grams_of: distinct runs of each text, (texts,) int64. owners: for run g the texts `owners[starts[g]:starts[g + 1]]`.
    """

    def __init__(self, texts: Sequence[Sequence[str]], *, n: int) -> None:
        self.n = n
        self._keys = {word: word_key(word) for text in texts for word in text}
        rows, hashes = self._runs(texts)
        self._hashes, grams = np.unique(hashes, return_inverse=True)
        pairs = np.unique(np.stack([grams, rows]), axis=1)
        self.owners: NDArray[np.int64] = pairs[1]
        self.starts = np.searchsorted(pairs[0], np.arange(len(self._hashes) + 1))
        self.grams_of = np.bincount(rows[_first_places(rows, grams)], minlength=len(texts))

    def __len__(self) -> int:
        return len(self._hashes)

    def found(self, texts: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(text, run) of every known run in these texts, each pair once, in order."""
        rows, hashes = self._runs(texts)
        if not len(self._hashes) or not len(hashes):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        known = self._hashes[places] == hashes
        rows, places = rows[known], places[known]
        first = _first_places(rows, places)
        return rows[first], places[first]

    def shared(self, texts: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(text, known text, number of distinct runs they share) of every pair that shares one.

        Runs of more than `MOST_OWNERS` known texts are passed over: templates and stock phrases, which would pair
        everything with everything.
        """
        rows, places = self.found(texts)
        telling = self.starts[places + 1] - self.starts[places] <= MOST_OWNERS
        rows, places = rows[telling], places[telling]
        widths = self.starts[places + 1] - self.starts[places]
        # The owners of each found run, one after the other.
        offsets = np.arange(widths.sum()) - np.repeat(np.cumsum(widths) - widths, widths)
        owners = self.owners[np.repeat(self.starts[places], widths) + offsets]
        codes, counts = np.unique(np.repeat(rows, widths) * (len(self.grams_of) + 1) + owners, return_counts=True)
        return codes // (len(self.grams_of) + 1), codes % (len(self.grams_of) + 1), counts

    def _runs(self, texts: Sequence[Sequence[str]]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """(text, hash) of every run whose words are all known."""
        keys = self._keys
        flat: list[int] = []
        lengths = []
        for text in texts:
            flat.extend([keys.get(word, 0) for word in text])
            flat.append(0)  # no run reaches into the next text
            lengths.append(len(text) + 1)
        words = np.array(flat, dtype=np.uint64)
        count = max(0, len(words) - self.n + 1)
        hashes = np.zeros(count, dtype=np.uint64)
        valid = np.ones(count, dtype=bool)
        for offset in range(self.n):
            hashes = hashes * _FACTOR + words[offset : offset + count]
            valid &= words[offset : offset + count] != 0
        rows = np.repeat(np.arange(len(texts)), lengths)[:count]
        return rows[valid], hashes[valid]


@lru_cache(maxsize=1 << 16)
def word_key(word: str) -> int:
    """A word as a number in 1 … 2^64 - 1, the same in every process."""
    digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def _first_places(rows: NDArray[np.int64], grams: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each distinct (row, gram) stands first."""
    if not len(rows):
        return np.empty(0, np.int64)
    first: NDArray[np.int64]
    _, first = np.unique(rows * (int(grams.max()) + 1) + grams, return_index=True)
    return first
