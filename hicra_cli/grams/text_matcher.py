"""Where strategic grams occur in text.

An occurrence reaches from the first character of a gram's first word to the last of its last word; words and what
breaks them are defined in `text.words`. Each distinct chunk between blanks is read once, so a text costs a dictionary
look-up per chunk and one pass of the automaton; only texts with an occurrence are looked at more closely.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.records import StrategicGram
from hicra_cli.grams.automaton import BREAK, Automaton
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.text.words import chunk_words, end_of_complete_words, left_out

Place = tuple[int, int, int]
"""Characters [start, end) and the index of the gram in its gram-set."""


@dataclass(frozen=True, slots=True)
class TextOccurrence:
    """A gram at the characters [start, end) of a text."""

    gram: StrategicGram
    start: int
    end: int


class TextMatcher:
    """Finds the grams of a gram-set in text; needs no tokenizer."""

    def __init__(self, gram_set: GramSet) -> None:
        self.gram_set = gram_set
        self.automaton = Automaton([gram.words for gram in gram_set.grams])
        self._letters = _Letters(self.automaton)

    def occurrences(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """All occurrences, nested and overlapping ones too, by start and then end.

        truncated: the text was cut off, so a gram whose last word could still go on is none.
        """
        return self.described(self.places(text, truncated=truncated))

    def counted(self, text: str, *, truncated: bool = False) -> list[TextOccurrence]:
        """The longest match from left to right, without overlaps: what semantic entropy counts."""
        return self.described(longest_from_left(self.places(text, truncated=truncated)))

    def places(self, text: str, *, truncated: bool = False) -> list[Place]:
        """What `occurrences` describes, as plain (start, end, index of the gram) for who has many."""
        chunks = _chunks(text)
        letters = list(map(self._letters.__getitem__, chunks))
        hits = self.automaton.find(b"".join(letters))
        if not hits:
            return []
        found = _outside(left_out(text), self._in_text(text, chunks, letters, hits))
        if truncated:
            complete = end_of_complete_words(text)
            found = [place for place in found if place[1] < complete]
        return sorted(found)

    def described(self, places: Iterable[Place]) -> list[TextOccurrence]:
        """Each place with its gram."""
        grams = self.gram_set.grams
        return [TextOccurrence(grams[index], start, end) for start, end, index in places]

    def _in_text(
        self, text: str, chunks: list[str], letters: list[bytes], hits: list[tuple[int, int, int]]
    ) -> list[Place]:
        """From letters to characters."""
        starts = _chunk_starts(text)
        width = self.automaton.dtype.itemsize
        ends = np.cumsum(np.fromiter(map(len, letters), dtype=np.int64, count=len(letters))) // width
        bounds = np.array(hits, dtype=np.int64)[:, :2] - (0, 1)
        in_chunks = np.searchsorted(ends, bounds, side="right")
        before = np.append(0, ends)[in_chunks]
        found: list[Place] = []
        for (opening, closing), (first, last), (at, to), (_, _, index) in zip(
            in_chunks.tolist(), (bounds - before).tolist(), starts[in_chunks].tolist(), hits, strict=True
        ):
            start, _ = self._letters.spans(chunks[opening])[first]
            _, end = self._letters.spans(chunks[closing])[last]
            found.append((at + start, to + end, index))
        return found


def longest_from_left(places: Iterable[Place]) -> list[Place]:
    """At each first word the longest gram, then on behind it."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda place: (place[0], -place[1])):
        if not kept or place[0] >= kept[-1][1]:
            kept.append(place)
    return kept


_LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_BREAK_CHUNK = " \0 "
_KNOWN_CHUNKS = 1 << 16
_LONGEST_KNOWN = 32


def _chunks(text: str) -> list[str]:
    """What stands between blanks, a chunk that breaks a gram for each line break."""
    for line_break in _LINE_BREAKS:
        if line_break in text:
            text = text.replace(line_break, _BREAK_CHUNK)
    return text.split()


def _chunk_starts(text: str) -> NDArray[np.int64]:
    """Where each of `_chunks` begins."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds = _kinds().take(np.minimum(codes, _BEHIND_BLANKS))
    after_space = np.append(True, kinds[:-1] != _OTHER)
    return np.flatnonzero((kinds == _LINE_BREAK) | ((kinds == _OTHER) & after_space))


_OTHER, _SPACE, _LINE_BREAK = range(3)
_BEHIND_BLANKS = 0x3001
"""The code point after the last blank, the ideographic one; stands for all after it."""


@cache
def _kinds() -> NDArray[np.uint8]:
    characters = map(chr, range(_BEHIND_BLANKS + 1))
    return np.array(
        [_LINE_BREAK if one in _LINE_BREAKS else _SPACE if one.isspace() else _OTHER for one in characters],
        dtype=np.uint8,
    )


class _Letters(dict[str, bytes]):
    """Chunk -> its letters in the automaton's alphabet, remembered; emptied when full, because text is endless.

    A word that no gram contains is a break, and breaks next to each other are one.
    """

    def __init__(self, automaton: Automaton) -> None:
        super().__init__()
        self._alphabet = automaton.letters
        self._width = automaton.dtype.itemsize
        self._spans: dict[str, list[tuple[int, int]]] = {}

    def __missing__(self, chunk: str) -> bytes:
        letters = b"".join(letter.to_bytes(self._width, "little") for letter, _, _ in self._read(chunk))
        if len(self) >= _KNOWN_CHUNKS:
            self.clear()
        if len(chunk) <= _LONGEST_KNOWN:
            self[chunk] = letters
        return letters

    def spans(self, chunk: str) -> list[tuple[int, int]]:
        """The characters of each letter of a chunk."""
        spans = self._spans.get(chunk)
        if spans is None:
            spans = [(start, end) for _, start, end in self._read(chunk)]
            if len(self._spans) >= _KNOWN_CHUNKS:
                self._spans.clear()
            if len(chunk) <= _LONGEST_KNOWN:
                self._spans[chunk] = spans
        return spans

    def _read(self, chunk: str) -> list[tuple[int, int, int]]:
        read: list[tuple[int, int, int]] = []
        for word, start, end in chunk_words(chunk):
            letter = BREAK if word is None else self._alphabet.get(word, BREAK)
            if letter != BREAK or not read or read[-1][0] != BREAK:
                read.append((letter, start, end))
        return read


def _outside(left_out_spans: list[tuple[int, int]], places: list[Place]) -> list[Place]:
    """Places that do not begin inside maths or code. What encloses maths and code breaks a gram, so none straddles."""
    if not left_out_spans:
        return places
    starts = [start for start, _ in left_out_spans]
    kept: list[Place] = []
    for place in places:
        before = bisect_right(starts, place[0]) - 1
        if before < 0 or place[0] >= left_out_spans[before][1]:
            kept.append(place)
    return kept
