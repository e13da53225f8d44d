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
    verdict = _same(left, right)
    if verdict is not True and (measured := _with_letter_unit(left, right)) is not None:
        return _same(measured, right)
    return verdict


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


def is_infinite(node: Node) -> bool:
    """Whether a tree is plus or minus infinity."""
    return node == Const("infinity") or (
        isinstance(node, Op) and node.name == "neg" and node.args[0] == Const("infinity")
    )


def _same(answer: Quantity, gold: Quantity) -> bool | None:
    if answer.unit is not None and gold.unit is not None:
        if answer.unit.dimension != gold.unit.dimension:
            return False
        if answer.unit.factor != gold.unit.factor:
            return same_value(_times(answer.value, answer.unit), _times(gold.value, gold.unit))
    if answer.percent == gold.percent:
        return same_value(answer.value, gold.value)
    if answer.unit is not None or gold.unit is not None:
        return False  # a percent sign is a unit too
    share = Op("/" if answer.percent else "*", (answer.value, number(100)))
    verdicts = same_value(answer.value, gold.value), same_value(share, gold.value)
    if True in verdicts:
        return True
    return None if None in verdicts else False


def _times(value: Node, unit: Unit) -> Node:
    # The factor is exact: the tolerance of a gold with decimals stays that of its own number.
    return Op("*", (value, Num(unit.factor)))


def _with_letter_unit(answer: Quantity, gold: Quantity) -> Quantity | None:
    """`5 m` answers a gold `5` or `500 cm`: one letter behind a number may be a unit, but only in the answer."""
    node = answer.value
    if not isinstance(node, Op) or node.name != "*" or len(node.args) != 2 or answer.unit is not None:
        return None
    value, letter = node.args
    found = traits(gold.value)
    if not isinstance(letter, Sym) or letter.name not in _LETTER_UNITS or found is None or found.letters:
        return None
    return Quantity(value, read_unit(letter.name)) if exact(value) is not None else None
