r"""How a cleaned text may be read: almost always in one way, in two where commas may group or separate.

`98,118,122,142` is a list of four numbers or one number. As long as a text has at most three groups it is a number,
and the list is a second reading only beside a text that is a list itself; see `readings`.
"""

import re
from fractions import Fraction
from functools import lru_cache

from hicra_cli.grading.nodes import EMPTY_SET, Const, Node, Num, Op, Text, Unreadable, number
from hicra_cli.grading.normal import is_words, opened, words
from hicra_cli.grading.reader import read_formula
from hicra_cli.grading.symbols import BASES

_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_ALL_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+")
_BLANK_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?![\d ]*[,\d])")
_BASE = r"\(?\s*(?:base\s*)?(?P<{}>\d{{1,3}}|" + "|".join(BASES) + r")\s*\)?"
_NUMERAL = re.compile(
    r"\(?\s*(?:\\(?:text|mathrm)\s*\{)?(?P<digits>[0-9A-Z]+)\}?\s*\)?\s*(?:_\s*\{?\s*(?:\\(?:text|mathrm)\s*\{)?\s*"
    + _BASE.format("below")
    + r"\s*\}*|,?\s*\(?\s*(?:\\(?:text|mathrm)\s*\{)?\s*\(?\s*(?:in\s+)?base\s*(?:\}\s*)?"
    + _BASE.format("behind")
    + r"\s*\}?\s*\)?)"
)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:\\text\s*\{)?\s*([aApP])?\.?\s*(?:[mM])?\.?\s*\}?")
_CHOICE = re.compile(r"(?:\\(?:text|mathrm|textbf|mathbf)\s*\{)?\s*\(?\s*([A-J])\s*(?:\)|\.|:|\))?\s*\}?\s*\)?")
_ORDINAL = re.compile(r"(\d{1,9})\s*(?:\^\s*)?\{?\s*(?:\\(?:text|mathrm)\s*\{)?\s*(?:st|nd|rd|th)\s*\}{0,2}")
_CHOICE_WITH_TEXT = re.compile(
    r"(?:\\(?:text|mathrm|textbf|mathbf)\s*\{)?\s*(?:\(([A-J])\)|([A-J])[.:)])\s*\}?\s*\S.*", re.DOTALL
)
_SHORT_WORDS = frozenset(("yes", "no", "odd", "dne", "none", "true", "one", "two", "six", "ten"))
_SYNONYMS: dict[str, Node] = {
    **dict.fromkeys(
        ("no solution", "no solutions", "no real solution", "no real solutions", "none exist", "empty set", "null set",
         "there are no solutions", "there is no solution", "no such value exists"), EMPTY_SET
    ),
    **dict.fromkeys(
        ("all real numbers", "all reals", "all real", "any real number", "the real numbers", "every real number",
         "real numbers"), Const("R")
    ),
    **dict.fromkeys(("dne", "does not exist", "undefined", "not defined", "doesn't exist"), Text("undefined")),
    **{word: number(value) for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )},
    **dict.fromkeys(("one half", "half", "one-half"), Num(Fraction(1, 2))),
    "infinity": Const("infinity"),
}  # fmt: skip


@lru_cache(maxsize=8192)
def readings(cleaned: str) -> tuple[Node, ...]:
    """The trees that a text may stand for, the likeliest first; none where it is not readable."""
    if (special := _special(cleaned)) is not None:
        return (special,)
    if cleaned.isascii() and cleaned.isdecimal() and len(cleaned) <= 1200:
        return (read_formula(cleaned),)
    text = _BLANK_GROUPED.sub(lambda run: run.group().replace(" ", ""), cleaned)
    try:
        joined = _joined(text)
        found = [read_formula(joined)]
        if joined != text and _ALL_GROUPED.fullmatch(text):
            found.append(read_formula(text))
        return tuple(found)
    except (Unreadable, RecursionError):  # a caller deep in the stack has less of it to give
        return ()


def _special(cleaned: str) -> Node | None:
    """What must not be read as a formula: words, clock times, numerals with a base, choice letters."""
    if is_words(cleaned) or cleaned.lower() in _SHORT_WORDS:
        spoken = words(cleaned)
        return _SYNONYMS.get(spoken) or Text(spoken)
    if ("_" in cleaned or "base" in cleaned) and (match := _NUMERAL.fullmatch(cleaned)):
        digits, base = match.group("digits"), match.group("below") or match.group("behind")
        if any(sign.isdecimal() for sign in digits):
            return Op("numeral", (Text(digits.lstrip("0") or "0"), Text(BASES.get(base, base))))
    if "," in cleaned and (names := _names(cleaned)):
        return names
    if ":" in cleaned and (match := _CLOCK.fullmatch(cleaned)):
        hours, minutes, seconds, half = match.groups()
        return Op("clock", (Text(f"{int(hours)}:{minutes}:{seconds or '00'}"), Text((half or "").lower())))
    if match := _ORDINAL.fullmatch(cleaned):
        return number(int(match.group(1)))
    if cleaned[:1] in "(\\" and (match := _CHOICE.fullmatch(cleaned)):
        return Op("choice", (Text(match.group(1)), Text("")))
    return None


def _names(cleaned: str) -> Node | None:
    """A list of words such as names, whose order does not count; None for anything else."""
    parts = [part.strip() for part in opened(cleaned).split(",")]
    if not all(part and part.replace(" ", "").isalpha() for part in parts) or not any(map(is_words, parts)):
        return None
    return Op("list", tuple(Text(words(part)) for part in parts))


def _joined(text: str) -> str:
    """Commas between groups of three digits taken out, outside brackets, unless other commas stand without a blank."""
    if "," not in text or not _GROUPED.search(text):
        return text
    pieces: list[str] = []
    depth = start = 0
    for place, sign in enumerate(text):
        if sign in "([{":
            if depth == 0:
                pieces.append(_GROUPED.sub(_ungrouped, text[start:place]))
                start = place
            depth += 1
        elif sign in ")]}" and depth:
            depth -= 1
            if depth == 0:
                pieces.append(text[start : place + 1])
                start = place + 1
    rest = text[start:]
    pieces.append(rest if depth else _GROUPED.sub(_ungrouped, rest))
    return "".join(pieces)


def _ungrouped(run: re.Match[str]) -> str:
    return run.group().replace(",", "")


def is_numeral_without_base(cleaned: str, numeral: Op) -> bool:
    """Whether a text is the digits of a numeral: `AB3` where the gold is `AB3_{16}`."""
    return (
        "".join(opened(cleaned).split()).lstrip("0") == numeral.args[0].words
        if isinstance(numeral.args[0], Text)
        else False
    )


def choice_letter(cleaned: str) -> str | None:
    """The letter of an answer that names a choice and repeats what it says: `(B) 42`, `B. 42`."""
    match = _CHOICE_WITH_TEXT.fullmatch(cleaned)
    return match.group(1) or match.group(2) if match is not None else None
