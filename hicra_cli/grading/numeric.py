"""Values of formulas to hundreds of digits, with a note of how far the digits can be trusted.

`Evaluation` computes a tree at one point. `peak` is the largest binary magnitude any intermediate value had, so
that 2^(peak - prec) times a few units bounds the rounding error of sums; `branched` tells that a root or logarithm of a
negative number was taken, where equal formulas may differ by the branch chosen.
"""

from collections.abc import Callable, Mapping
from typing import Any

import mpmath  # type: ignore[import-untyped]

from hicra_cli.grading.exact import NotRational, Undefined, exact
from hicra_cli.grading.nodes import Const, Node, Num, Op, Sym

MAX_MAGNITUDE = 1 << 40  # of a result, in bits: its mantissa is limited all the same
_MAX_ANGLE_BITS = 200

Value = Any  # mpf or mpc of the context in use: mpmath is not typed


class TooLarge(Exception):
    """The value cannot be computed within the limits."""


def context(prec: int) -> Any:
    """An arithmetic of its own with `prec` bits: the global one may be changed by other code."""
    found = mpmath.MPContext() if hasattr(mpmath, "MPContext") else mpmath.ctx_mp.MPContext()
    found.prec = prec
    return found


class Evaluation:
    """One tree after another at one point: `values` of the letters, bare `log` to `log_base` (None: natural)."""

    def __init__(self, arithmetic: Any, values: Mapping[str, Any], *, log_base: int | None = None) -> None:
        self.ctx = arithmetic
        self.values = values
        self.log_base = log_base
        self.peak = -MAX_MAGNITUDE
        self.branched = False

    def value(self, node: Node) -> Value:
        """The value of a tree. Raises Undefined, TooLarge, or NotRational for what has no value."""
        if isinstance(node, Num):
            result = self.ctx.mpf(node.value.numerator)
            if node.value.denominator != 1:
                result /= node.value.denominator
        elif isinstance(node, Sym):
            result = self.values[node.name]
        elif isinstance(node, Const):
            result = self._constant(node.name)
        elif isinstance(node, Op):
            result = self._operation(node)
        else:
            raise NotRational
        return self._checked(result)

    def _checked(self, value: Value) -> Value:
        if not self.ctx.isfinite(value):
            raise Undefined
        if value != 0:
            magnitude = int(self.ctx.mag(value))
            if abs(magnitude) > MAX_MAGNITUDE:
                raise TooLarge
            self.peak = max(self.peak, magnitude)
        return value

    def _constant(self, name: str) -> Value:
        if name == "pi":
            return +self.ctx.pi
        if name == "e":
            return +self.ctx.e
        if name == "i":
            return self.ctx.j
        raise NotRational

    def _operation(self, node: Op) -> Value:
        if node.name == "^":
            return self._power(node.args[0], node.args[1])
        if node.name == "call":
            return self._call(node)
        operation = _OPERATIONS.get(node.name)
        if operation is None:
            raise NotRational
        try:
            return operation(self, *(self.value(arg) for arg in node.args))
        except (ZeroDivisionError, ValueError) as error:
            raise Undefined from error
        except TypeError as error:  # a wrong number of arguments
            raise NotRational from error

    def sum(self, *values: Value) -> Value:
        total = self.ctx.mpf(0)
        for value in values:
            total += value
        return total

    def product(self, *values: Value) -> Value:
        total = self.ctx.mpf(1)
        for value in values:
            total *= value
        return total

    def root(self, degree: Value, value: Value) -> Value:
        if not self.ctx.isint(degree) or not 1 <= degree <= 1000:
            raise TooLarge
        order = int(degree)
        if self._is_real(value):
            if value >= 0:
                return self.ctx.root(value, order) if order != 2 else self.ctx.sqrt(value)
            if order % 2:
                return -self.ctx.root(-value, order)
        self.branched = True
        return self.ctx.root(value, order)

    def _power(self, base_node: Node, exponent_node: Node) -> Value:
        exponent_exact = exact(exponent_node)
        if base_node == Const("e"):
            return self.exp(self.value(exponent_node))
        base = self.value(base_node)
        if exponent_exact is not None and exponent_exact.denominator != 1 and exponent_exact.denominator <= 1000:
            root = self.root(self.ctx.mpf(exponent_exact.denominator), base)
            return self._whole_power(root, exponent_exact.numerator)
        exponent = self.value(exponent_node)
        if self.ctx.isint(exponent) and abs(exponent) < 1 << 30:
            return self._whole_power(base, int(exponent))
        if base == 0:
            if self._is_real(exponent) and exponent > 0:
                return base
            raise Undefined
        self.branched |= not self._is_real(base) or base < 0
        return self.exp(exponent * self.ctx.log(base))

    def _whole_power(self, base: Value, exponent: int) -> Value:
        if base == 0:
            if exponent <= 0:
                raise Undefined
            return base
        if abs(int(self.ctx.mag(base))) * abs(exponent) > MAX_MAGNITUDE:
            raise TooLarge
        return base**exponent

    def exp(self, value: Value) -> Value:
        if value != 0 and self.ctx.mag(value) > 40:
            raise TooLarge
        return self.ctx.exp(value)

    def log(self, *args: Value) -> Value:
        """`log x` or, with the base first, `log_b x`."""
        value = args[-1]
        if value == 0 or len(args) > 2:
            raise Undefined
        self.branched |= not self._is_real(value) or value < 0
        if len(args) == 2:
            return self.ctx.log(value) / self.ctx.log(args[0])
        return self.ctx.log(value) / self.ctx.log(self.log_base) if self.log_base else self.ctx.log(value)

    def natural_log(self, value: Value) -> Value:
        if value == 0:
            raise Undefined
        self.branched |= not self._is_real(value) or value < 0
        return self.ctx.log(value)

    def trigonometric(self, function: Callable[[Any, Value], Value], value: Value) -> Value:
        if value != 0 and self.ctx.mag(value) > _MAX_ANGLE_BITS // 4:
            raise TooLarge
        return function(self.ctx, value)

    def inverse(self, function: Callable[[Any, Value], Value], value: Value) -> Value:
        result = function(self.ctx, value)
        self.branched |= not self._is_real(result)
        return result

    def factorial(self, value: Value) -> Value:
        if not self.ctx.isint(value):
            raise NotRational
        if value < 0:
            raise Undefined
        if value > 5000:
            raise TooLarge
        return self.ctx.factorial(value)

    def binomial(self, top: Value, bottom: Value) -> Value:
        if not self.ctx.isint(top) or not self.ctx.isint(bottom) or bottom < 0 or top < bottom:
            raise Undefined
        if top > 10**5:
            raise TooLarge
        return self.ctx.binomial(top, bottom)

    def floor(self, value: Value) -> Value:
        """Values that are whole up to rounding are whole."""
        if not self._is_real(value):
            raise Undefined
        nearest = self.ctx.nint(value)
        return nearest if self._is_close(value, nearest) else self.ctx.floor(value)

    def ceil(self, value: Value) -> Value:
        return -self.floor(-value)

    def _is_close(self, value: Value, other: Value) -> bool:
        return bool(abs(value - other) < self.ctx.ldexp(1, -self.ctx.prec // 2))

    def _is_real(self, value: Value) -> bool:
        return not isinstance(value, self.ctx.mpc) or value.imag == 0

    def _call(self, node: Op) -> Value:
        """An unknown function: a number made of its name and its arguments' first thirty digits."""
        arguments = ",".join(self.ctx.nstr(self.value(arg), 30) for arg in node.args[1:])
        from hicra_cli.grading.exact import P, letter_value

        return self.ctx.mpf(1) / 2 + self.ctx.mpf(letter_value(f"{node.args[0]}({arguments})", 0)) / P


def _trig(name: str) -> Callable[..., Value]:
    def apply(evaluation: Evaluation, value: Value) -> Value:
        return evaluation.trigonometric(lambda ctx, x: getattr(ctx, name)(x), value)

    return apply


def _inverse(name: str) -> Callable[..., Value]:
    def apply(evaluation: Evaluation, value: Value) -> Value:
        return evaluation.inverse(lambda ctx, x: getattr(ctx, name)(x), value)

    return apply


_OPERATIONS: dict[str, Callable[..., Value]] = {
    "+": Evaluation.sum,
    "*": Evaluation.product,
    "/": lambda self, top, bottom: top / bottom,
    "neg": lambda self, value: -value,
    "root": Evaluation.root,
    "abs": lambda self, value: abs(value),
    "!": Evaluation.factorial,
    "binom": Evaluation.binomial,
    "floor": Evaluation.floor,
    "ceil": Evaluation.ceil,
    "log": Evaluation.log,
    "ln": Evaluation.natural_log,
    "lg": lambda self, value: self.log(self.ctx.mpf(10), value),
    "degree": lambda self, value: value * self.ctx.pi / 180,
    "percent": lambda self, value: value / 100,
    **{name: _trig(name) for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
    **{name: _trig(name) for name in ("sinh", "cosh", "tanh", "coth", "sech", "csch")},
    **{
        name: _inverse("a" + name.removeprefix("arc"))
        for name in ("arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "arcsinh", "arccosh", "arctanh")
    },
}
