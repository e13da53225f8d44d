r"""Answers of several parts: lists, sets, tuples, matrices, ratios, numerals with a base, choices, relations.

Each function takes `same`, the comparison of parts, which is where this module is called from.
"""

from collections.abc import Callable, Iterable, Sequence

from hicra_cli.grading.expressions import proportional, same_value
from hicra_cli.grading.naming import assignments
from hicra_cli.grading.nodes import RELATIONS, Const, Node, Num, Op, Sym, Text, contains, is_tuple, letters
from hicra_cli.grading.realsets import real_set, same_segments, variable

MAX_ELEMENTS = 64

Same = Callable[[Node, Node], bool | None]

_NAMED_KINDS = (
    "list",
    "set",
    "union",
    "inter",
    "minus",
    "matrix",
    "in",
    "numeral",
    "ratio",
    "choice",
    "congruence",
    "clock",
)
_FLIPPED = {"=": "=", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


def kind(node: Node) -> str:
    """`value` for a formula, else what a tree is: `tuple`, `list`, `set`, `relation`, `matrix` …"""
    if not isinstance(node, Op):
        return "reals" if node == Const("R") else "value"
    if is_tuple(node):
        return "tuple"
    if node.name in RELATIONS or node.name == "chain":
        return "relation"
    return node.name if node.name in _NAMED_KINDS else "value"


def same_group(answer: Node, gold: Node, same: Same) -> bool | None:
    """Whether two trees, at least one of them no plain formula, are equal."""
    kinds = kind(answer), kind(gold)
    if kinds == ("relation", "relation"):
        return _same_relations(answer, gold, same)
    if "numeral" in kinds or "choice" in kinds or "clock" in kinds:
        return _same_named(answer, gold)
    if "matrix" in kinds:
        return _same_matrices(answer, gold, same)
    if "congruence" in kinds:
        return _same_congruences(answer, gold, same)
    if "ratio" in kinds:
        return _same_ratios(_parts(answer, "ratio"), _parts(gold, "ratio"), same)
    if sorted(kinds) == ["set", "value"] and len(alone := _elements(answer, "set") + _elements(gold, "set")) == 1:
        return same(alone[0], gold) if kinds[0] == "set" else same(answer, alone[0])
    if (values := _assigned_parts(answer, gold, kinds)) is not None:
        return _in_order(*values, same)
    if all(one in ("list", "set", "tuple") for one in kinds):
        verdict = _same_collections(answer, gold, kinds, same)
        if verdict is not None:
            return verdict
    return _same_real_sets(answer, gold, kinds, same)


def _same_real_sets(answer: Node, gold: Node, kinds: tuple[str, str], same: Same) -> bool | None:
    left, right = real_set(answer), real_set(gold)
    if left is not None and right is not None:
        names = variable(answer), variable(gold)
        if None not in names and names[0] != names[1]:
            return False
        return same_segments(left, right, same)
    if (left is None) != (right is None) and "value" in kinds:
        return False
    if contains(answer, "inter", "minus", "in") or contains(gold, "inter", "minus", "in"):
        return None
    return False if kinds[0] != kinds[1] else None


def _same_collections(answer: Node, gold: Node, kinds: tuple[str, str], same: Same) -> bool | None:
    """Tuples element by element, lists and sets in any order.

    A list without brackets equals a tuple in the same order: brackets forgotten or added are no mistake. A set in
    braces is no tuple. None where both may still be sets of real numbers.
    """
    if not isinstance(answer, Op) or not isinstance(gold, Op):
        return None
    are_sets = real_set(answer) is not None and real_set(gold) is not None
    if are_sets and _has_inequality(answer, gold):
        return None
    if "tuple" in kinds:
        other_brackets = kinds == ("tuple", "tuple") and len(gold.args) == 2 and answer.name != gold.name
        if "set" in kinds or other_brackets:
            return None if are_sets else False
        if "list" in kinds and "tuple()" not in (answer.name, gold.name):
            return False
        return _in_order(answer.args, gold.args, same)
    left, right = answer.args, gold.args
    if "set" in kinds:
        left, right = _distinct(left, same), _distinct(right, same)
    if len(left) != len(right):
        return False
    if len(left) > MAX_ELEMENTS:
        return _same_sorted(left, right)
    return _in_any_order(left, right, same)


def _has_inequality(*nodes: Node) -> bool:
    return any(contains(node, "<", ">", "<=", ">=", "!=", "in") for node in nodes)


def _in_order(answers: Sequence[Node], golds: Sequence[Node], same: Same) -> bool | None:
    if len(answers) != len(golds):
        return False
    return _all(same(one, other) for one, other in zip(answers, golds, strict=True))


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    undecided = False
    for verdict in verdicts:
        if verdict is False:
            return False
        undecided |= verdict is None
    return None if undecided else True


def _in_any_order(answers: Sequence[Node], golds: Sequence[Node], same: Same) -> bool | None:
    """Pair each gold with an answer of its own. Equality is transitive, so the first partner is as good as any."""
    left = list(answers)
    undecided = False
    for gold in golds:
        unknown = False
        for place, answer in enumerate(left):
            verdict = same(answer, gold)
            if verdict:
                left.pop(place)
                break
            unknown |= verdict is None
        else:
            if not unknown:
                return False
            undecided = True
    return None if undecided else True


def _distinct(elements: tuple[Node, ...], same: Same) -> tuple[Node, ...]:
    """A set's elements once each; of more than MAX_ELEMENTS only what is written alike is one."""
    found: list[Node] = list(dict.fromkeys(elements))
    if len(found) > MAX_ELEMENTS:
        return tuple(found)
    kept: list[Node] = []
    for element in found:
        if not any(same(element, one) for one in kept):
            kept.append(element)
    return tuple(kept)


def _same_sorted(answers: Sequence[Node], golds: Sequence[Node]) -> bool | None:
    """Long lists of plain numbers by their sorted values; anything else in them is left undecided."""
    left = sorted(one.value for one in answers if isinstance(one, Num))
    right = sorted(one.value for one in golds if isinstance(one, Num))
    if len(left) != len(answers) or len(right) != len(golds):
        return None
    return left == right


def _assigned_parts(
    answer: Node, gold: Node, kinds: tuple[str, str]
) -> tuple[tuple[Node, ...], tuple[Node, ...]] | None:
    """`x = 1, y = 2` and the pair (1, 2): the values in the order written. None for anything else."""
    if sorted(kinds) != ["list", "tuple"] or not isinstance(answer, Op) or not isinstance(gold, Op):
        return None
    left, right = assignments(answer), assignments(gold)
    if left is None and right is None:
        return None
    return left or answer.args, right or gold.args


def _same_relations(answer: Node, gold: Node, same: Same) -> bool | None:
    """Equations by the difference of their sides, inequalities also as sets of numbers."""
    if not isinstance(answer, Op) or not isinstance(gold, Op):
        return None
    left, right = real_set(answer), real_set(gold)
    if left is not None and right is not None:
        return same_segments(left, right, same) if variable(answer) == variable(gold) else False
    if answer.name == "chain" or gold.name == "chain":
        return _in_order(answer.args, gold.args, same) if answer.name == gold.name else None
    if answer.name == gold.name and answer.args[0] == gold.args[0] and not letters(gold.args[1]):
        return same(answer.args[1], gold.args[1])
    if answer.name == gold.name and _all(map(same_value, answer.args, gold.args)):
        return True
    if answer.name != gold.name and "=" in (answer.name, gold.name):
        return False
    differences = [Op("+", (node.args[0], Op("neg", (node.args[1],)))) for node in (answer, gold)]
    sign = proportional(*differences)
    if sign is None or sign == 0:
        return None if sign is None else False
    return answer.name == (gold.name if sign > 0 else _FLIPPED[gold.name])


def _same_named(answer: Node, gold: Node) -> bool:
    """Numerals and choices. The base is part of the question: an answer may leave it out but not name another."""
    if isinstance(answer, Op) and isinstance(gold, Op) and answer.name == gold.name:
        if gold.name == "clock" and Text("") in (answer.args[1], gold.args[1]):
            return answer.args[0] == gold.args[0]  # a.m. and p.m. may be missing on one side
        return answer.args == gold.args
    if "choice" in (kind(answer), kind(gold)):
        return _letter(answer) is not None and _letter(answer) == _letter(gold)
    digits = ""
    if isinstance(gold, Op) and gold.name == "numeral" and isinstance(gold.args[0], Text):
        digits = gold.args[0].words
    return isinstance(answer, Num) and digits.isdecimal() and len(digits) <= 1000 and answer.value == int(digits)


def _letter(node: Node) -> str | None:
    if isinstance(node, Op) and node.name == "choice" and isinstance(node.args[0], Text):
        return node.args[0].words
    return node.name if isinstance(node, Sym) else None


def _same_matrices(answer: Node, gold: Node, same: Same) -> bool | None:
    """Entry by entry; a single row or column is also the tuple of its entries."""
    left, right = [_entries(row) for row in _parts(answer, "matrix")], [_entries(row) for row in _parts(gold, "matrix")]
    if kind(answer) == kind(gold):
        if [len(row) for row in left] != [len(row) for row in right]:
            return False
        return _all(_in_order(one, other, same) for one, other in zip(left, right, strict=True))
    vector = _vector(left if kind(answer) == "matrix" else right)
    tuple_side = gold if kind(answer) == "matrix" else answer
    if vector is None or not isinstance(tuple_side, Op) or not is_tuple(tuple_side):
        return False
    sides = (vector, tuple_side.args) if kind(answer) == "matrix" else (tuple_side.args, vector)
    return _in_order(*sides, same)


def _parts(node: Node, name: str) -> tuple[Node, ...]:
    return node.args if isinstance(node, Op) and node.name == name else (node,)


def _elements(node: Node, name: str) -> tuple[Node, ...]:
    return node.args if isinstance(node, Op) and node.name == name else ()


def _entries(row: Node) -> tuple[Node, ...]:
    return _parts(row, "row")


def _vector(rows: Sequence[tuple[Node, ...]]) -> tuple[Node, ...] | None:
    if len(rows) == 1:
        return rows[0]
    return tuple(row[0] for row in rows) if all(len(row) == 1 for row in rows) else None


def _same_congruences(answer: Node, gold: Node, same: Same) -> bool | None:
    """Remainders by one modulus; an answer may leave the modulus out."""
    left, right = _parts(answer, "congruence"), _parts(gold, "congruence")
    if len(left) < len(right):
        return same(left[0], right[0])
    if len(left) > len(right):
        return False
    if not same(left[1], right[1]):
        return False
    return same(Op("mod", left), Op("mod", right))


def _same_ratios(answer: Sequence[Node], gold: Sequence[Node], same: Same) -> bool | None:
    """`6:8` is `3:4`, and also the fraction 3/4."""
    if len(answer) == 2 and len(gold) == 1:
        return same(Op("/", tuple(answer)), gold[0])
    if len(gold) == 2 and len(answer) == 1:
        return same(answer[0], Op("/", tuple(gold)))
    if len(answer) != len(gold):
        return False
    first = zip(answer[1:], gold[1:], strict=True)
    return _all(same(Op("*", (one, gold[0])), Op("*", (other, answer[0]))) for one, other in first)
