"""Comparing the values of two formulas at one point, with the arithmetic and the work allowed to this thread."""

import threading
from collections.abc import Mapping
from typing import Any

from hicra_cli.grading.balls import Ball, Budget, TooLarge, arithmetic
from hicra_cli.grading.exact import NotRational, Undefined, letter_value
from hicra_cli.grading.nodes import Node
from hicra_cli.grading.numeric import Evaluation

FIRST_BITS = 240
_LOCAL = threading.local()


def new_budget() -> None:
    """Allow this thread the work of one comparison, from here on."""
    _LOCAL.budget = Budget()


def evaluation_at(values: Mapping[str, Any], *, bits: int = FIRST_BITS, log_base: int | None = None) -> Evaluation:
    """An evaluation at a point, at the expense of this thread's work."""
    budget = getattr(_LOCAL, "budget", None)
    if budget is None:
        budget = _LOCAL.budget = Budget()
    return Evaluation(context_of(bits), values, budget=budget, log_base=log_base)


def agree(answer: Node, gold: Node, values: dict[str, Any], log_base: int | None) -> tuple[bool | None, Evaluation]:
    """Whether the values at a point agree; None where there are none."""
    evaluation = evaluation_at(values, log_base=log_base)
    try:
        return touching(evaluation, evaluation.ball(answer), evaluation.ball(gold)), evaluation
    except (NotRational, Undefined, TooLarge):
        return None, evaluation


def touching(evaluation: Evaluation, value: Ball, target: Ball) -> bool | None:
    """False for balls apart; True where both agree to nearly half of their bits; None where they are too wide."""
    error = max(value.error, target.error) + 2
    difference = value.value - target.value
    if difference != 0 and evaluation.mag(difference) > error:
        return False
    vanishing = evaluation.may_vanish(value) and evaluation.may_vanish(target)
    size = 0 if vanishing else max(evaluation.mag(value.value), evaluation.mag(target.value))
    return True if error < size - evaluation.ctx.prec * 2 // 5 else None


def real_point(name: str, place: int, low: float, high: float, *, signed: bool) -> Any:
    """A value between low and high with 64 random bits; with `signed`, half of the letters are negative."""
    share = letter_value(name, place) >> 191
    ctx = context_of(FIRST_BITS)
    value = ctx.mpf(low) + (ctx.mpf(high) - ctx.mpf(low)) * ctx.ldexp(share, -64)
    return -value if signed and letter_value(name, place + 100) % 2 else value


def natural_point(name: str, place: int, index: int, count: int) -> int:
    """The first letters smallest at 12 points, largest at 12 (so that both n - k and k - n occur), any order beyond."""
    if place < 24:
        return 2 + place % 12 + 7 * (index if place < 12 else count - 1 - index)
    return 1 + letter_value(name, place) % 60


def context_of(bits: int) -> Any:
    """One arithmetic per precision and thread."""
    known = getattr(_LOCAL, "contexts", None)
    if known is None:
        known = _LOCAL.contexts = {}
    if bits not in known:
        if len(known) > 16:
            known.clear()
        known[bits] = arithmetic(bits)
    return known[bits]
