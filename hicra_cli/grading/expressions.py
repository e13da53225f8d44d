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
from hicra_cli.grading.nodes import Const, Node, Num, Op, Sym, Text, contains, walk
from hicra_cli.grading.numeric import Ball, Budget, Evaluation, TooLarge, arithmetic

DECIMAL_TOLERANCE = Fraction(1, 10_000)
_FIRST_BITS = 240
_EQUAL_BITS = 420
_MOST_BITS = 40_000
_RANGES = ((0.5, 1.0), (1.2, 3.0), (0.05, 0.4), (3.0, 9.0), (10.0, 40.0), (0.3, 5.0))
_WHOLE = frozenset(("floor", "ceil", "!", "binom", "gcd", "lcm", "sum", "prod"))
_STRUCTURES = (
    "list",
    "set",
    "union",
    "inter",
    "minus",
    "matrix",
    "row",
    "ratio",
    "choice",
    "chain",
    "in",
    "pm",
    "mp",
    "numeral",
)
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


def new_budget() -> None:
    """Allow this thread the work of one comparison, from here on."""
    _LOCAL.budget = Budget()


def close(value: Fraction, target: Fraction, tolerance: Fraction) -> bool:
    """Whether a value is within the relative tolerance of a target."""
    return abs(value - target) <= tolerance * abs(target)


def _same_constant(answer: Node, gold: Node, left: Traits, right: Traits) -> bool | None:
    tolerance = DECIMAL_TOLERANCE if right.decimal else Fraction(0)
    values = exact(answer), exact(gold)
    if values[0] is not None and values[1] is not None:
        return close(values[0], values[1], tolerance)
    if left.rational and right.rational and not tolerance:
        verdict = _same_fingerprint(answer, gold)
        if verdict is not None:
            return verdict
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
    most = min(_EQUAL_BITS + 2 * (left.bits + right.bits), _MOST_BITS)
    for bits in (_FIRST_BITS, most):
        evaluation = Evaluation(_context(bits), {}, budget=_budget(), log_base=_log_base(left, right))
        try:
            target = evaluation.ball(gold)
            value = _defined(evaluation, answer)
        except (NotRational, Undefined, TooLarge):
            return None
        if value is None:
            return False
        verdict = _touching(evaluation, value, target)
        if verdict is False and tolerance:
            ratio = evaluation.ctx.mpf(tolerance.numerator) / tolerance.denominator
            return bool(abs(value.value - target.value) <= abs(target.value) * ratio)
        if verdict is False:
            return False
    return verdict


def _defined(evaluation: Evaluation, node: Node) -> Ball | None:
    """The value of a constant, None where it has none: 1/0 is no answer to a gold that is a number."""
    try:
        return evaluation.ball(node)
    except Undefined:
        return None


def _touching(evaluation: Evaluation, value: Ball, target: Ball) -> bool | None:
    """False for balls apart; True where both agree to nearly half of their bits; None where they are too wide."""
    error = max(value.error, target.error) + 2
    if evaluation.mag(value.value - target.value) > error:
        return False
    vanishing = evaluation.may_vanish(value) and evaluation.may_vanish(target)
    size = 0 if vanishing else max(evaluation.mag(value.value), evaluation.mag(target.value))
    return True if error < size - evaluation.ctx.prec * 2 // 5 else None


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
    return _same_at_reals(answer, gold, names, _log_base(left, right), signed=signed, ignore_branches=ignore_branches)


def _same_at_reals(
    answer: Node, gold: Node, names: list[str], log_base: int | None, *, signed: bool, ignore_branches: bool
) -> bool | None:
    """At points where no branch is crossed; only where there are none of these, agreement at the others counts."""
    real = branched = differing = 0
    for place, (low, high) in enumerate(_RANGES + (_RANGES[1:5] if signed else ())):
        values = {name: _point(name, place, low, high, signed=signed) for name in names}
        agreed, evaluation = _agree(answer, gold, values, log_base)
        if agreed is None:
            continue
        if evaluation.branched and ignore_branches:
            branched, differing = branched + agreed, differing + (not agreed)
            continue
        if not agreed:
            return False
        real += 1
        if real >= (8 if signed else 3):
            return True
    return True if real >= 2 or (branched >= 3 and not differing) else None


