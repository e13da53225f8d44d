r"""Strict extraction: the last complete `\boxed{...}` of a response after its thinking, as in the paper.

Everything is one or two passes over the text, so a response of a million characters costs milliseconds. What does not
count as an answer: numbers after "the answer is", dollar signs, a box whose brace never closes.
"""

import re
from collections import deque
from dataclasses import dataclass

THINKING_END = "</think>"

_OPENING = re.compile(r"\\(?:boxed|fbox)\s*\{")
# An opened box, an escaped character, or a brace. Up to four backslashes: models escape as for JSON; the bound keeps
# the search linear on a text of backslashes.
_TOKEN = re.compile(r"\\{1,4}(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Boxed:
    """What strict extraction found. answer: stripped, None where no box is complete or the last one is empty.

    opened: some box was opened. closed: some box was complete.
    """

    answer: str | None
    opened: bool
    closed: bool


def find_boxed(response: str) -> Boxed:
    """The last complete box after the thinking, and where there is none, whether one was opened at all."""
    text = after_thinking(response)
    content = last_box(text)
    opened = content is not None or _OPENING.search(text) is not None
    return Boxed(content or None, opened, content is not None)


def final_answer(response: str) -> str | None:
    """The content of the last complete box after the thinking, stripped; None where there is none or it is empty."""
    return find_boxed(response).answer


def after_thinking(response: str) -> str:
    """What follows the last `</think>`; the whole response where that is missing."""
    return response.rpartition(THINKING_END)[2]


def last_box(text: str) -> str | None:
    r"""The content of the complete `\boxed{...}` or `\fbox{...}` that opens last; None without one.

    Braces are balanced, escaped ones (`\{`) are characters. In a nested box the inner one opens last.
    """
    opening = last_match(_OPENING, text)
    if opening is None:
        return None
    end = _closing(text, opening.end())
    if end is not None:
        return text[opening.end() : end].strip()
    return _last_closed_box(text)  # the box that opens last never closes


def last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The last of the matches that do not overlap, None without any."""
    newest = deque(pattern.finditer(text), maxlen=1)
    return newest[0] if newest else None


def _closing(text: str, start: int) -> int | None:
    """Where the brace that opened right before `start` closes."""
    depth = 1
    for token in _TOKEN.finditer(text, start):
        sign = token.group()
        if sign == "}":
            depth -= 1
            if depth == 0:
                return token.start()
        elif sign == "{" or len(sign) > 2:
            depth += 1
    return None


def _last_closed_box(text: str) -> str | None:
    """The complete box that opens last, in one pass whatever is left open."""
    open_braces: list[int | None] = []  # where a box's content starts, None for an ordinary brace
    start, end = -1, -1
    for token in _TOKEN.finditer(text):
        sign = token.group()
        if sign == "}":
            opened = open_braces.pop() if open_braces else None
            if opened is not None and opened > start:
                start, end = opened, token.start()
        elif sign == "{":
            open_braces.append(None)
        elif len(sign) > 2:
            open_braces.append(token.end())
    return text[start:end].strip() if start >= 0 else None
