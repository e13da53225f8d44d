"""Where strategic grams occur in text.

An occurrence reaches from the first character of a gram's first word to the last of its last word; words and what
breaks them are defined in `text.words`. Each distinct chunk between blanks is read once, so a text costs a dictionary
look-up per chunk and one pass of the automaton; only lines with an occurrence are looked at more closely.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

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
        self._chunks = _Chunks(self.automaton)

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
        lines = text.splitlines(keepends=True)
        letters_of = self._chunks.__getitem__
        letters = [b"".join(map(letters_of, line.split())) for line in lines]
        hits = self.automaton.find(self._chunks.line_break.join(letters))
        if not hits:
            return []
        found = _outside(left_out(text), self._in_text(lines, letters, hits))
        if truncated:
            complete = end_of_complete_words(text)
            found = [place for place in found if place[1] < complete]
        return sorted(found)

    def described(self, places: Iterable[Place]) -> list[TextOccurrence]:
        """Each place with its gram."""
        grams = self.gram_set.grams
        return [TextOccurrence(grams[index], start, end) for start, end, index in places]

    def _in_text(self, lines: list[str], letters: list[bytes], hits: list[tuple[int, int, int]]) -> list[Place]:
        """From letters to characters. No gram reaches over a line."""
        offsets = [0, *accumulate(map(len, lines))]
        first_letters = [0, *accumulate(len(line) // self._chunks.width + 1 for line in letters)]
        found: list[Place] = []
        number, spans = -1, []
        for first, end, index in hits:
            if first >= first_letters[number + 1]:
                number = bisect_right(first_letters, first) - 1
                spans = self._chunks.letter_spans(lines[number])
            start, offset = first_letters[number], offsets[number]
            found.append((offset + spans[first - start][0], offset + spans[end - 1 - start][1], index))
        return found


def longest_from_left(places: Iterable[Place]) -> list[Place]:
    """At each first word the longest gram, then on behind it."""
    kept: list[Place] = []
    for place in sorted(places, key=lambda place: (place[0], -place[1])):
        if not kept or place[0] >= kept[-1][1]:
            kept.append(place)
    return kept


_KNOWN_CHUNKS = 1 << 16
_LONGEST_KNOWN = 32


class _Chunks(dict[str, bytes]):
    """Chunk -> its letters in the automaton's alphabet, remembered; emptied when full, because text is endless.

    A word that no gram contains is a break, and breaks next to each other are one.
    """

    def __init__(self, automaton: Automaton) -> None:
        super().__init__()
        self._letters = automaton.letters
        self.width = automaton.dtype.itemsize
        self.line_break = BREAK.to_bytes(self.width, "little")

    def __missing__(self, chunk: str) -> bytes:
        letters = b"".join(letter.to_bytes(self.width, "little") for letter, _, _ in self._read(chunk))
        if len(self) >= _KNOWN_CHUNKS:
            self.clear()
        if len(chunk) <= _LONGEST_KNOWN:
            self[chunk] = letters
        return letters

    def letter_spans(self, line: str) -> list[tuple[int, int]]:
        """The characters of each letter of a line."""
        spans: list[tuple[int, int]] = []
        position = 0
        for chunk in line.split():
            position = line.index(chunk, position)
            spans += [(position + start, position + end) for _, start, end in self._read(chunk)]
            position += len(chunk)
        return spans

    def _read(self, chunk: str) -> list[tuple[int, int, int]]:
        read: list[tuple[int, int, int]] = []
        for word, start, end in chunk_words(chunk):
            letter = BREAK if word is None else self._letters.get(word, BREAK)
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
