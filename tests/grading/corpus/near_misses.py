"""Near misses of a gold: texts that are guaranteed to say something else, by rules over the gold's text alone.

Each rule changes the meaning whatever the gold is: a leading digit, the sign of a number that is not zero, an element
left out or added, an end of an interval. Where a rule could leave the meaning (a repeated element, the name of a bound
variable, the last digits of a rounded number) it does not apply.
"""

import re
from collections.abc import Iterator
from fractions import Fraction

from tests.grading.corpus.spellings import DECIMAL, INTEGER, QUOTIENT, SCIENTIFIC, TEXT, elements, is_prose

_LEADING = re.compile(r"(?<![\d.])(0?\.?0*)([1-9])")
_BASE = re.compile(r"(\d+)_\{?(\d)\}?")
_INTERVAL = re.compile(r"(?:\\left)?\s*([(\[]).*,.*([)\]])", re.DOTALL)
_BOUND = re.compile(r"=|\\in\b|\\le|\\ge|[<>]|\\ddot|\\frac\s*\{\s*d|\\sum|\\prod")
_FREE_LETTER = re.compile(r"(?<![\\a-zA-Z])([nxtpsrkm])(?![a-zA-Z])")
_COMPLEX = re.compile(r"(-?\d+\s*)([+-])(\s*\d*i)")


def near_misses(gold: str) -> dict[str, str]:
    """Texts that are not equal to the gold, by the name of their rule."""
    rules = (_digits, _values, _constants, _elements, _ends, _letters, _objects, _words)
    return {name: text for rule in rules for name, text in rule(gold) if text != gold}


def _digits(gold: str) -> Iterator[tuple[str, str]]:
    """Another leading digit: more than any tolerance."""
    if match := _LEADING.search(TEXT.sub(lambda text: "~" * len(text.group()), gold)):
        digit = int(match.group(2))
        place = match.start(2)
        yield "digit", f"{gold[:place]}{digit - 1 if digit == 9 else digit + 1}{gold[place + 1 :]}"
    if match := _BASE.fullmatch(gold):
        yield "base", f"{match.group(1)}_{9 if match.group(2) != '9' else 8}"
        yield "base in the digits", f"{match.group(1)}{match.group(2)}"


def _values(gold: str) -> Iterator[tuple[str, str]]:
    """Another value, for golds that are one plain number."""
    if not any(form.fullmatch(gold) for form in (INTEGER, DECIMAL, SCIENTIFIC, QUOTIENT)):
        return
    if (value := _value(gold)) == 0:
        yield "not zero", "1"
        return
    yield "sign", gold[1:] if gold.startswith("-") else f"-{gold}"
    yield "sign in brackets", rf"-\left({gold}\right)"
    yield "times ten", rf"10\cdot\left({gold}\right)"
    yield "times a hundred", rf"100\cdot\left({gold}\right)"
    yield "hundredth", rf"\frac{{{gold}}}{{100}}"
    yield "times 2 pi", rf"2\pi\cdot\left({gold}\right)"
    yield "imaginary", rf"\left({gold}\right)i"
    yield "with a letter", f"{gold}x"
    yield "extra element", f"{gold}, 987654"
    yield "pair", f"({gold}, 987654)"
    if abs(value) < 1000:
        yield "plus one", f"{gold}+1"
    if value not in (1, -1):
        yield "square", rf"\left({gold}\right)^2"
        yield "inverse", rf"\frac{{1}}{{{gold}}}"


def _constants(gold: str) -> Iterator[tuple[str, str]]:
    """Without pi, with the other root of -1, with another symbol."""
    if is_prose(gold):
        return
    yield "no pi", re.sub(r"\\pi(?![a-zA-Z])", r"\\left(1\\right)", gold)
    if match := _COMPLEX.fullmatch(gold):
        yield "conjugate", f"{match.group(1)}{'-' if match.group(2) == '+' else '+'}{match.group(3)}"
    if gold == r"\alpha":
        yield "another symbol", r"\beta"


