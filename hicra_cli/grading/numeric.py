"""Values of formulas with a bound on their error: interval-like arithmetic over hundreds of digits.

A `Ball` is a real or complex number and `error`, the binary logarithm of a bound on its distance from the true value.
Each operation derives its error from those of its operands and from one rounding of its own. Two balls that do not
touch are different numbers, whatever cancelled on the way. `Evaluation.branched` tells that a root or logarithm of a
number off the positive axis was taken, where equal formulas may differ by the branch chosen.
"""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from hicra_cli.grading.balls import Ball, Budget, TooLarge, Value
from hicra_cli.grading.exact import NotRational, P, Undefined, exact, letter_value, terms
from hicra_cli.grading.nodes import Const, Node, Num, Op, Sym

MAX_MAGNITUDE = 1 << 40  # of a result, in bits: mantissas are limited all the same
_NOTHING = -(1 << 60)  # the magnitude of zero
_MAX_FACTORIAL = 10**15
_MAX_ANGLE_BITS = 50
_MAX_COMPLEX_POWER = 1000
_MAX_ROOT = 1000
_HALF_TURN = Num(Fraction(180))
_HUNDRED = Num(Fraction(100))


class Evaluation:
    """One tree after another at one point: `values` of the letters, bare `log` to `log_base` (None: natural)."""

    def __init__(self, ctx: Any, values: Mapping[str, Value], *, budget: Budget, log_base: int | None = None) -> None:
        self.ctx = ctx
        self._budget = budget
        self._cost = 1 + ctx.prec**2 // 10**6
        self.values = values
        self.log_base = log_base
        self.branched = False
        self.floored = False

    def ball(self, node: Node) -> Ball:
        """The value of a tree. Raises Undefined, TooLarge, TooCostly, or NotRational for what has no value."""
        self._budget.spend(self._cost)
        if isinstance(node, Num):
            value = self.ctx.mpf(node.value.numerator)
            return self._rounded(value / node.value.denominator if node.value.denominator != 1 else value)
        if isinstance(node, Sym):
            return self._rounded(self.values[node.name])
        if isinstance(node, Const):
            return self._constant(node.name)
        if not isinstance(node, Op):
            raise NotRational
        try:
            return self._operation(node)
        except (ZeroDivisionError, ValueError) as error:
            raise Undefined from error
        except TypeError as error:  # a wrong number of arguments
            raise NotRational from error

    def magnitude(self, ball: Ball) -> int:
        """A bound on the binary logarithm of every number in the ball."""
        return max(self.mag(ball.value), ball.error) + 1

    def mag(self, value: Value) -> int:
        """The binary logarithm of a value, rounded up; far below everything for zero."""
        return int(self.ctx.mag(value)) if value != 0 else _NOTHING

    def may_vanish(self, ball: Ball) -> bool:
        """Whether zero is in the ball."""
        return bool(ball.value == 0) or self.mag(ball.value) <= ball.error + 2

    def _rounded(self, value: Value, error: int = _NOTHING) -> Ball:
        """A value as computed just now, with an error besides that of its rounding."""
        if not self.ctx.isfinite(value):
            raise Undefined
        magnitude = self.mag(value)
        if magnitude > MAX_MAGNITUDE or (value != 0 and magnitude < -MAX_MAGNITUDE):
            raise TooLarge
        return Ball(value, max(error, magnitude - self.ctx.prec, _NOTHING) + 2)

    def _constant(self, name: str) -> Ball:
        if name == "pi":
            return self._rounded(+self.ctx.pi)
        if name == "e":
            return self._rounded(+self.ctx.e)
        if name == "i":
            return Ball(self.ctx.j, _NOTHING)
        raise NotRational

    def _operation(self, node: Op) -> Ball:
        if node.name == "^":
            return self._power(node.args[0], node.args[1])
        if node.name == "call":
            return self._call(node)
        if node.name in ("sum", "prod"):
            parts = [self.ball(term) for term in terms(node, self._whole_limit)]
            return self.sum(*parts) if node.name == "sum" else self.product(*parts)
        operation = _OPERATIONS.get(node.name)
        if operation is None:
            raise NotRational
        return operation(self, *(self.ball(arg) for arg in node.args))

    def sum(self, *parts: Ball) -> Ball:
        """Each addition may lose the last bit of the largest term or partial sum."""
        total, largest, error = self.ctx.mpf(0), _NOTHING, _NOTHING
        for part in parts:
            total += part.value
            largest = max(largest, self.mag(part.value), self.mag(total))
            error = max(error, part.error)
        return self._rounded(total, max(error, largest - self.ctx.prec) + len(parts).bit_length())

    def product(self, *parts: Ball) -> Ball:
        """Each factor's error is carried by the size of all others."""
        total = self.ctx.mpf(1)
        magnitudes = [self.magnitude(part) for part in parts]
        whole = sum(magnitudes)
        for part in parts:
            total *= part.value
        error = max((part.error + whole - size for part, size in zip(parts, magnitudes, strict=True)), default=_NOTHING)
        return self._rounded(total, max(error, whole - self.ctx.prec) + len(parts).bit_length())

    def quotient(self, top: Ball, bottom: Ball) -> Ball:
        """Undefined where the denominator may be zero."""
        if self.may_vanish(bottom):
            raise Undefined
        size = self.mag(bottom.value)
        relative = bottom.error - size + self.magnitude(top) - size
        return self._rounded(top.value / bottom.value, max(top.error - size, relative) + 3)

    def negative(self, ball: Ball) -> Ball:
        """Exact."""
        return Ball(-ball.value, ball.error)

    def absolute(self, ball: Ball) -> Ball:
        """Exact but for rounding."""
        return self._rounded(abs(ball.value), ball.error)

    def root(self, degree: Ball, ball: Ball) -> Ball:
        """The real root where there is one (of -8, the cube root is -2), else the principal one."""
        order = self._integer(degree)
        if not 1 <= order <= _MAX_ROOT:
            raise TooLarge
        if self.may_vanish(ball):
            if ball.value != 0:
                self.branched = True
            return self._rounded(self.ctx.mpf(0), max(ball.error, self.mag(ball.value)) // order + 2)
        value = ball.value
        if self._is_real(value) and (self.ctx.re(value) > 0 or order % 2):
            value = self.ctx.re(value)
            result = (
                self.ctx.root(abs(value), order) if order > 2 else self.ctx.sqrt(abs(value)) if order == 2 else value
            )
            result = -result if value < 0 and order > 1 else result
        else:
            self.branched = True
            result = self.ctx.root(value, order)
        return self._relative(result, ball, 1)

    def _relative(self, result: Value, ball: Ball, growth: int) -> Ball:
        """A result whose relative error is the operand's times 2^growth."""
        return self._rounded(result, self.mag(result) + ball.error - self.mag(ball.value) + growth)

    def _power(self, base_node: Node, exponent_node: Node) -> Ball:
        if base_node == Const("e"):
            return self.exp(self.ball(exponent_node))
        base = self.ball(base_node)
        power = exact(exponent_node)
        if power is not None and 1 < power.denominator <= _MAX_ROOT:
            root = self.root(Ball(self.ctx.mpf(power.denominator), _NOTHING), base)
            return self._whole_power(root, power.numerator)
        exponent = self.ball(exponent_node)
        if power is None and self._is_whole(exponent):
            power = Fraction(int(self.ctx.re(exponent.value)))
        if power is not None and power.denominator == 1 and abs(power) < 1 << 30:
            return self._whole_power(base, int(power))
        if base.value == 0 and self._is_real(exponent.value) and self.ctx.re(exponent.value) > 0:
            return base
        return self.exp(self.product(exponent, self.natural_log(base)))

    def _whole_power(self, base: Ball, exponent: int) -> Ball:
        if self.may_vanish(base):
            if exponent <= 0:
                raise Undefined
            return self._rounded(self.ctx.mpf(0), min(self.magnitude(base), 0) * min(exponent, 1 << 20))
        if abs(self.mag(base.value)) * abs(exponent) > MAX_MAGNITUDE:
            raise TooLarge
        if abs(exponent) > _MAX_COMPLEX_POWER and isinstance(base.value, self.ctx.mpc):
            return self.exp(self.product(Ball(self.ctx.mpf(exponent), _NOTHING), self.natural_log(base)))
        return self._relative(base.value**exponent, self._rounded(base.value, base.error), exponent.bit_length() + 1)

    def exp(self, ball: Ball) -> Ball:
        """The error of the exponent is the relative one of the result."""
        if self.mag(ball.value) > 40 or ball.error > -8:
            raise TooLarge
        result = self.ctx.exp(ball.value)
        return self._rounded(result, self.mag(result) + max(ball.error, self.mag(ball.value) - self.ctx.prec) + 2)

    def natural_log(self, ball: Ball) -> Ball:
        """The principal logarithm; undefined where the argument may be zero."""
        if self.may_vanish(ball):
            raise Undefined
        self.branched |= not self._is_real(ball.value) or bool(self.ctx.re(ball.value) < 0)
        return self._rounded(self.ctx.log(ball.value), ball.error - self.mag(ball.value) + 2)

    def log(self, *args: Ball) -> Ball:
        """`log x` or, with the base first, `log_b x`."""
        if len(args) == 2:
            return self.quotient(self.natural_log(args[1]), self.natural_log(args[0]))
        if self.log_base is None:
            return self.natural_log(*args)
        return self.log(Ball(self.ctx.mpf(self.log_base), _NOTHING), *args)

    def trigonometric(self, name: str, ball: Ball) -> Ball:
        """Slopes are below the square of the result, or one."""
        if self.mag(ball.value) > _MAX_ANGLE_BITS or ball.error > -8:
            raise TooLarge
        result = getattr(self.ctx, name)(ball.value)
        slope = 2 * max(0, self.mag(result)) + 1
        return self._rounded(result, max(ball.error, self.mag(ball.value) - self.ctx.prec) + slope)

    def inverse(self, name: str, ball: Ball) -> Ball:
        """Half of the digits: the slope at the ends of arcsine is infinite."""
        if self.mag(ball.value) > _MAX_ANGLE_BITS:
            raise TooLarge
        result = getattr(self.ctx, name)(ball.value)
        self.branched |= not self._is_real(result)
        return self._rounded(result, max(ball.error, -self.ctx.prec) // 2 + 4)

    def factorial(self, ball: Ball) -> Ball:
        """Of natural numbers."""
        value = self._integer(ball)
        if value < 0:
            raise Undefined
        if value > _MAX_FACTORIAL:
            raise TooLarge
        result = self.ctx.factorial(value)
        return self._rounded(result, self.mag(result) - self.ctx.prec + 4)

    def binomial(self, top: Ball, bottom: Ball) -> Ball:
        """Of natural numbers, the lower at most the upper."""
        n, k = self._integer(top), self._integer(bottom)
        if not 0 <= k <= n:
            raise Undefined
        if n > 10**5:
            raise TooLarge
        result = self.ctx.binomial(n, k)
        return self._rounded(result, self.mag(result) - self.ctx.prec + 4)

    def floor(self, ball: Ball) -> Ball:
        """Values that are whole as far as can be told are whole."""
        value = ball.value
        if not self._is_real(value) or self.mag(value) > self.ctx.prec // 2 or ball.error > -16:
            raise TooLarge
        value = self.ctx.re(value)
        nearest = self.ctx.nint(value)
        if self.mag(value - nearest) <= ball.error + 2:
            return Ball(nearest, _NOTHING)
        self.floored = True
        return Ball(self.ctx.floor(value), _NOTHING)

    def ceil(self, ball: Ball) -> Ball:
        """By the floor."""
        return self.negative(self.floor(self.negative(ball)))

    def _is_real(self, value: Value) -> bool:
        return not isinstance(value, self.ctx.mpc) or value.imag == 0

    def _is_whole(self, ball: Ball) -> bool:
        return self._is_real(ball.value) and self.mag(ball.value) < 64 and bool(self.ctx.isint(self.ctx.re(ball.value)))

    def _integer(self, ball: Ball) -> int:
        if not self._is_whole(ball):
            raise NotRational
        return int(self.ctx.re(ball.value))

    def _whole_limit(self, node: Node) -> Fraction:
        """A limit of a sum as a whole number."""
        return Fraction(self._integer(self.ball(node)))

    def _call(self, node: Op) -> Ball:
        """An unknown function: a number made of its name and its arguments' first thirty digits."""
        arguments = ",".join(self.ctx.nstr(self.ball(arg).value, 30) for arg in node.args[1:])
        share = self.ctx.mpf(letter_value(f"{node.args[0]}({arguments})", 0)) / P
        return self._rounded(self.ctx.mpf(1) / 2 + share)


def _trigonometric(name: str) -> Callable[..., Ball]:
    return lambda evaluation, ball: evaluation.trigonometric(name, ball)


def _inverse(name: str) -> Callable[..., Ball]:
    return lambda evaluation, ball: evaluation.inverse(name, ball)


_OPERATIONS: dict[str, Callable[..., Ball]] = {
    "+": Evaluation.sum,
    "*": Evaluation.product,
    "/": Evaluation.quotient,
    "neg": Evaluation.negative,
    "root": Evaluation.root,
    "abs": Evaluation.absolute,
    "!": Evaluation.factorial,
    "binom": Evaluation.binomial,
    "floor": Evaluation.floor,
    "ceil": Evaluation.ceil,
    "log": Evaluation.log,
    "ln": Evaluation.natural_log,
    "lg": lambda self, ball: self.log(Ball(self.ctx.mpf(10), _NOTHING), ball),
    "degree": lambda self, ball: self.product(ball, self.quotient(self.ball(Const("pi")), self.ball(_HALF_TURN))),
    "percent": lambda self, ball: self.quotient(ball, self.ball(_HUNDRED)),
    **{name: _trigonometric(name) for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
    **{name: _trigonometric(name) for name in ("sinh", "cosh", "tanh", "coth", "sech", "csch")},
    **{
        name: _inverse("a" + name.removeprefix("arc"))
        for name in ("arcsin", "arccos", "arctan", "arccot", "arcsec", "arccsc", "arcsinh", "arccosh", "arctanh")
    },
}
