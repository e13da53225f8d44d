r"""Formulas as sums of products in one order: what two spellings of one value have in common.

A formula becomes {monomial: coefficient}, a monomial a sorted tuple of (base, exponent). Bases are letters, `\pi`,
`e`, primes under a root, and whatever has no simpler form, printed: `\sin(2 x)`, `(1 + x)`. Products are multiplied
out, like terms collected, roots of whole numbers made square-free: `\frac{1}{\sqrt 2}` and `\frac{\sqrt 2}{2}` are both
1/2 times 2^(1/2). Denominators of several terms stay as they are, so this is no decision procedure, only a spelling.
"""

from fractions import Fraction
from typing import TypeAlias

from hicra_cli.grading.exact import exact
from hicra_cli.grading.nodes import Const, Node, Op, Sym

MAX_TERMS = 200
MAX_POWER = 12
MAX_WHOLE_POWER = 1000
MAX_FACTORED = 10**12
_MAX_SHOWN_BITS = 400

Monomial: TypeAlias = tuple[tuple[str, Fraction], ...]
Terms: TypeAlias = dict[Monomial, Fraction]

_ONE: Monomial = ()
_HALF = Fraction(1, 2)


class NoCanonicalForm(Exception):
    """The formula is too large to be multiplied out, or no formula."""


def canonical(node: Node) -> Terms:
    """The sum of products of a formula. Raises NoCanonicalForm."""
    value = exact(node)
    if value is not None:
        if value.numerator.bit_length() + value.denominator.bit_length() > _MAX_SHOWN_BITS and isinstance(node, Op):
            return {((_printed_call(node), Fraction(1)),): Fraction(1)}
        return {_ONE: value} if value else {}
    if isinstance(node, Sym):
        return _base(node.name if len(node.name) == 1 else _symbol(node.name))
    if isinstance(node, Const) and node.name in ("pi", "e", "i"):
        return _base({"pi": "\\pi"}.get(node.name, node.name))
    if not isinstance(node, Op):
        raise NoCanonicalForm
    return _canonical_operation(node)


def printed(terms: Terms) -> str:
    """The sum as LaTeX, in one order: high powers first, then by letters."""
    if not terms:
        return "0"
    pieces = [_printed_term(monomial, terms[monomial]) for monomial in sorted(terms, key=_place)]
    return pieces[0] + "".join(f" - {piece[1:]}" if piece[0] == "-" else f" + {piece}" for piece in pieces[1:])


def _canonical_operation(node: Op) -> Terms:
    name, args = node.name, node.args
    if name == "+":
        return _sum([canonical(arg) for arg in args])
    if name == "neg":
        return _scaled(canonical(args[0]), Fraction(-1))
    if name == "*":
        result: Terms = {_ONE: Fraction(1)}
        for arg in args:
            result = _product(result, canonical(arg))
        return result
    if name == "/":
        return _product(canonical(args[0]), _power(canonical(args[1]), Fraction(-1)))
    if name == "percent":
        return _scaled(canonical(args[0]), Fraction(1, 100))
    if name == "root":
        degree = exact(args[0])
        if degree is None or degree.denominator != 1 or degree < 1:
            raise NoCanonicalForm
        return _power(canonical(args[1]), 1 / degree)
    if name == "^" and (exponent := exact(args[1])) is not None:
        return _power(canonical(args[0]), exponent)
    if name == "^" and len(base := canonical(args[0])) == 1:
        return _base(f"{_in_brackets(base)}^{{{printed(canonical(args[1]))}}}")
    return _base(_printed_call(node))


def _base(name: str) -> Terms:
    return {((name, Fraction(1)),): Fraction(1)}


def _symbol(name: str) -> str:
    letter, _, script = name.partition("_")
    return f"{letter}_{{{script}}}" if script else letter if len(letter.rstrip("'")) == 1 else f"\\{letter}"


def _printed_call(node: Op) -> str:
    """A function of canonical arguments."""
    arguments = [printed(canonical(arg)) if not isinstance(arg, Sym) or node.name != "call" else arg.name
                 for arg in node.args]  # fmt: skip
    if node.name == "call":
        return f"{arguments[0]}({', '.join(arguments[1:])})"
    if node.name in ("sum", "prod"):
        raise NoCanonicalForm
    shown = {"!": "factorial", "^": "power"}.get(node.name, node.name)
    shown = "ln" if node.name == "log" and len(arguments) == 1 else shown
    return f"\\{shown}({', '.join(arguments)})"


def _sum(parts: list[Terms]) -> Terms:
    result: Terms = {}
    for part in parts:
        for monomial, coefficient in part.items():
            result[monomial] = result.get(monomial, Fraction(0)) + coefficient
    return _limited({monomial: coefficient for monomial, coefficient in result.items() if coefficient})


def _scaled(terms: Terms, factor: Fraction) -> Terms:
    return {monomial: coefficient * factor for monomial, coefficient in terms.items()}


def _product(left: Terms, right: Terms) -> Terms:
    if len(left) * len(right) > MAX_TERMS * 4:
        raise NoCanonicalForm
    result: Terms = {}
    for one, first in left.items():
        for other, second in right.items():
            monomial, factor = _reduced([*one, *other])
            result[monomial] = result.get(monomial, Fraction(0)) + first * second * factor
    return _limited({monomial: coefficient for monomial, coefficient in result.items() if coefficient})


def _limited(terms: Terms) -> Terms:
    if len(terms) > MAX_TERMS or any(
        coefficient.numerator.bit_length() + coefficient.denominator.bit_length() > 20_000
        for coefficient in terms.values()
    ):
        raise NoCanonicalForm
    return terms


