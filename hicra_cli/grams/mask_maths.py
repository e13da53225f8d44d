"""Maths and code in many short texts at once: `text.words.left_out`, as passes of numpy over their bytes.

Delimiters of each kind pair up on their own, and whether one opens or closes depends on its neighbours alone, so what
is open after each of them follows from the last one that leaves no choice and the number of those since. What is rarer
(code, three dollars in a row, an escaped line end) is left to `left_out`, text by text.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hicra_cli.text.tokens import decoded
from hicra_cli.text.words import ENVIRONMENT, left_out

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
SEPARATOR = b" "
"""Stands after each text: it opens, closes and continues nothing."""


def left_out_bytes(data: bytes, cuts: Ints) -> tuple[Ints, Ints]:
    """Where maths and code begin and end, as bytes of data, by their begin; spans may overlap.

    data: P texts, each followed by SEPARATOR. cuts: (P + 1,) where each text begins, then the length of data.
    """
    read = np.frombuffer(data, dtype=np.uint8)
    starts, ends, unclear = _maths(data, read, cuts)
    unclear = np.concatenate([unclear, np.flatnonzero(read == _BACKTICK)])
    if len(unclear):
        rare = np.zeros(len(cuts), dtype=bool)
        rare[_text_of(unclear, cuts)] = True
        common = ~rare[_text_of(starts, cuts)]
        texts = np.flatnonzero(rare).tolist()
        slow = _columns([span for text in texts for span in _left_out(data, int(cuts[text]), int(cuts[text + 1]) - 1)])
        starts, ends = np.append(starts[common], slow[0]), np.append(ends[common], slow[1])
    order = np.argsort(starts)
    return starts[order], ends[order]


@dataclass(frozen=True, eq=False)
class _Marks:
    """Delimiters of one kind. positions and ends: their bytes; opens, closes: what each can do."""

    positions: Ints
    ends: Ints
    opens: Bools
    closes: Bools


_BACKTICK, _BACKSLASH, _DOLLAR, _LINE_END, _BEGIN = b"`\\$\nb"


def _maths(data: bytes, read: NDArray[np.uint8], cuts: Ints) -> tuple[Ints, Ints, Ints]:
    """Begins and ends of maths, and places that make the text they are in a rare one."""
    texts = cuts[:-1]
    escapes = _escapes(np.flatnonzero(read == _BACKSLASH))
    escaped = np.zeros(len(read), dtype=bool)
    escaped[escapes + 1] = True
    spans = [_pairs(_brackets(read, escapes, pair), texts) for pair in (b"()", b"[]")]
    spans.append(_environments(data, escapes[_BEGIN_OR_END[read[escapes + 1]]], cuts))

    dollars = np.flatnonzero(read == _DOLLAR)
    dollars = dollars[~escaped[dollars]]
    unclear = np.zeros(0, dtype=np.int64)
    if len(dollars):
        line_ends = np.flatnonzero(read == _LINE_END)
        adjacent = np.diff(dollars) == 1
        after, before = np.append(adjacent, False), np.insert(adjacent, 0, False)
        unclear = np.concatenate([dollars[after & before], line_ends[escaped[line_ends]]])
        resets = np.concatenate([texts, _blank_lines(data, read, line_ends)])
        spans.append(_pairs(_singles(data, read, dollars[~after & ~before]), resets))
        doubles = dollars[after & ~before]
        always = np.ones(len(doubles), dtype=bool)
        spans.append(_pairs(_Marks(doubles, doubles + 2, always, always), resets))
    starts, ends = (np.concatenate(bounds) for bounds in zip(*spans, strict=True))
    return starts, ends, unclear


def _escapes(backslashes: Ints) -> Ints:
    """Of several backslashes in a row the first, third, … take the next character with them."""
    row_begins = np.insert(np.diff(backslashes) != 1, 0, True)[: len(backslashes)]
    firsts = backslashes[np.maximum.accumulate(np.where(row_begins, np.arange(len(backslashes)), 0))]
    escapes: Ints = backslashes[(backslashes - firsts) % 2 == 0]
    return escapes


def _brackets(read: NDArray[np.uint8], escapes: Ints, pair: bytes) -> _Marks:
    following = read[escapes + 1]
    opener, closer = pair
    chosen = (following == opener) | (following == closer)
    positions, following = escapes[chosen], following[chosen]
    return _Marks(positions, positions + 2, following == opener, following == closer)


def _environments(data: bytes, escapes: Ints, cuts: Ints) -> tuple[Ints, Ints]:
    """Environments close like brackets, whatever their names; those of prose are text."""
    spans: list[tuple[int, int]] = []
    opened: list[int] = []
    text = -1
    for at, of_text in zip(escapes.tolist(), _text_of(escapes, cuts).tolist(), strict=True):
        mark = _ENVIRONMENT.match(data, at, int(cuts[of_text + 1]) - len(SEPARATOR))
        if mark is None:
            continue
        if of_text != text:
            text, opened = of_text, []
        if data[at + 1] == _BEGIN:
            opened.append(at)
        elif opened:
            spans.append((opened.pop(), mark.end()))
    return _columns(spans)


def _singles(data: bytes, read: NDArray[np.uint8], dollars: Ints) -> _Marks:
    """Single dollars, which look at the characters around them."""
    before, after = read[dollars - 1], read[dollars + 1]  # before the first text stands the last separator
    opens = ~_SPACE[after] & ~_ALNUM[before]
    closes = ~_SPACE[before] & ~_DIGIT[after]
    for index in np.flatnonzero((before > 0x7F) | (after > 0x7F)).tolist():
        at = int(dollars[index])
        left = data[max(0, at - 4) : at].decode("utf-8", "replace")[-1:]
        right = data[at + 1 : at + 5].decode("utf-8", "replace")[0]
        opens[index] = not right.isspace() and not left.isalnum()
        closes[index] = not left.isspace() and not right.isdigit()
    return _Marks(dollars, dollars + 1, opens, closes)


def _blank_lines(data: bytes, read: NDArray[np.uint8], line_ends: Ints) -> Ints:
    """Line ends after which only blanks follow up to the next one."""
    firsts, seconds = line_ends[:-1], line_ends[1:]
    blank = np.zeros(len(firsts), dtype=bool)
    unsure = np.arange(len(firsts))
    for step in range(1, _LONGEST_INDENT):
        following = read[firsts[unsure] + step]
        blank[unsure[following == _LINE_END]] = True
        unsure = unsure[_MAYBE_SPACE[following]]
    for index in unsure.tolist():
        blank[index] = data[firsts[index] + 1 : seconds[index]].decode("utf-8", "replace").isspace()
    found: Ints = firsts[blank]
    return found


def _pairs(marks: _Marks, resets: Ints) -> tuple[Ints, Ints]:
    """Begins and ends of what lies between a delimiter that opens and the next one, if that closes.

    After a reset nothing is open. A delimiter that can close what is open does nothing else.
    """
    if not len(marks.positions):
        return marks.positions, marks.ends
    order = np.argsort(np.concatenate([resets, marks.positions]), kind="stable")  # at one place the reset comes first
    never = np.zeros(len(resets), dtype=bool)
    opens = np.concatenate([never, marks.opens])[order]
    closes = np.concatenate([never, marks.closes])[order]
    toggles = opens & closes
    decided = np.maximum.accumulate(np.where(toggles, 0, np.arange(len(order))))  # the first of all is a reset
    num_toggles = np.cumsum(toggles)
    is_open = (opens & ~closes)[decided] ^ ((num_toggles - num_toggles[decided]) % 2 == 1)
    closing = np.flatnonzero(is_open[:-1] & closes[1:]) + 1
    closers, openers = order[closing] - len(resets), order[closing - 1] - len(resets)
    return marks.positions[openers], marks.ends[closers]


def _columns(spans: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    bounds = np.array(spans, dtype=np.int64).reshape(-1, 2)
    return bounds[:, 0], bounds[:, 1]


def _ascii_table(characters: str) -> Bools:
    table = np.zeros(256, dtype=bool)
    table[list(characters.encode())] = True
    return table


_ASCII = [chr(code) for code in range(128)]
_SPACE = _ascii_table("".join(filter(str.isspace, _ASCII)))
_ALNUM = _ascii_table("".join(filter(str.isalnum, _ASCII)))
_BEGIN_OR_END = _ascii_table("be")
_ENVIRONMENT = re.compile(ENVIRONMENT.encode())
_MAYBE_SPACE = _SPACE | (np.arange(256) > 0x7F)
_MAYBE_SPACE[_LINE_END] = False
_LONGEST_INDENT = 9
_DIGIT = _ascii_table("".join(filter(str.isdigit, _ASCII)))


def _text_of(places: Ints, cuts: Ints) -> Ints:
    return np.searchsorted(cuts, places, side="right") - 1


def _left_out(data: bytes, start: int, end: int) -> list[tuple[int, int]]:
    text, sizes = decoded(data[start:end])
    at = [0, *np.cumsum(sizes).tolist()]
    return [(start + at[opened], start + at[closed]) for opened, closed in left_out(text)]