def _same_at_naturals(answer: Node, gold: Node, names: list[str], log_base: int | None) -> bool | None:
    """Formulas of natural numbers: equal at 40 points, at least 12 of which have values.

    Where floors have whole arguments at all of them, letters are real: floor(x) is not x.
    """
    agreed = 0
    floored = False
    for place in range(40):
        values = {
            name: _context(_FIRST_BITS).mpf(_natural(name, place, index, len(names)))
            for index, name in enumerate(names)
        }
        same, evaluation = _agree(answer, gold, values, log_base)
        if same is False:
            return False
        agreed += same is True
        floored |= evaluation.floored
    if agreed < 12:
        return None
    if not floored and any(contains(node, "floor", "ceil") for node in (answer, gold)):
        return _same_at_reals(answer, gold, names, log_base, signed=True, ignore_branches=True)
    return True


def _natural(name: str, place: int, index: int, count: int) -> int:
    """The first letters smallest at 12 points, largest at 12 (so that both n - k and k - n occur), any order beyond."""
    if place < 24:
        return 2 + place % 12 + 7 * (index if place < 12 else count - 1 - index)
    return 1 + letter_value(name, place) % 60


def _agree(answer: Node, gold: Node, values: dict[str, Any], log_base: int | None) -> tuple[bool | None, Evaluation]:
    """Whether the values at a point agree; None where there are none."""
    evaluation = Evaluation(_context(_FIRST_BITS), values, budget=_budget(), log_base=log_base)
    try:
        return _touching(evaluation, evaluation.ball(answer), evaluation.ball(gold)), evaluation
    except (NotRational, Undefined, TooLarge):
        return None, evaluation


def _point(name: str, place: int, low: float, high: float, *, signed: bool) -> Any:
    """A value between low and high with 64 random bits; with `signed`, half of the letters are negative."""
    share = letter_value(name, place) >> 191
    ctx = _context(_FIRST_BITS)
    value = ctx.mpf(low) + (ctx.mpf(high) - ctx.mpf(low)) * ctx.ldexp(share, -64)
    return -value if signed and letter_value(name, place + 100) % 2 else value


def _budget() -> Budget:
    found = getattr(_LOCAL, "budget", None)
    if found is None:
        found = _LOCAL.budget = Budget()
    return found


def _context(bits: int) -> Any:
    """One arithmetic per precision and thread."""
    known = getattr(_LOCAL, "contexts", None)
    if known is None:
        known = _LOCAL.contexts = {}
    if bits not in known:
        if len(known) > 16:
            known.clear()
        known[bits] = arithmetic(bits)
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
    ctx = _context(_FIRST_BITS)
    ratios: list[Ball] = []
    evaluation = Evaluation(ctx, {}, budget=_budget())
    for place, (low, high) in enumerate(_RANGES[:4]):
        values = {name: _point(name, place, low, high, signed=False) for name in names}
        evaluation = Evaluation(ctx, values, budget=_budget(), log_base=log_base)
        try:
            ratios.append(evaluation.quotient(evaluation.ball(answer), evaluation.ball(gold)))
        except Undefined:
            continue
    if len(ratios) < 2 or evaluation.may_vanish(ratios[0]):
        return None
    verdicts = [_touching(evaluation, ratio, ratios[0]) for ratio in ratios[1:]]
    if False in verdicts:
        return 0
    return None if None in verdicts else 1 if ctx.re(ratios[0].value) > 0 else -1


def real_number(node: Node) -> Any | None:
    """A real constant as a number to sort by; infinities included; None where the tree is none."""
    ctx = _context(_FIRST_BITS)
    if node == Const("infinity"):
        return ctx.inf
    if node == Op("neg", (Const("infinity"),)):
        return -ctx.inf
    found = traits(node)
    if found is None or found.letters:
        return None
    try:
        value = Evaluation(ctx, {}, budget=_budget()).ball(node).value
    except (NotRational, Undefined, TooLarge):
        return None
    return None if isinstance(value, ctx.mpc) and value.imag != 0 else ctx.re(value)
