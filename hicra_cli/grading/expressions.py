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

from fractions import Fraction
from typing import Any

from hicra_cli.grading.balls import Ball, TooLarge
from hicra_cli.grading.exact import NotRational, P, Undefined, exact, fingerprint
from hicra_cli.grading.nodes import Const, Node, Op, contains
from hicra_cli.grading.numeric import Evaluation
from hicra_cli.grading.points import FIRST_BITS, agree, context_of, evaluation_at, natural_point, real_point, touching
from hicra_cli.grading.traits import Traits, log_bases, traits

DECIMAL_TOLERANCE = Fraction(1, 10_000)
_FIRST_BITS = 240
_EQUAL_BITS = 420
_MOST_BITS = 40_000
_RANGES = ((0.5, 1.0), (1.2, 3.0), (0.05, 0.4), (3.0, 9.0), (10.0, 40.0), (0.3, 5.0))


def same_value(answer: Node, gold: Node) -> bool | None:
    """Whether two formulas are equal; None where that cannot be said. A gold with decimals has its tolerance."""
    left, right = traits(answer), traits(gold)
    if left is None or right is None:
        return None
    if (left.letters or right.letters) and left.rational and right.rational:
        return _same_fingerprint(answer, gold)
    verdict: bool | None = None
    for base in log_bases(left, right):
        if left.letters or right.letters:
            verdict = _same_function(answer, gold, left, right, base)
        else:
            verdict = _same_constant(answer, gold, left, right, base)
        if verdict:
            return True
    return verdict


def close(value: Fraction, target: Fraction, tolerance: Fraction) -> bool:
    """Whether a value is within the relative tolerance of a target."""
    return abs(value - target) <= tolerance * abs(target)


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
        return _ratio_sign(answer, gold, sorted(left.letters), log_bases(left, right)[0])
    except (NotRational, Undefined, TooLarge):
        return None


def real_number(node: Node) -> Any | None:
    """A real constant as a number to sort by; infinities included; None where the tree is none."""
    ctx = context_of(FIRST_BITS)
    if node == Const("infinity"):
        return ctx.inf
    if node == Op("neg", (Const("infinity"),)):
        return -ctx.inf
    found = traits(node)
    if found is None or found.letters:
        return None
    try:
        value = evaluation_at({}).ball(node).value
    except (NotRational, Undefined, TooLarge):
        return None
    return None if isinstance(value, ctx.mpc) and value.imag != 0 else ctx.re(value)


def _same_constant(answer: Node, gold: Node, left: Traits, right: Traits, base: int | None) -> bool | None:
    tolerance = DECIMAL_TOLERANCE if right.decimal else Fraction(0)
    values = exact(answer), exact(gold)
    if values[0] is not None and values[1] is not None:
        return close(values[0], values[1], tolerance)
    if left.rational and right.rational and not tolerance:
        verdict = _same_fingerprint(answer, gold)
        if verdict is not None:
            return verdict
    return _same_number(answer, gold, base, bits=left.bits + right.bits, tolerance=tolerance)


def _same_fingerprint(answer: Node, gold: Node) -> bool | None:
    for point in (1, 2, 3):
        try:
            return fingerprint(answer, point) == fingerprint(gold, point)
        except Undefined:
            continue
        except NotRational:
            return None
    return None


def _same_number(answer: Node, gold: Node, base: int | None, *, bits: int, tolerance: Fraction) -> bool | None:
    """Constants with roots, pi, logarithms: first to 70 digits, then, where these agree, to all that matter."""
    most = min(_EQUAL_BITS + 2 * bits, _MOST_BITS)
    for prec in (FIRST_BITS, most):
        evaluation = evaluation_at({}, bits=prec, log_base=base)
        try:
            target = evaluation.ball(gold)
            value = _defined(evaluation, answer)
        except (NotRational, Undefined, TooLarge):
            return None
        if value is None:
            return False
        verdict = touching(evaluation, value, target)
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


def _same_function(answer: Node, gold: Node, left: Traits, right: Traits, base: int | None) -> bool | None:
    """At points with every letter real: any difference decides, agreement must hold at all points."""
    names = sorted(left.letters | right.letters)
    if left.whole or right.whole:
        return _same_at_naturals(answer, gold, names, base)
    signed = left.signed or right.signed
    ignore_branches = not (left.imaginary or right.imaginary)
    return _same_at_reals(answer, gold, names, base, signed=signed, ignore_branches=ignore_branches)


def _same_at_reals(
    answer: Node, gold: Node, names: list[str], base: int | None, *, signed: bool, ignore_branches: bool
) -> bool | None:
    """At points where no branch is crossed; only where there are none of these, agreement at the others counts."""
    real = branched = differing = 0
    for place, (low, high) in enumerate(_RANGES + (_RANGES[1:5] if signed else ())):
        values = {name: real_point(name, place, low, high, signed=signed) for name in names}
        agreed, evaluation = agree(answer, gold, values, base)
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


def _same_at_naturals(answer: Node, gold: Node, names: list[str], base: int | None) -> bool | None:
    """Formulas of natural numbers: equal at 40 points, at least 12 of which have values.

    Where floors have whole arguments at all of them, letters are real: floor(x) is not x.
    """
    agreed = 0
    floored = False
    for place in range(40):
        values = {
            name: context_of(FIRST_BITS).mpf(natural_point(name, place, index, len(names)))
            for index, name in enumerate(names)
        }
        same, evaluation = agree(answer, gold, values, base)
        if same is False:
            return False
        agreed += same is True
        floored |= evaluation.floored
    if agreed < 12:
        return None
    if not floored and any(contains(node, "floor", "ceil") for node in (answer, gold)):
        return _same_at_reals(answer, gold, names, base, signed=True, ignore_branches=True)
    return True


def _ratio_sign(answer: Node, gold: Node, names: list[str], base: int | None) -> int | None:
    ctx = context_of(FIRST_BITS)
    ratios: list[Ball] = []
    evaluation = evaluation_at({})
    for place, (low, high) in enumerate(_RANGES[:4]):
        values = {name: real_point(name, place, low, high, signed=False) for name in names}
        evaluation = evaluation_at(values, log_base=base)
        try:
            ratios.append(evaluation.quotient(evaluation.ball(answer), evaluation.ball(gold)))
        except Undefined:
            continue
    if len(ratios) < 2 or evaluation.may_vanish(ratios[0]):
        return None
    verdicts = [touching(evaluation, ratio, ratios[0]) for ratio in ratios[1:]]
    if False in verdicts:
        return 0
    return None if None in verdicts else 1 if ctx.re(ratios[0].value) > 0 else -1
