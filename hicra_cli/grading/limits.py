r"""Limits that an answer must keep to be computed with at all, checked on its text before anything parses it."""

import re

MAX_LENGTH = 2000
MAX_NESTING = 40
MAX_DIGIT_RUN = 1000
MAX_POWER = 10_000
MAX_FACTORIAL = 10_000

_DIGIT_RUN = re.compile(rf"\d{{{MAX_DIGIT_RUN + 1}}}")
_FACTORIAL = re.compile(r"(\d{1,20})\s*\}?\)?\s*!")
_REPEATED_FACTORIAL = re.compile(r"!\s*[)}]*\s*!")
_POWER = re.compile(r"(?:\^|\*\*)\s*[{(]?\s*[+-]?(\d+)")
_TOWER = re.compile(
    r"(?:\d|\))\s*\}?\s*(?:\^|\*\*)\s*[{(]?\s*(\d{1,6})\s*(?:\^|\*\*)\s*[{(]?\s*(\d{1,6})(?:\s*(?:\^|\*\*)\s*[{(]?\s*(\d+))?"
)
_EXPONENT = re.compile(r"\d[eE][+-]?(\d+)")


def over_limit(answer: str) -> str | None:
    """Why an answer is too large to be computed with, or None. One pass over a text of any length."""
    if len(answer) > MAX_LENGTH:
        return f"{len(answer)} characters, the limit is {MAX_LENGTH}"
    if _nesting(answer) > MAX_NESTING:
        return f"brackets nested deeper than {MAX_NESTING}"
    if _DIGIT_RUN.search(answer):
        return f"a number of more than {MAX_DIGIT_RUN} digits"
    if "!" in answer and (
        any(int(digits) > MAX_FACTORIAL for digits in _FACTORIAL.findall(answer)) or _REPEATED_FACTORIAL.search(answer)
    ):
        return f"a factorial above {MAX_FACTORIAL}!"
    powers = _POWER.findall(answer) + _EXPONENT.findall(answer)
    if any(len(digits) > 18 or int(digits) > MAX_POWER for digits in powers):
        return f"an exponent above {MAX_POWER}"
    if any(_is_tall(*tower) for tower in _TOWER.findall(answer)):
        return f"a tower of powers with an exponent above {MAX_POWER}"
    return None


def _nesting(text: str) -> int:
    depth = deepest = 0
    for sign in text:
        if sign in "({[":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in ")}]":
            depth = max(0, depth - 1)
    return deepest


def _is_tall(base: str, top: str, above: str) -> bool:
    """Whether `base ** top ** above` passes MAX_POWER."""
    if int(base) < 2 or int(top) == 0:
        return False
    if above and int(above) > 0:
        top = top if int(top) < 2 else str(int(top) ** min(int(above[:4]), 20))
    return int(top) > 40 or int(base) ** int(top) > MAX_POWER
