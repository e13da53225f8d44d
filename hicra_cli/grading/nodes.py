"""The tree of an answer: numbers, letters, words, and operations on them.

`Op.name` is one of: `+ * / ^ neg root ! binom abs floor ceil degree percent` (values), a function's name such as `sin`
(`log` with two arguments carries its base first), `call` (a function that the text does not define, name first), `pm`
and `mp` (two alternatives), `list` (no order), `tuple` with its brackets as `tuple()`, `tuple[)` …, `set`, `union`,
`inter`, `minus`, `ratio`, `matrix` (of `row`), `unit` (value, Text), `numeral` (digits, base), `choice`, `in`, and the
relations `= != < > <= >=` (a chain `a < x <= b` is `chain` of relations).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

RELATIONS = frozenset(("=", "!=", "<", ">", "<=", ">="))


@dataclass(frozen=True, slots=True)
class Num:
    """An exact number. `decimal`: written with a decimal point or a power of ten, so perhaps rounded."""

    value: Fraction
    decimal: bool = False


@dataclass(frozen=True, slots=True)
class Sym:
    """A letter with its subscript, primes and accent: `x`, `a_1`, `x'`."""

    name: str


@dataclass(frozen=True, slots=True)
class Const:
    """`pi`, `e`, `i`, `infinity`, or a set with a name: `R`, `Q`, `Z`, `N`, `C`."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """Words, in lower case but for single letters, with single blanks."""

    words: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operation or a structure, see the module."""

    name: str
    args: "tuple[Node, ...]"


Node: TypeAlias = Num | Sym | Const | Text | Op

ZERO = Num(Fraction(0))
ONE = Num(Fraction(1))
EMPTY_SET = Op("set", ())
INFINITY = Const("infinity")


class Unreadable(Exception):
    """The text is no formula that the reader knows, or is larger than it accepts."""


def number(value: int) -> Num:
    """A whole number as a node."""
    return Num(Fraction(value))


def walk(node: Node) -> Iterator[Node]:
    """The node and everything in it."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        if isinstance(top, Op):
            stack.extend(top.args)


def replaced(node: Node, old: Node, new: Node) -> Node:
    """The tree with every `old` in it replaced."""
    if node == old:
        return new
    if not isinstance(node, Op):
        return node
    return Op(node.name, tuple(replaced(part, old, new) for part in node.args))


def is_tuple(node: Node) -> bool:
    """Whether elements stand in brackets of any kind but a set's."""
    return isinstance(node, Op) and node.name.startswith("tuple")


def contains(node: Node, *names: str) -> bool:
    """Whether an operation of one of these names is anywhere in the tree."""
    return any(isinstance(part, Op) and part.name in names for part in walk(node))


def letters(node: Node) -> frozenset[str]:
    """Names of all letters in the tree."""
    return frozenset(part.name for part in walk(node) if isinstance(part, Sym))
