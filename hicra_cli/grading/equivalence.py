r"""Whether an answer equals the gold: exact forms decide nearly all; what they cannot is left to computer algebra.

`equal` is three-valued: True and False are final, None means that algebra has to decide. The rules are written down in
docs/grading.md. In short: numbers are compared exactly, and only a gold that is written as a decimal allows
`DECIMAL_TOLERANCE` relative error; a unit may be missing on one side; lists without brackets and sets have no order.
"""

import contextlib
import re
from collections.abc import Callable
from functools import lru_cache

from hicra_cli.grading.balls import TooCostly
from hicra_cli.grading.expressions import DECIMAL_TOLERANCE
from hicra_cli.grading.groups import kind, same_group
from hicra_cli.grading.limits import MAX_LENGTH, over_limit
from hicra_cli.grading.naming import with_constants_of, without_names
from hicra_cli.grading.nodes import Const, Node, Op, Text
from hicra_cli.grading.normal import clean, identity, is_prose, is_words, opened
from hicra_cli.grading.plusminus import expanded, has_alternatives
from hicra_cli.grading.points import new_budget
from hicra_cli.grading.quantities import is_infinite, same_quantity
from hicra_cli.grading.readings import choice_letter, is_numeral_without_base, readings

__all__ = ["DECIMAL_TOLERANCE", "Algebra", "equal", "over_limit"]

Algebra = Callable[[str, str], bool | None]

_MAX_CLEANED = 4 * MAX_LENGTH  # beyond, no cleaning brings a text within the limits
_CACHED_TEXTS = 8192
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def equal(answer: str, gold: str, *, algebra: Algebra | None = None) -> bool | None:
    """True or False where that is certain, None where `algebra` (absent or itself undecided) would have to say."""
    if _INTEGER.fullmatch(answer) and _INTEGER.fullmatch(gold):
        return int(answer) == int(gold)
    if len(answer) > _MAX_CLEANED or len(gold) > _MAX_CLEANED:
        return True if answer.strip() == gold.strip() and gold.strip() else None
    one, other = _cleaned(answer), _cleaned(gold)
    if not one or not other:
        return False
    if one == other or identity(one) == identity(other) or _letters(one) == _letters(other):
        return True
    if over_limit(one) or over_limit(other):
        return None
    verdict = None
    new_budget()
    with contextlib.suppress(TooCostly, RecursionError):  # 1/1/1/… nests without brackets
        verdict = _equal_readings(one, other)
    if verdict is None and algebra is not None:
        return algebra(one, other)
    return verdict


def is_sentence(text: str) -> bool:
    """Whether a text is prose, which neither exact forms nor algebra read."""
    return len(text) <= _MAX_CLEANED and is_prose(_cleaned(text))


def _letters(cleaned: str) -> str:
    r"""The text without blanks and text commands: `\text{SAS}` is `SAS`."""
    return "".join(opened(cleaned).split())


@lru_cache(maxsize=_CACHED_TEXTS)
def _cleaned(text: str) -> str:
    return clean(text)


def _equal_readings(answer: str, gold: str) -> bool | None:
    """Any reading of the answer may match any of the gold; both texts have one, or two where `1,234` is ambiguous."""
    lefts, rights = readings(answer), readings(gold)
    named = rights[0] if rights and isinstance(rights[0], Op) else None
    if named is not None and named.name == "choice" and (letter := choice_letter(answer)):
        return Text(letter) == named.args[0]
    if named is not None and named.name == "numeral" and is_numeral_without_base(answer, named):
        return True
    if not lefts or not rights:
        # Unreadable on one side: words are never a formula, the rest is for algebra.
        return False if is_words(answer) or is_words(gold) or (lefts and is_prose(gold)) else None
    verdicts = [_same(left, right) for right in rights for left in lefts]
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _same(answer: Node, gold: Node) -> bool | None:
    """Whether two trees are equal answers."""
    if answer == gold:
        return True
    if has_alternatives(answer) or has_alternatives(gold):
        answer, gold = expanded(answer), expanded(gold)
        return None if has_alternatives(answer) or has_alternatives(gold) else _same(answer, gold)
    answer, gold = without_names(answer, gold)
    if answer == gold:
        return True
    if kind(answer) != "value" or kind(gold) != "value":
        return same_group(answer, gold, _same)
    if isinstance(answer, Text) or isinstance(gold, Text) or is_infinite(answer) or is_infinite(gold):
        return False
    if isinstance(answer, Const) and isinstance(gold, Const):
        return answer.name == gold.name
    verdict = same_quantity(answer, gold)
    if verdict is False and (renamed := with_constants_of(gold, answer)) is not None:
        return same_quantity(renamed, gold)
    return verdict
