"""Whether two formulas have the same value: for numbers exactly or to hundreds of digits, for letters at every point.

The rules:

- Rational constants are compared exactly. Rational functions of letters (pi is one, i is a root of -1) are compared by
  fingerprints modulo a 255-bit prime (see `exact.py`): different is certain, equal is wrong once in 10^70.
- All other constants are computed to at least 120 digits and as many more as the numbers in them have. Different is
  certain, beyond every rounding error; equal means that all those digits agree.
- All other formulas are computed at several points with positive letters. Equal means equal at every point where both
  are real, so sqrt(x^2) is x; with an absolute value, letters are negative too, so |x| is not. Where floors, factorials
  or binomials of letters occur, letters are natural numbers.
"""

import threading
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from hicra_cli.grading.exact import NotRational, P, Undefined, exact, fingerprint, letter_value
from hicra_cli.grading.nodes import Const, Node, Num, Op, Sym, Text, walk
from hicra_cli.grading.numeric import Evaluation, TooLarge, context

DECIMAL_TOLERANCE = Fraction(1, 10_000)
_FIRST_BITS = 240
_EQUAL_BITS = 420
_MOST_BITS = 40_000
_RANGES = ((0.5, 1.0), (1.2, 3.0), (0.05, 0.4), (3.0, 9.0), (10.0, 40.0), (0.3, 5.0))
_WHOLE = frozenset(("floor", "ceil", "!", "binom", "gcd", "lcm"))
_STRUCTURES = ("list", "set", "union", "inter", "minus", "matrix", "row", "det", "chain", "in", "pm", "mp", "numeral")
_LOCAL = threading.local()


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
    bits: int


@lru_cache(maxsize=4096)
def traits(node: Node) -> Traits | None:
    """The traits of a formula, or None where the tree is no formula of values."""
    names, decimal, rational, whole, signed, imaginary = set(), False, True, False, False, False
    base_ten = natural = False
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
            if name in _STRUCTURES or name.startswith("tuple") or name in ("=", "!=", "<", ">", "<=", ">=", "unit"):
                return None
            if name == "^":
                power = exact(part.args[1])
                rational &= power is not None and power.denominator == 1
                if power is not None:
                    bits += 8 * min(abs(int(power)), 10_000)
                whole |= power is None and _is_negative(part.args[0])
            elif name in _WHOLE:
                whole |= any(isinstance(inner, Sym) for inner in walk(part))
                rational &= name in ("!", "binom") and not whole
            elif name == "log":
                base_ten |= len(part.args) == 2 and part.args[0] == Num(Fraction(10))
            natural |= name == "ln"
            base_ten |= name == "lg"
            signed |= name in ("abs", "sgn")
            rational &= name in ("+", "*", "/", "neg", "^", "!", "binom", "percent", "call")
    return Traits(frozenset(names), rational, whole, signed, imaginary, decimal, base_ten, natural, bits)


def _is_negative(node: Node) -> bool:
    value = exact(node)
    return value is not None and value < 0


def same_value(answer: Node, gold: Node) -> bool | None:
    """Whether two formulas are equal; None where that cannot be said. A gold with decimals has its tolerance."""
    left, right = traits(answer), traits(gold)
    if left is None or right is None:
        return None
    if not left.letters and not right.letters:
        return _same_constant(answer, gold, left, right)
    if left.rational and right.rational:
        return _same_fingerprint(answer, gold)
    return _same_function(answer, gold, left, right)


def close(value: Fraction, target: Fraction, tolerance: Fraction) -> bool:
    """Whether a value is within the relative tolerance of a target."""
    return abs(value - target) <= tolerance * abs(target)


def _same_constant(answer: Node, gold: Node, left: Traits, right: Traits) -> bool | None:
    tolerance = DECIMAL_TOLERANCE if right.decimal else Fraction(0)
    values = exact(answer), exact(gold)
    if values[0] is not None and values[1] is not None:
        return close(values[0], values[1], tolerance)
    if left.rational and right.rational and not tolerance:
        return _same_fingerprint(answer, gold)
    return _same_number(answer, gold, left, right, tolerance=tolerance)


def _same_fingerprint(answer: Node, gold: Node) -> bool | None:
    for point in (1, 2, 3):
        try:
            return fingerprint(answer, point) == fingerprint(gold, point)
        except Undefined:
            continue
        except NotRational:
            return None
    return None


def _same_number(answer: Node, gold: Node, left: Traits, right: Traits, *, tolerance: Fraction) -> bool | None:
    """Constants with roots, pi, logarithms: first to 70 digits, then, where these agree, to all that matter."""
    log_base = _log_base(left, right)
    most = min(_EQUAL_BITS + 2 * (left.bits + right.bits), _MOST_BITS)
    for bits in (_FIRST_BITS, most):
        try:
            evaluation = Evaluation(_context(bits), {}, log_base=log_base)
            value, target = evaluation.value(answer), evaluation.value(gold)
        except (NotRational, Undefined, TooLarge):
            return None
        difference = abs(value - target)
        if tolerance and difference <= abs(target) * (evaluation.ctx.mpf(tolerance.numerator) / tolerance.denominator):
            return True
        if difference != 0 and evaluation.ctx.mag(difference) > evaluation.peak - bits + 100:
            return False
    return True


def _log_base(left: Traits, right: Traits) -> int | None:
    """A bare `log` is natural, unless one side says base ten and none the natural one."""
    base_ten, natural = left.base_ten or right.base_ten, left.natural_log or right.natural_log
    return 10 if base_ten and not natural else None