def _reduced(factors: list[tuple[str, Fraction]]) -> tuple[Monomial, Fraction]:
    """Equal bases joined; whole powers of primes and of i go to the coefficient."""
    powers: dict[str, Fraction] = {}
    for base, exponent in factors:
        powers[base] = powers.get(base, Fraction(0)) + exponent
    coefficient = Fraction(1)
    for base in [base for base in powers if base == "i" or base.isdecimal()]:
        exponent = powers.pop(base)
        if base == "i" and exponent.denominator == 1:
            coefficient *= -1 if exponent % 4 in (2, 3) else 1
            exponent %= 2
        elif base != "i":
            whole = exponent.numerator // exponent.denominator
            if abs(whole) > MAX_WHOLE_POWER:
                raise NoCanonicalForm
            coefficient *= Fraction(int(base)) ** whole
            exponent -= whole
        powers[base] = exponent
    return tuple(sorted((base, exponent) for base, exponent in powers.items() if exponent)), coefficient


def _power(terms: Terms, exponent: Fraction) -> Terms:
    if exponent.denominator > 1 and any(base == "i" for monomial in terms for base, _ in monomial):
        raise NoCanonicalForm  # roots of complex numbers do not multiply
    if len(terms) == 1:
        (monomial, coefficient), *_ = terms.items()
        return _product(
            _coefficient_power(coefficient, exponent),
            dict([_reduced([(base, power * exponent) for base, power in monomial])]),
        )
    if not terms:
        if exponent <= 0:
            raise NoCanonicalForm
        return {}
    if exponent.denominator == 1 and 0 < exponent <= MAX_POWER:
        result: Terms = {_ONE: Fraction(1)}
        for _ in range(int(exponent)):
            result = _product(result, terms)
        return result
    content = abs(terms[min(terms, key=_place)])
    if exponent.denominator == 1 and terms[min(terms, key=_place)] < 0:
        content = -content
    inner = f"({printed(_scaled(terms, 1 / content))})"
    return _product(_coefficient_power(content, exponent), {((inner, exponent),): Fraction(1)})


def _coefficient_power(coefficient: Fraction, exponent: Fraction) -> Terms:
    """A number to a rational power: primes with exponents below one, and i for a square root of a negative number."""
    if exponent.denominator == 1:
        if abs(exponent) > MAX_WHOLE_POWER:
            raise NoCanonicalForm
        return {_ONE: coefficient ** int(exponent)}
    factors: list[tuple[str, Fraction]] = []
    sign = Fraction(1)
    if coefficient < 0:
        if exponent.denominator == 2:
            factors.append(("i", Fraction(exponent.numerator)))
        elif exponent.denominator % 2:
            sign = Fraction(-1) ** exponent.numerator
        else:
            raise NoCanonicalForm
    for prime, power in _factored(abs(coefficient.numerator)):
        factors.append((str(prime), power * exponent))
    for prime, power in _factored(coefficient.denominator):
        factors.append((str(prime), -power * exponent))
    monomial, factor = _reduced(factors)
    return {monomial: factor * sign}


def _factored(value: int) -> list[tuple[int, int]]:
    """Primes and their powers; numbers beyond MAX_FACTORED have no canonical roots."""
    if value > MAX_FACTORED:
        raise NoCanonicalForm
    found: list[tuple[int, int]] = []
    prime = 2
    while prime * prime <= value:
        count = 0
        while value % prime == 0:
            value, count = value // prime, count + 1
        if count:
            found.append((prime, count))
        prime += 1 if prime == 2 else 2
    return [*found, (value, 1)] if value > 1 else found


def _place(monomial: Monomial) -> tuple[Fraction, str]:
    degree = sum((exponent for base, exponent in monomial if base not in ("\\pi", "e", "i") and not base.isdecimal()),
                 Fraction(0))  # fmt: skip
    return -degree, " ".join(f"{base}^{exponent}" for base, exponent in monomial) or "~"


def _printed_term(monomial: Monomial, coefficient: Fraction) -> str:
    number = _printed_number(coefficient)
    factors = [_printed_factor(base, exponent) for base, exponent in monomial]
    if not factors:
        return number
    if abs(coefficient) == 1:
        return ("-" if coefficient < 0 else "") + " ".join(factors)
    # A digit behind a number would read as one number with it.
    return number + "".join(f" \\cdot {factor}" if factor[0].isdecimal() else f" {factor}" for factor in factors)


def _printed_factor(base: str, exponent: Fraction) -> str:
    if exponent == 1:
        return base
    if exponent == _HALF:
        return f"\\sqrt{{{base}}}"
    shown = str(exponent) if exponent.denominator == 1 else f"{exponent.numerator}/{exponent.denominator}"
    return f"{base}^{{{shown}}}"


def _printed_number(value: Fraction) -> str:
    if value.denominator == 1:
        return _printed_integer(value.numerator)
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{_printed_integer(abs(value.numerator))}}}{{{_printed_integer(value.denominator)}}}"


def _printed_integer(value: int) -> str:
    """Digits; numbers of many digits that end in zeros by their power of ten."""
    if abs(value) < 10**21:
        return str(value)
    zeros = 0
    while value % 10 == 0:
        value, zeros = value // 10, zeros + 1
    if value.bit_length() > 14_000:
        raise NoCanonicalForm
    return f"{value} \\cdot 10^{{{zeros}}}" if zeros else str(value)


def _in_brackets(terms: Terms) -> str:
    shown = printed(terms)
    return shown if shown.isalnum() else f"({shown})"
