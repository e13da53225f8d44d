"""Values with units, degrees and percent signs.

A unit may be missing on one side; two units must be convertible, and then the values are compared converted. A percent
sign on one side only: 50 % is the half, and where a question asks "what percent", the bare 50; never 5000.
"""

from dataclasses import dataclass

from hicra_cli.grading.exact import exact
from hicra_cli.grading.expressions import same_value
from hicra_cli.grading.nodes import Const, Node, Num, Op, Sym, Text, number
from hicra_cli.grading.traits import traits
from hicra_cli.grading.units import Unit, read_unit

_LETTER_UNITS = frozenset("mgslhJNVWKAC")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value without its unit. `percent`: a percent sign stood behind it."""

    value: Node
    unit: Unit | None = None
    percent: bool = False


def same_quantity(answer: Node, gold: Node) -> bool | None:
    """Whether two values with or without units are equal."""
    left, right = quantity(answer), quantity(gold)
    if left.unit is not None and right.unit is not None:
        if left.unit.dimension != right.unit.dimension:
            return False
        if left.unit.factor != right.unit.factor:
            return same_value(_times(left.value, left.unit), _times(right.value, right.unit))
    if left.percent == right.percent:
        verdict = same_value(left.value, right.value)
        return verdict if verdict is not False else _same_with_letter_unit(left, right)
    if left.percent:
        shares = Op("/", (left.value, number(100)))
    else:
        shares = Op("*", (left.value, number(100)))
    verdicts = same_value(left.value, right.value), same_value(shares, right.value)
    if True in verdicts:
        return True
    return None if None in verdicts else False


def quantity(node: Node) -> Quantity:
    """The parts of a value. A minus before a unit belongs to the number."""
    if not isinstance(node, Op):
        return Quantity(node)
    if node.name == "neg" and isinstance(node.args[0], Op) and node.args[0].name in ("unit", "percent", "degree"):
        inner = quantity(node.args[0])
        return Quantity(Op("neg", (inner.value,)), inner.unit, inner.percent)
    if node.name == "percent":
        return Quantity(node.args[0], percent=True)
    if node.name == "degree":
        inner = quantity(node.args[0])
        return Quantity(inner.value, read_unit("degree"))
    if node.name == "unit" and isinstance(node.args[1], Text):
        inner = quantity(node.args[0])
        return Quantity(inner.value, read_unit(node.args[1].words), inner.percent)
    return Quantity(node)


def _times(value: Node, unit: Unit) -> Node:
    # The factor is exact: the tolerance of a gold with decimals stays that of its own number.
    return Op("*", (value, Num(unit.factor)))


def _same_with_letter_unit(left: Quantity, right: Quantity) -> bool | None:
    """`5 m` answers a gold `5`: one letter behind a number may be a unit, but only in the answer."""
    node = left.value
    if right.unit is not None or not isinstance(node, Op) or node.name != "*" or len(node.args) != 2:
        return False
    number_part, letter = node.args
    found = traits(right.value)
    if not isinstance(letter, Sym) or letter.name not in _LETTER_UNITS or found is None or found.letters:
        return False
    return same_value(number_part, right.value) if exact(number_part) is not None else False


def is_infinite(node: Node) -> bool:
    """Whether a tree is plus or minus infinity."""
    return node == Const("infinity") or (
        isinstance(node, Op) and node.name == "neg" and node.args[0] == Const("infinity")
    )
