r"""Lenient extraction, used by name only: what a response most likely gives as its answer where no box is complete.

The rules in their order; of each the last place in the text after the thinking counts:

1. `box`        a complete `\boxed{...}` or `\fbox{...}`, the strict rule;
2. `bare box`   `\boxed 42`, or a box that lost its backslash (`boxed{42}`);
3. `####`       what follows GSM8K's mark on its line;
4. `phrase`     what follows "(final) answer is" or "(final) answer:" up to the end of its sentence or line; of a whole
                sentence its last formula, else its last number;
5. `maths`      the content of the last `$...$`, `$$...$$`, `\(...\)` or `\[...\]`; of an equation its right side;
6. `number`     the last number.

Each is linear in the length of the text. A lenient verdict says by which rule it was found.
"""

import re
from dataclasses import dataclass

from hicra_cli.grading.boxed import after_thinking, last_box, last_match

LONGEST_PHRASE = 400

_BARE_BOX = re.compile(r"\\(?:boxed|fbox)[ \t]{0,8}([^\s{}$\\]{1,60})|(?<![\\a-zA-Z])(?:boxed|fbox)\{([^{}]{1,200})\}")
_MARK = "####"
_PHRASE = re.compile(r"\b(?:final\s{1,4})?answer(?:\s{1,4}is\b|\s{0,4}:)(?:\s{0,4}[:=])?", re.IGNORECASE)
_MARKUP = re.compile(r"^[\s*_`:=]+|[\s*_`]+$")
_SENTENCE_END = re.compile(r"[.!](?=[\s*]|$)|\n")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}")
# A sentence about the answer, not the answer: so many words, the first of them at its start, or so many anywhere.
_SENTENCE_WORDS, _LONG_SENTENCE_WORDS = 2, 5
_UNFINISHED = tuple("=+-*/<>")
_MATHS = re.compile(r"\\\(|\\\[|\\\)|\\\]|(?<!\\)\$\$?")
_CLOSES = {"\\(": "\\)", "\\[": "\\]", "$": "$", "$$": "$$"}
_NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?\$?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:/\d+)?(?!\w)%?|[-+]?\.\d+")


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and the rule that found it."""

    answer: str
    rule: str


def lenient_answer(response: str) -> Found | None:
    """The answer by the first rule that finds one; None where there is not even a number."""
    text = after_thinking(response)
    rules = (
        ("box", last_box), ("bare box", _bare_box), (_MARK, _marked), ("phrase", _phrase), ("maths", _maths),
        ("number", _number),
    )  # fmt: skip
    for name, rule in rules:
        answer = rule(text)
        if answer:
            return Found(answer, name)
    return None


def _bare_box(text: str) -> str | None:
    last = last_match(_BARE_BOX, text)
    return None if last is None else (last.group(1) or last.group(2)).strip().rstrip(".,;")


def _marked(text: str) -> str | None:
    _, mark, rest = text.rpartition(_MARK)
    return rest.partition("\n")[0].strip() if mark else None


def _phrase(text: str) -> str | None:
    """What the last "answer is" or "answer:" announces; on the next line where its own line ends with it."""
    last = last_match(_PHRASE, text)
    if last is None:
        return None
    said = _MARKUP.sub("", text[last.end() : last.end() + LONGEST_PHRASE])
    if not said:
        return None
    formula = _formula_at_start(said)
    if formula is not None:
        return formula
    end = _SENTENCE_END.search(said)
    sentence = _MARKUP.sub("", said[: end.start()] if end else said).rstrip(".,;")
    if len(_WORD.findall(sentence)) >= (_SENTENCE_WORDS if sentence[:1].isalpha() else _LONG_SENTENCE_WORDS):
        return _maths(sentence) or _number(sentence) or sentence
    return sentence or None


def _formula_at_start(text: str) -> str | None:
    opening = _MATHS.match(text)
    if opening is None or opening.group() not in _CLOSES:
        return None
    end = text.find(_CLOSES[opening.group()], opening.end())
    return text[opening.end() : end].strip() or None if end >= 0 else None


def _maths(text: str) -> str | None:
    """The last complete formula between delimiters; a formula that never closes is none, nor is an amount of money."""
    content, opened = None, None
    for sign in _MATHS.finditer(text):
        closes = opened is not None and sign.group() == _CLOSES[opened.group()]
        if opened is not None and closes and (sign.group() != "$" or _is_formula(text, opened.end(), sign.start())):
            inner = text[opened.end() : sign.start()].strip()
            content, opened = inner or content, None
        elif sign.group() in _CLOSES:
            opened = sign
    return None if content is None else _right_side(content)


def _is_formula(text: str, start: int, end: int) -> bool:
    """Whether two dollar signs enclose a formula and not what stands between two prices: "$5 each, so $10"."""
    if end - start > LONGEST_PHRASE or start == end or text[end + 1 : end + 2].isdigit():
        return False
    content = text[start:end]
    if "\n" in content or content.rstrip().endswith(_UNFINISHED):
        return False
    return content[0].isspace() == content[-1].isspace()


def _right_side(formula: str) -> str:
    """`x = 5` gives 5; inequalities and `\\neq` stay whole."""
    left, equals, right = formula.rpartition("=")
    return right.strip().rstrip(".,;") if equals and right.strip() and left[-1:] not in "<>!" else formula.rstrip(".,;")


def _number(text: str) -> str | None:
    last = last_match(_NUMBER, text)
    return None if last is None else last.group().replace("$", "").replace("\u2212", "-")
