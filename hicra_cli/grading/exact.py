"""Rational arithmetic on trees: exact values of constants, and fingerprints of formulas modulo a prime.

A fingerprint is the value at a pseudo-random point of the integers modulo P = 2^255 - 19. Two rational formulas of
degree d with different fingerprints are different; different formulas have equal fingerprints with probability at most
d / P (Schwartz-Zippel), below 10^-70 for whatever passes the limits. Numbers of a million digits cost microseconds.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from math import comb, factorial, gcd, isqrt, lcm

from hicra_cli.grading.limits import MAX_FACTORIAL
from hicra_cli.grading.nodes import Const, Node, Num, Op, Sym, replaced, walk

MAX_BITS = 20_000
MAX_TERMS = 300
P = 2**255 - 19
_I = pow(2, (P - 1) // 4, P)  # a square root of -1, which P has as P = 1 mod 4


class NotRational(Exception):
    """The tree has no value of this kind, or one too large to write down."""


class Undefined(Exception):
    """The tree has no value at this point: a division by zero and its like."""


def exact(node: Node) -> Fraction | None:
    """The value of a rational constant of moderate size, None for any other tree."""
    try:
        return _exact(node)
    except (NotRational, Undefined):
        return None


def _exact(node: Node) -> Fraction:
    if isinstance(node, Num):
        return node.value
    if not isinstance(node, Op):
        raise NotRational
    name, args = node.name, node.args
    if name == "^":
        return _exact_power(_exact(args[0]), _exact(args[1]))
    if name == "root":
        return _exact_root(_exact(args[1]), _exact(args[0]))
    if name in ("sum", "prod"):
        return (_sum if name == "sum" else _product)([_exact(term) for term in terms(node, _exact)])
    values = [_exact(arg) for arg in args]
    result = _OPERATIONS.get(name, _no_operation)(values)
    if result.numerator.bit_length() + result.denominator.bit_length() > MAX_BITS:
        raise NotRational
    return result


def _no_operation(values: list[Fraction]) -> Fraction:
    raise NotRational


def _sum(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0))


def _product(values: list[Fraction]) -> Fraction:
    result = Fraction(1)
    for value in values:
        result *= value
        if result.numerator.bit_length() > MAX_BITS:
            raise NotRational
    return result


def _quotient(values: list[Fraction]) -> Fraction:
    if values[1] == 0:
        raise Undefined
    return values[0] / values[1]


def _factorial(values: list[Fraction]) -> Fraction:
    return Fraction(factorial(natural(values[0], most=1500)))


def _binomial(values: list[Fraction]) -> Fraction:
    if len(values) != 2:
        raise NotRational
    return Fraction(comb(natural(values[0], most=3000), natural(values[1], most=3000)))


def terms(node: Op, value: Callable[[Node], Fraction]) -> list[Node]:
    """The terms of a finite sum or product, whose limits have a `value`. Raises NotRational for more than MAX_TERMS."""
    index, start, end, body = node.args
    first, last = value(start), value(end)
    # A sum within a sum may have a tenth of the terms for each that it holds.
    most = MAX_TERMS // 10 ** sum(isinstance(part, Op) and part.name in ("sum", "prod") for part in walk(body))
    if first.denominator != 1 or last.denominator != 1 or last - first >= most:
        raise NotRational
    return [replaced(body, index, Num(Fraction(place))) for place in range(int(first), int(last) + 1)]


def _whole(value: Fraction) -> int:
    if value.denominator != 1:
        raise NotRational
    return int(value)


def _modulus(value: Fraction) -> int:
    if value < 1:
        raise Undefined
    return _whole(value)


def natural(value: Fraction, *, most: int) -> int:
    """The value as a natural number up to `most`. Raises NotRational."""
    if value.denominator != 1 or not 0 <= value <= most:
        raise NotRational
    return int(value)


_OPERATIONS: dict[str, Callable[[list[Fraction]], Fraction]] = {
    "+": _sum,
    "*": _product,
    "/": _quotient,
    "neg": lambda values: -values[0],
    "!": _factorial,
    "binom": _binomial,
    "abs": lambda values: abs(values[0]),
    "floor": lambda values: Fraction(values[0].__floor__()),
    "ceil": lambda values: Fraction(values[0].__ceil__()),
    "percent": lambda values: values[0] / 100,
    "gcd": lambda values: Fraction(gcd(*map(_whole, values))),
    "lcm": lambda values: Fraction(lcm(*map(_whole, values))),
    "mod": lambda values: Fraction(_whole(values[0]) % _modulus(values[1])),
    "max": lambda values: max(values),
    "min": lambda values: min(values),
}


def _exact_power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        return _exact_power(_exact_root(base, Fraction(exponent.denominator)), Fraction(exponent.numerator))
    if base == 0 and exponent <= 0:
        raise Undefined
    bits = max(base.numerator.bit_length(), base.denominator.bit_length()) - (0 if abs(base) != 1 else 1)
    if abs(exponent) > MAX_BITS or bits * abs(exponent) > MAX_BITS:
        raise NotRational
    return Fraction(base ** int(exponent))


def _exact_root(value: Fraction, degree: Fraction) -> Fraction:
    """Roots that come out even: sqrt(9/4), the cube root of -8."""
    if degree.denominator != 1 or not 2 <= degree <= 64 or (value < 0 and degree % 2 == 0):
        raise NotRational
    order = int(degree)
    top, bottom = _integer_root(abs(value.numerator), order), _integer_root(value.denominator, order)
    if top is None or bottom is None:
        raise NotRational
    return Fraction(top if value >= 0 else -top, bottom)


def _integer_root(value: int, order: int) -> int | None:
    if order == 2:
        root = isqrt(value)
    else:
        low, high = 0, 1 << (value.bit_length() // order + 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**order <= value else (low, middle - 1)
        root = low
    return root if root**order == value else None


def fingerprint(node: Node, point: int) -> int:
    """The value modulo P where each letter has the value that (its name, point) give it; pi counts as a letter.

    Raises NotRational for roots, functions and powers with letters; Undefined where a denominator vanishes.
    """
    if isinstance(node, Num):
        value = node.value
        if value.denominator == 1:
            return value.numerator % P
        return value.numerator * _inverse(value.denominator) % P
    if isinstance(node, Sym):
        return letter_value(node.name, point)
    if isinstance(node, Const):
        if node.name == "i":
            return _I
        if node.name == "pi":
            return letter_value("\\pi", point)
        raise NotRational
    if not isinstance(node, Op):
        raise NotRational
    return _fingerprint_of(node, point)


def _fingerprint_of(node: Op, point: int) -> int:
    name, args = node.name, node.args
    if name == "+":
        return sum(fingerprint(arg, point) for arg in args) % P
    if name == "*":
        result = 1
        for arg in args:
            result = result * fingerprint(arg, point) % P
        return result
    if name == "/":
        return fingerprint(args[0], point) * _inverse(fingerprint(args[1], point)) % P
    if name == "neg":
        return -fingerprint(args[0], point) % P
    if name == "percent":
        return fingerprint(args[0], point) * _inverse(100) % P
    if name == "^":
        return _fingerprint_power(args[0], args[1], point)
    if name == "!":
        return _factorial_mod(natural(_exact(args[0]), most=MAX_FACTORIAL))
    if name == "binom":
        top, bottom = natural(_exact(args[0]), most=10**5), natural(_exact(args[1]), most=10**5)
        return comb(top, bottom) % P if min(bottom, top - bottom) <= MAX_FACTORIAL else _no_value()
    if name == "call":
        # An unknown function: any value, as long as equal arguments give equal ones.
        values = ",".join(str(fingerprint(arg, point)) for arg in args[1:])
        return letter_value(f"{args[0]}({values})", point)
    raise NotRational


def _no_value() -> int:
    raise NotRational


def _fingerprint_power(base: Node, exponent: Node, point: int) -> int:
    power = _exact(exponent)
    if power.denominator != 1:
        return fingerprint(Num(_exact_power(_exact(base), power)), point)
    value = fingerprint(base, point)
    if value == 0 and power <= 0:
        raise Undefined
    return pow(value, int(power), P)


@lru_cache(maxsize=256)
def _factorial_mod(value: int) -> int:
    return factorial(value) % P


def _inverse(value: int) -> int:
    if value % P == 0:
        raise Undefined
    return pow(value, -1, P)


@lru_cache(maxsize=4096)
def letter_value(name: str, point: int) -> int:
    """A number below P that is a function of name and point alone."""
    return int.from_bytes(blake2b(f"{point}:{name}".encode("utf-8", "replace"), digest_size=32).digest()) % P
