"""Decisions on pairs of answer and gold, each with its reason: what the grader has to say, whatever it is made of.

One file a kind. A group has one gold, answers that equal it with the reason, answers that do not with theirs, and the
source of the pattern: a thread of a public tracker, the golds of a benchmark, or `own`. All texts were written for
this corpus. Equality means what docs/grading.md says; where mathematics leaves room, the reason names the rule.

Half of the groups, chosen by a hash of their gold, is held out: rules are written against the other half, and the
accuracy on this one says what they are worth on answers nobody looked at.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

KINDS = (
    "integers", "decimals", "quotients", "scientific", "percent_money", "units", "angles_times", "lists",
    "intervals", "inequalities", "matrices", "polynomials", "formulas", "radicals", "transcendental", "complex_numbers",
    "exact_giants", "bases", "counting", "equations", "words", "physics", "notation",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One decision. `why` is the reason for `same`, `source` where the pattern was met."""

    kind: str
    answer: str
    gold: str
    same: bool
    why: str
    source: str

    @property
    def held_out(self) -> bool:
        """Whether the case belongs to the half that rules are not written against."""
        return hashlib.sha256(self.gold.encode()).digest()[0] % 2 == 1


@dataclass(frozen=True, slots=True)
class Group:
    """A gold with answers that equal it (`same`, `why`) and answers that do not (`other`, `why_not`)."""

    gold: str
    same: Sequence[str] = ()
    why: str = ""
    other: Sequence[str] = ()
    why_not: str = ""
    source: str = "own"


def cases_of(kind: str) -> list[Case]:
    """The decisions of one kind, in the order of its file."""
    groups: Sequence[Group] = import_module(f"{__name__}.{kind}").GROUPS
    return [case for group in groups for case in _cases(kind, group)]


def all_cases() -> list[Case]:
    """Every decision of the corpus."""
    return [case for kind in KINDS for case in cases_of(kind)]


def _cases(kind: str, group: Group) -> list[Case]:
    equal = [Case(kind, answer, group.gold, True, group.why, group.source) for answer in group.same]
    return equal + [Case(kind, answer, group.gold, False, group.why_not, group.source) for answer in group.other]
