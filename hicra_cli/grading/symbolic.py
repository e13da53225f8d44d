r"""Equality by computer algebra (math-verify over sympy). Only grading workers import this: it can hang and swell.

Timeouts of math-verify are off: they are signals of its own and would be caught by its own broad handlers; the
worker's clock kills the process instead. Two things are stricter here than there: the whole answer has to parse (no
search for something that does), and equal constants must agree relatively, not to an absolute number of places
(2^{-99} is not 2^{-98}).
"""

import logging

import sympy
from latex2sympy2_extended import NormalizationConfig, latex2sympy, normalize_latex
from math_verify import verify
from math_verify.grader import should_treat_as_complex
from sympy.core.function import AppliedUndef
from sympy.ntheory import prime

from hicra_cli.grading.normal import is_prose

POINT_TOLERANCE = sympy.Float("1e-4")  # of values at one point, to be surely different
DECIMAL_TOLERANCE = sympy.Float("1e-4")  # of a gold with decimals, as in `expressions.py`
EXACT_TOLERANCE = sympy.Float("1e-25")
FLOAT_TOLERANCE = sympy.Float("1e-14")  # a decimal in the answer is read as a double
_DIGITS = 40

_NORMALIZATION = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
)

for _name in ("math_verify", "math_verify.parser", "math_verify.grader"):
    logging.getLogger(_name).setLevel(logging.ERROR)


class NotReadable(Exception):
    """The text is no formula that the parser knows."""


def equal_by_algebra(answer: str, gold: str) -> bool | None:
    """Whether two cleaned LaTeX texts are mathematically equal; None where either is not readable.

    Whatever sympy raises while comparing (it raises many things) goes to the caller.
    """
    try:
        gold_expression, answer_expression = _read(gold), _read(answer)
    except NotReadable:
        return None
    if _differ_at_a_point(answer_expression, gold_expression):
        return False
    if not verify(gold_expression, answer_expression, timeout_seconds=None, raise_on_error=True):
        return False
    return _agree_relatively(answer_expression, gold_expression)


def _read(text: str) -> sympy.Basic:
    if is_prose(text):
        raise NotReadable("prose")
    normalized = normalize_latex(text, config=_NORMALIZATION)
    try:
        return latex2sympy(
            normalized, is_real=not should_treat_as_complex(text), convert_degrees=False, normalization_config=None
        )
    except MemoryError:
        raise
    except Exception as error:  # the parser raises bare Exception for every syntax error
        raise NotReadable(str(error)) from error


def _differ_at_a_point(answer: sympy.Basic, gold: sympy.Basic) -> bool:
    """Whether two expressions have clearly different values at one generic point: cheap, and spares `simplify`.

    Symbols of one name get one positive value on both sides. Not for relations, sets, matrices and unknown functions.
    """
    if not all(isinstance(side, sympy.Expr) for side in (answer, gold)) or answer.atoms(AppliedUndef):
        return False
    names = sorted({str(symbol) for side in (answer, gold) for symbol in side.free_symbols})
    point = {
        name: sympy.Float(1.1) + sympy.sqrt(prime(index + 1)).evalf(_DIGITS) / 7 for index, name in enumerate(names)
    }
    values = [side.subs({s: point[str(s)] for s in side.free_symbols}).evalf(_DIGITS) for side in (answer, gold)]
    if not all(value.is_number and value.is_finite and value.is_comparable for value in values):
        return False
    return bool(abs(values[0] - values[1]) > POINT_TOLERANCE * max(abs(values[0]), abs(values[1])))


def _agree_relatively(answer: sympy.Basic, gold: sympy.Basic) -> bool:
    """Constants that math-verify took for equal must agree: to the tolerance of a gold with decimals, else exactly."""
    if not all(isinstance(side, sympy.Expr) and not side.free_symbols for side in (answer, gold)):
        return True
    difference, size = sympy.Abs((answer - gold).evalf(_DIGITS)), sympy.Abs(gold.evalf(_DIGITS))
    if not (difference.is_Float or difference.is_Integer) or not (size.is_Float or size.is_Integer):
        return True
    tolerance = DECIMAL_TOLERANCE if gold.has(sympy.Float) else EXACT_TOLERANCE
    if answer.has(sympy.Float):
        tolerance = max(tolerance, FLOAT_TOLERANCE)
    return bool(difference <= tolerance * size)
