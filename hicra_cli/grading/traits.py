"""What a formula is made of: which way of comparing suits it."""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from hicra_cli.grading.exact import exact
from hicra_cli.grading.nodes import RELATIONS, Const, Node, Num, Sym, Text, walk

_WHOLE = frozenset(("floor", "ceil", "!", "binom", "gcd", "lcm", "sum", "prod"))
_RATIONAL = frozenset(("+", "*", "/", "neg", "^", "!", "binom", "percent", "call"))
# fmt: off
_STRUCTURES = frozenset((
    "list", "set", "union", "inter", "minus", "matrix", "row", "ratio", "choice", "chain", "in", "pm", "mp", "numeral",
    "congruence", "clock", "unit",
)) | RELATIONS
# fmt: on


@dataclass(frozen=True, slots=True)
class Traits:
    """What a formula is made of. `bits` bounds the size of its numbers."""

    letters: frozenset[str]
    rational: bool
    whole: bool
    signed: bool
    imaginary: bool
    decimal: bool
    base_ten: bool
    natural_log: bool
    bare_log: bool
    bits: int


@lru_cache(maxsize=4096)
def traits(node: Node) -> Traits | None:
    """The traits of a formula, or None where the tree is no formula of values."""
    names, decimal, rational, whole, signed, imaginary = set(), False, True, False, False, False
    base_ten = natural = bare = False
    bits = 0
    for part in walk(node):
        if isinstance(part, Sym):
            names.add(part.name)
        elif isinstance(part, Num):
            decimal |= part.decimal
            bits += part.value.numerator.bit_length() + part.value.denominator.bit_length()
        elif isinstance(part, Const):
            if part.name not in ("pi", "e", "i"):
                return None
            rational &= part.name != "e"
            imaginary |= part.name == "i"
        elif isinstance(part, Text):
            return None
        else:
            name = part.name
            if name in _STRUCTURES or name.startswith("tuple"):
                return None
            if name == "^":
                power = exact(part.args[1])
                rational &= power is not None and power.denominator == 1
                if power is not None:
                    bits += _bits(part.args[0]) * min(abs(int(power)), 10_000)
                whole |= power is None and _is_negative(part.args[0])
            elif name in _WHOLE:
                whole |= any(isinstance(inner, Sym) for inner in walk(part))
                rational &= name in ("!", "binom") and not whole
            elif name == "log":
                base_ten |= len(part.args) == 2 and part.args[0] == Num(Fraction(10))
                bare |= len(part.args) == 1
            natural |= name == "ln"
            base_ten |= name == "lg"
            signed |= name in ("abs", "sgn")
            rational &= name in _RATIONAL
    return Traits(frozenset(names), rational, whole, signed, imaginary, decimal, base_ten, natural, bare, bits)


def log_bases(left: Traits, right: Traits) -> tuple[int | None, ...]:
    """What a bare `log` may be: natural (None) or, unless one side says ln, base ten; the likelier first."""
    if not (left.bare_log or right.bare_log) or left.natural_log or right.natural_log:
        return (None,)
    return (10,) if left.base_ten or right.base_ten else (None, 10)


def _bits(node: Node) -> int:
    """The size of a base: of its value, or a byte where it has none that can be written."""
    value = exact(node)
    return 8 if value is None else value.numerator.bit_length() + value.denominator.bit_length()


def _is_negative(node: Node) -> bool:
    value = exact(node)
    return value is not None and value < 0
