"""Aho–Corasick over words: every gram that ends at a word, in one pass whose cost does not depend on their number.

The library (daachorse) searches bytes, so each word of the grams is written as one letter of a private alphabet: 1, 2
or 4 bytes, as the number of words needs. The places within a letter draw on disjoint ranges of bytes, so a match can
never begin in the middle of one. What a word is, is `text.words`' business; no character of a text gets here.
"""

from collections.abc import Sequence

import daachorse
import numpy as np
from numpy.typing import NDArray

BREAK = 0
"""The letter of everything that ends a gram: breaks, and words that no gram contains."""


class Automaton:
    """Finds sequences of words.

    letters: word -> its letter, an integer of `dtype`; every other word is BREAK.
    """

    def __init__(self, sequences: Sequence[tuple[str, ...]]) -> None:
        vocabulary = sorted({word for sequence in sequences for word in sequence})
        self.dtype = _narrowest(len(vocabulary))
        numbers = _letters(len(vocabulary), self.dtype.itemsize)
        self.letters: dict[str, int] = dict(zip(vocabulary, numbers.tolist(), strict=True))
        patterns = [np.array([self.letters[word] for word in sequence], self.dtype).tobytes() for sequence in sequences]
        self._search = daachorse.DoubleArrayAhoCorasick(patterns)

    def find(self, letters: bytes) -> list[tuple[int, int, int]]:
        """All matches by their end, as first letter, end and index of the sequence. letters: as bytes of `dtype`."""
        width = self.dtype.itemsize
        return [(start // width, end // width, index) for start, end, index in self._search.find_overlapping(letters)]


def _narrowest(num_words: int) -> np.dtype[np.unsignedinteger]:
    if num_words < 1 << 8:
        return np.dtype("u1")
    return np.dtype("<u2") if num_words < 1 << 14 else np.dtype("<u4")


def _letters(num_words: int, width: int) -> NDArray[np.int64]:
    """The letters 1, 2, … of as many words: byte k of a letter (the lowest is 0) lies in the k-th part of 0–255."""
    part = 256 // width
    numbers = np.arange(1, num_words + 1)
    letters = np.zeros(num_words, dtype=np.int64)
    for place in range(width):
        letters |= ((numbers // part**place) % part + part * place) << (8 * place)
    return letters
