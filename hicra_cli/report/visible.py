"""Text that models wrote, made safe to look at: what would hide, reorder or steer is shown as a mark instead.

Escaping for HTML is the template's business; here characters are replaced that no escaping disarms.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from hicra_cli.report.diagnosis import Mark

_KEPT = frozenset("\n\t")
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
MAX_ACCENTS = 3


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a sample's text; `grams` says which strategic grams cover it, `move` of the first of them."""

    text: str
    grams: str = ""
    move: str = ""


def visible(text: str) -> str:
    """The text with control, format, bidi, surrogate and unassigned characters as ␛ or ⟨U+202E⟩.

    Line feeds and tabs stay; of accents stacked on one letter the first MAX_ACCENTS stay.
    """
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    accents = 0
    for character in text:
        accents = accents + 1 if unicodedata.combining(character) else 0
        if accents <= MAX_ACCENTS:
            shown.append(_visible_character(character))
    return "".join(shown)


def pieces(text: str, marks: Sequence[Mark], *, limit: int) -> list[Piece]:
    """The first `limit` characters cut into stretches inside and outside grams, each visible; overlaps are joined."""
    found: list[Piece] = []
    position = 0
    shown = text[:limit]
    for group in _joined(marks):
        start, end = group[0].start, min(max(mark.end for mark in group), len(shown))
        if start >= end:
            break
        if position < start:
            found.append(Piece(visible(shown[position:start])))
        names = " · ".join(dict.fromkeys(mark.gram for mark in group))
        found.append(Piece(visible(shown[start:end]), grams=visible(names), move=group[0].move))
        position = end
    if position < len(shown):
        found.append(Piece(visible(shown[position:])))
    return found


def _joined(marks: Sequence[Mark]) -> list[list[Mark]]:
    groups: list[list[Mark]] = []
    reach = -1
    for mark in sorted(marks, key=lambda each: (each.start, each.end)):
        if mark.start < reach:
            groups[-1].append(mark)
        else:
            groups.append([mark])
        reach = max(reach, mark.end)
    return groups


def _visible_character(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
