r"""Whether an answer equals the gold: exact forms first; what they cannot decide is left to a computer algebra system.

`equal` is three-valued: True and False are final, None means that algebra has to decide. The same walk over lists and
tuples runs in the caller (without algebra: microseconds) and in the grading worker (with it).

What counts as equal: integers and fractions are compared exactly; a gold written as a decimal or with a power of ten
allows `DECIMAL_TOLERANCE` relative error (it is a rounded number); never a factor of 100, but 50 % is both 50 and 1/2;
a unit may be missing on one side, two different units differ; lists without brackets and sets have no order.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from hicra_cli.grading.normal import Quantity, clean, identity, is_words, quantity, split_unit

DECIMAL_TOLERANCE = Fraction(1, 10_000)
MAX_LENGTH = 2000
MAX_NESTING = 40
MAX_DIGIT_RUN = 1000
MAX_POWER = 10_000
MAX_FACTORIAL = 3000
MAX_ELEMENTS = 64

Algebra = Callable[[str, str], bool | None]

_ASSIGNMENT = re.compile(r"^\s*\\?[a-zA-Z](?:_\{?\w{1,8}\}?|'|\([a-z]\))?\s*=(?!=)\s*")
_BASE = re.compile(r"([0-9A-Z]+)_\{?\s*(?:\\text\s*\{)?(\d+|two|three|five|seven|eight|sixteen)\}*")
_BRACKETS = (
    ("\\{", "\\}", "{}"), ("(", ")", "()"), ("[", "]", "[]"), ("(", "]", "(]"), ("[", ")", "[)")
)  # fmt: skip
_CLOCK = re.compile(r"\d{1,2}:\d{2}")
_CHOICE = re.compile(r"\(?([A-J])\)?")
_DIGIT_RUN = re.compile(rf"\d{{{MAX_DIGIT_RUN + 1}}}")
_FACTORIAL = re.compile(r"(\d{1,20})\s*\}?\)?\s*!")
_POWER = re.compile(r"\^\s*\{?\s*[+-]?(\d+)")
_TOWER = re.compile(r"(?:\d|\))\s*\}?\s*\^\s*[{(]?\s*(\d{1,6})\s*\^\s*[{(]?\s*(\d{1,6})")


def equal(answer: str, gold: str, *, algebra: Algebra | None = None) -> bool | None:
    """True or False where that is certain, None where `algebra` (absent or itself undecided) would have to say."""
    return _equal_clean(clean(answer), clean(gold), algebra)


def over_limit(answer: str) -> str | None:
    """Why an answer is too large to be computed with, or None: checked before anything parses it."""
    if len(answer) > MAX_LENGTH:
        return f"{len(answer)} characters, the limit is {MAX_LENGTH}"
    if _nesting(answer) > MAX_NESTING:
        return f"brackets nested deeper than {MAX_NESTING}"
    if _DIGIT_RUN.search(answer):
        return f"a number of more than {MAX_DIGIT_RUN} digits"
    if any(int(digits) > MAX_FACTORIAL for digits in _FACTORIAL.findall(answer)) or re.search(r"!\s*\)*\s*!", answer):
        return f"a factorial above {MAX_FACTORIAL}!"
    if any(len(digits) > 18 or int(digits) > MAX_POWER for digits in _POWER.findall(answer)):
        return f"an exponent above {MAX_POWER}"
    if any(int(top) > 40 or int(base) ** int(top) > MAX_POWER for base, top in _TOWER.findall(answer)):
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


def _equal_clean(answer: str, gold: str, algebra: Algebra | None) -> bool | None:
    if not answer or not gold:
        return False
    if identity(answer) == identity(gold):
        return True
    answer_number, gold_number = quantity(answer), quantity(gold)
    if answer_number is not None and gold_number is not None:
        return _equal_quantities(answer_number, gold_number)
    if (values := _without_unit(answer, gold) or _without_assignment(answer, gold)) is not None:
        return _equal_clean(*values, algebra)
    if (collections := _collections(answer, gold)) is not None:
        return _equal_collections(*collections, algebra)
    if (verdict := _equal_as_text(answer, gold)) is not None:
        return verdict
    return None if algebra is None else algebra(answer, gold)


def _equal_quantities(answer: Quantity, gold: Quantity) -> bool:
    if answer.unit and gold.unit and answer.unit != gold.unit:
        return False
    tolerance = DECIMAL_TOLERANCE if gold.rounded else Fraction(0)
    if answer.percent == gold.percent:
        return _close(answer.value, gold.value, tolerance)
    # One percent sign only: 50 % is the half, and where a question asks "what percent", the bare 50.
    shares = Quantity(answer.value / 100) if answer.percent else Quantity(answer.value * 100)
    return _close(answer.value, gold.value, tolerance) or _close(shares.value, gold.value, tolerance)


def _close(value: Fraction, target: Fraction, tolerance: Fraction) -> bool:
    return abs(value - target) <= tolerance * abs(target)


def _without_unit(answer: str, gold: str) -> tuple[str, str] | None:
    """Both formulas bare where only one carries a unit."""
    (answer_value, answer_unit), (gold_value, gold_unit) = split_unit(answer), split_unit(gold)
    return (answer_value, gold_value) if bool(answer_unit) != bool(gold_unit) else None


def _without_assignment(answer: str, gold: str) -> tuple[str, str] | None:
    """`x = 5` answers a gold `5`, and the other way round; where both name a variable, algebra compares the names."""
    answer_value, gold_value = _ASSIGNMENT.sub("", answer), _ASSIGNMENT.sub("", gold)
    if (answer_value == answer) == (gold_value == gold) or "=" in answer_value or "=" in gold_value:
        return None
    if len(_split(answer)) > 1 or len(_split(gold)) > 1:
        return None
    return answer_value, gold_value


@dataclass(frozen=True, slots=True)
class _Collection:
    """A tuple, set or bare list. `brackets`: '()', '[]', '(]', '[)', '{}' for a set, '' for a bare list."""

    brackets: str
    elements: list[str]

    @property
    def ordered(self) -> bool:
        return self.brackets not in ("", "{}")


def _collections(answer: str, gold: str) -> tuple[_Collection, _Collection] | None:
    """Both sides as collections of one kind; None where they are not, or where algebra knows more."""
    left, right = _collection(answer), _collection(gold)
    if len(left.elements) < 2 and len(right.elements) < 2:
        return None
    if left.brackets != right.brackets and (left.ordered or right.ordered):
        return None
    if len(left.elements) != len(right.elements) and (_may_expand(answer) or _may_expand(gold)):
        return None
    if quantity(gold) is not None or quantity(answer) is not None or len(right.elements) > MAX_ELEMENTS:
        return None
    return left, right


def _equal_collections(answer: _Collection, gold: _Collection, algebra: Algebra | None) -> bool | None:
    """Tuples and intervals element by element, lists and sets in any order."""
    if len(answer.elements) != len(gold.elements):
        return False
    if not gold.ordered:
        return _match(answer.elements, gold.elements, algebra)
    pairs = zip(answer.elements, gold.elements, strict=True)
    verdicts = [_equal_clean(one, other, algebra) for one, other in pairs]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _may_expand(text: str) -> bool:
    """A plus-minus or dots stand for more than one element."""
    return "\\pm" in text or "\\mp" in text or "dots" in text


def _match(answers: Sequence[str], golds: Sequence[str], algebra: Algebra | None) -> bool | None:
    """Pair each gold with an answer of its own. Equality is transitive, so the first partner is as good as any."""
    left = list(answers)
    undecided = False
    for gold in golds:
        verdicts = [_equal_clean(answer, gold, algebra) for answer in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts:
            undecided = True
        else:
            return False
    return None if undecided else True


def _collection(text: str) -> _Collection:
    text = text.strip()
    for opening, closing, brackets in _BRACKETS:
        if text.startswith(opening) and text.endswith(closing):
            inner = text[len(opening) : -len(closing)]
            if _balanced(inner):
                return _Collection(brackets, _split(inner))
    return _Collection("", _split(text))


def _balanced(text: str) -> bool:
    depth = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if depth < 0:
            return False
    return depth == 0


def _split(text: str) -> list[str]:
    elements, depth, start = [], 0, 0
    for index, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and sign in ",;":
            elements.append(text[start:index].strip())
            start = index + 1
    return [*elements, text[start:].strip()]


def _equal_as_text(answer: str, gold: str) -> bool | None:
    """What algebra misreads: words (it multiplies their letters), numerals with a base, clock times, choice letters."""
    answer_base, gold_base = _BASE.fullmatch(answer.strip()), _BASE.fullmatch(gold.strip())
    if gold_base is not None:
        # The base is part of the question; an answer may leave it out but not name another one.
        same_digits = identity(answer) == gold_base.group(1)
        return answer_base.groups() == gold_base.groups() if answer_base is not None else same_digits
    if answer_base is not None and quantity(gold) is not None:
        return False
    answer_choice, gold_choice = _CHOICE.fullmatch(identity(answer)), _CHOICE.fullmatch(identity(gold))
    if answer_choice is not None and gold_choice is not None:
        return answer_choice.group(1) == gold_choice.group(1)
    if is_words(answer) or is_words(gold) or _CLOCK.fullmatch(gold.strip()):
        return False
    return None
