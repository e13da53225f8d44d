"""How many words a text has, and how many of them lie inside spans: the words of `text.words`, counted, not listed.

Chunks between blanks repeat, so each is taken apart once; a text then costs a split and a look-up per chunk.
"""

from collections.abc import Iterable, Iterator

from hicra_cli.text.words import chunk_words, stretches

Span = tuple[int, int]

KNOWN_CHUNKS = 1 << 17
LONGEST_KNOWN = 32


class WordCounter:
    """Counts words; remembers chunks, in bounded memory."""

    def __init__(self) -> None:
        self._known = _Known()

    def words(self, text: str) -> int:
        """Words that a gram could cover: no numbers, maths or code."""
        return sum(self._of(stretch) for _, stretch in stretches(text))

    def words_inside(self, text: str, spans: Iterable[Span]) -> int:
        """Words inside any of the spans. spans: occurrences of grams, so each begins and ends with a word; by start."""
        return sum(self._of(text[start:end]) for start, end in union(spans))

    def _of(self, stretch: str) -> int:
        return sum(map(self._known.__getitem__, stretch.split()))


def union(spans: Iterable[Span]) -> Iterator[Span]:
    """The disjoint spans that cover the same; what only touches stays apart. spans: by start."""
    start, reached = -1, -1
    for first, end in spans:
        if first >= reached:
            if reached > start:
                yield start, reached
            start = first
        reached = max(reached, end)
    if reached > start:
        yield start, reached


class _Known(dict[str, int]):
    """Chunk -> its words."""

    def __missing__(self, chunk: str) -> int:
        number = sum(word is not None for word, _, _ in chunk_words(chunk))
        if len(self) >= KNOWN_CHUNKS:
            self.clear()
        if len(chunk) <= LONGEST_KNOWN:
            self[chunk] = number
        return number
