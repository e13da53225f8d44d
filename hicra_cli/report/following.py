"""What a text does after each strategic gram: the outcomes whose spread is the conditional entropy.

The rule, for texts and grams alike: a text is read as a list of items, which are its words (as `text.words` has
them) and one `▢` for every stretch of numbers, formulas or code between two words: the form of a procedure counts,
not its particular numbers. After each counted occurrence the next n items that lie outside every occurrence of any
gram are its outcome, also across sentence ends, since what a gram announces is mostly done in the next sentence.
An occurrence with fewer than n such items left is incomplete: it has no outcome and is counted as such.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hicra_cli.text.words import segments

PROCEDURE = "▢"


class Item(NamedTuple):
    """A word, or PROCEDURE, at the characters [start, end) of its text."""

    symbol: str
    start: int
    end: int


class Span(Protocol):
    """The characters [start, end) of an occurrence."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


def items(text: str) -> list[Item]:
    """The text as words and stretches of procedure, in order."""
    found: list[Item] = []
    position = 0
    for word in (word for segment in segments(text) for word in segment):
        found += _procedure(text, position, word.start)
        found.append(Item(*word))
        position = word.end
    return found + _procedure(text, position, len(text))


def following(
    text: str, counted: Sequence[Span], covered: Sequence[Span], *, length: int
) -> list[tuple[str, ...] | None]:
    """For each `counted` occurrence the `length` items after it outside all `covered` ones; None if incomplete."""
    outside = _outside(items(text), sorted((span.start, span.end) for span in covered))
    starts = [item.start for item in outside]
    found: list[tuple[str, ...] | None] = []
    for span in counted:
        first = bisect_left(starts, span.end)
        chosen = tuple(item.symbol for item in outside[first : first + length])
        found.append(chosen if len(chosen) == length else None)
    return found


def count_pairs(pairs: dict[str, Counter[tuple[str, ...]]], gram: str, outcome: tuple[str, ...]) -> None:
    """Add one outcome of `gram` to `pairs`."""
    pairs.setdefault(gram, Counter())[outcome] += 1


def _procedure(text: str, start: int, end: int) -> list[Item]:
    inside = any(character.isalnum() for character in text[start:end])
    return [Item(PROCEDURE, start, end)] if inside else []


def _outside(found: Sequence[Item], spans: Sequence[tuple[int, int]]) -> list[Item]:
    """Items that no span touches; both ascend, spans may overlap."""
    kept, index, reach = [], 0, 0
    for item in found:
        while index < len(spans) and spans[index][0] < item.end:
            reach = max(reach, spans[index][1])
            index += 1
        if reach <= item.start:
            kept.append(item)
    return kept