def _same_function(answer: Node, gold: Node, left: Traits, right: Traits) -> bool | None:
    """At points with every letter real: any difference decides, agreement must hold at all points."""
    names = sorted(left.letters | right.letters)
    if left.whole or right.whole:
        return _same_at_naturals(answer, gold, names, _log_base(left, right))
    signed = left.signed or right.signed
    ignore_branches = not (left.imaginary or right.imaginary)
    real = branched = 0
    for place, (low, high) in enumerate(_RANGES + (_RANGES[1:5] if signed else ())):
        values = {name: _point(name, place, low, high, signed=signed) for name in names}
        agreed, crossed = _agree(answer, gold, values, _log_base(left, right))
        if agreed is None:
            continue
        if not (crossed and ignore_branches):
            if not agreed:
                return False
            real += 1
            if real >= (8 if signed else 3):
                return True
        elif agreed:
            branched += 1
        else:
            branched -= 100
    if real:
        return True
    return True if branched >= 3 else None


def _same_at_naturals(answer: Node, gold: Node, names: list[str], log_base: int | None) -> bool | None:
    """Formulas of natural numbers: equal at 40 points, 12 of them small ones in a row for the first letter."""
    agreed = 0
    for place in range(40):
        values = {
            name: _context(_FIRST_BITS).mpf(2 + place + 7 * index if place < 24 else 1 + letter_value(name, place) % 60)
            for index, name in enumerate(names)
        }
        same, _ = _agree(answer, gold, values, log_base)
        if same is False:
            return False
        agreed += same is True
    return True if agreed >= 12 else None


def _agree(answer: Node, gold: Node, values: dict[str, Any], log_base: int | None) -> tuple[bool | None, bool]:
    """Whether the values agree to half of the bits (None: no value), and whether a branch was crossed."""
    arithmetic = _context(_FIRST_BITS)
    evaluation = Evaluation(arithmetic, values, log_base=log_base)
    try:
        value, target = evaluation.value(answer), evaluation.value(gold)
    except (NotRational, Undefined, TooLarge):
        return None, evaluation.branched
    difference = abs(value - target)
    same = difference == 0 or arithmetic.mag(difference) < evaluation.peak - _FIRST_BITS // 2
    return bool(same), evaluation.branched


def _point(name: str, place: int, low: float, high: float, *, signed: bool) -> Any:
    """A value between low and high with 64 random bits; with `signed`, half of the letters are negative."""
    share = letter_value(name, place) >> 191
    arithmetic = _context(_FIRST_BITS)
    value = arithmetic.mpf(low) + (arithmetic.mpf(high) - arithmetic.mpf(low)) * arithmetic.ldexp(share, -64)
    return -value if signed and letter_value(name, place + 100) % 2 else value


def _context(bits: int) -> Any:
    """One arithmetic per precision and thread."""
    known = getattr(_LOCAL, "contexts", None)
    if known is None:
        known = _LOCAL.contexts = {}
    if bits not in known:
        if len(known) > 16:
            known.clear()
        known[bits] = context(bits)
    return known[bits]


def proportional(answer: Node, gold: Node) -> int | None:
    """The sign of the constant by which two formulas with letters differ; 0 where none; None where not known.

    For relations: `2x - y + 3 = 0` is `y = 2x + 3`, as its difference of sides is -1 times the other's.
    """
    left, right = traits(answer), traits(gold)
    if left is None or right is None:
        return None
    if left.letters != right.letters:
        return 0
    try:
        if left.rational and right.rational:
            one, two = [(fingerprint(answer, point), fingerprint(gold, point)) for point in (1, 2)]
            if 0 in one or 0 in two:
                return None
            if (one[0] * two[1] - two[0] * one[1]) % P:
                return 0
        return _ratio_sign(answer, gold, sorted(left.letters), _log_base(left, right))
    except (NotRational, Undefined, TooLarge):
        return None


def _ratio_sign(answer: Node, gold: Node, names: list[str], log_base: int | None) -> int | None:
    arithmetic = _context(_FIRST_BITS)
    ratios = []
    for place, (low, high) in enumerate(_RANGES[:4]):
        values = {name: _point(name, place, low, high, signed=False) for name in names}
        evaluation = Evaluation(arithmetic, values, log_base=log_base)
        try:
            value, target = evaluation.value(answer), evaluation.value(gold)
        except Undefined:
            continue
        if target != 0:
            ratios.append(value / target)
    if len(ratios) < 2 or ratios[0] == 0:
        return None
    if any(abs(ratio - ratios[0]) > abs(ratios[0]) * arithmetic.ldexp(1, -_FIRST_BITS // 3) for ratio in ratios):
        return 0
    return 1 if arithmetic.re(ratios[0]) > 0 else -1


def real_number(node: Node) -> Any | None:
    """A real constant as a number to sort by; infinities included; None where the tree is none."""
    arithmetic = _context(_FIRST_BITS)
    if node == Const("infinity"):
        return arithmetic.inf
    if node == Op("neg", (Const("infinity"),)):
        return -arithmetic.inf
    found = traits(node)
    if found is None or found.letters:
        return None
    try:
        value = Evaluation(arithmetic, {}).value(node)
    except (NotRational, Undefined, TooLarge):
        return None
    return None if isinstance(value, arithmetic.mpc) and value.imag != 0 else arithmetic.re(value)