def _elements(gold: str) -> Iterator[tuple[str, str]]:
    """Missing and additional answers; entries of one tuple in another order."""
    if is_prose(gold) or "dots" in gold:
        return
    parts = elements(gold)
    if len(parts) > 1 and len(set(parts)) == len(parts):
        yield "missing element", ", ".join(parts[:-1])
        yield "missing first element", ", ".join(parts[1:])
        yield "extra element", f"{gold}, 987654"
    entries = elements(re.sub(r"^(?:\\left)?\(|(?:\\right)?\)$", "", gold)) if _is_tuple(gold) else []
    if len(entries) > 2:
        yield "missing entry", f"({', '.join(entries[:-1])})"
    if entries != entries[::-1]:
        yield "entries reversed", f"({', '.join(reversed(entries))})"


def _ends(gold: str) -> Iterator[tuple[str, str]]:
    """Open and closed ends exchanged, in pairs with brackets and unions of them; not at infinity, always open."""
    match = _INTERVAL.fullmatch(gold)
    if match is None or len(elements(gold)) > 1 or (r"\cup" not in gold and gold.count(",") != 1):
        return
    first, last = match.span(1), match.span(2)
    if not re.match(r"\s*-\s*\\infty", gold[first[1] :]):
        yield "first end", f"{gold[: first[0]]}{'[' if match.group(1) == '(' else '('}{gold[first[1] :]}"
    if not re.search(r"\\infty\s*(?:\\right)?\s*$", gold[: last[0]]):
        yield "last end", f"{gold[: last[0]]}{']' if match.group(2) == ')' else ')'}{gold[last[1] :]}"
    if r"\cup" in gold:
        yield "one part", gold.split(r"\cup")[0]


def _letters(gold: str) -> Iterator[tuple[str, str]]:
    """Expressions with free letters: another letter, another sign, something added."""
    letters = set(_FREE_LETTER.findall(TEXT.sub("", gold)))
    if not letters or is_prose(gold) or len(elements(gold)) > 1 or _BOUND.search(gold) or r"\cup" in gold:
        return
    if _is_tuple(gold) or r"\begin" in gold:
        return
    letter = min(letters)
    yield "another letter", _FREE_LETTER.sub(lambda each: "q" if each.group() == letter else each.group(), gold)
    yield "plus one", f"{gold}+1"
    yield "sign", rf"-\left({gold}\right)"
    yield "factor 2", rf"2\left({gold}\right)"
    yield "square", rf"\left({gold}\right)^2"


def _objects(gold: str) -> Iterator[tuple[str, str]]:
    """Equations, matrices, units."""
    if "=" in gold and not is_prose(gold):
        yield "plus one on the right", f"{gold}+1"
    if "pmatrix" in gold and "&" not in gold:
        yield "transposed", gold.replace(r"\\", "&")
    yield "another unit", re.sub(r"\\(text|mbox)\s*\{\s*(cm|inches|cents)\s*\}", r"\\\1{ kg}", gold)


def _words(gold: str) -> Iterator[tuple[str, str]]:
    """Words in a text command."""
    if match := re.fullmatch(r"\\text\{\(([A-E])\)\}", gold):
        yield "another choice", rf"\text{{({chr(ord(match.group(1)) + 1)})}}"
    match = re.fullmatch(r"\\text\s*\{([A-Za-z]{3,})\}", gold)
    if match is None:
        return
    word = match.group(1)
    yield "reversed", rf"\text{{{word[::-1]}}}"
    yield "negated", rf"\text{{not {word}}}"
    yield "cut", rf"\text{{{word[:-1]}}}"
    yield "a number", "1"


def _is_tuple(gold: str) -> bool:
    return bool(re.fullmatch(r"(?:\\left)?\s*\([^()]*,[^()]*\)", gold)) and r"\infty" not in gold


def _value(gold: str) -> Fraction:
    if match := QUOTIENT.fullmatch(gold):
        return Fraction(int(match.group(2)), int(match.group(3)))
    return Fraction(gold)
