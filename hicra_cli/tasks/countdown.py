"""Countdown: reach a target with three or four given numbers, each used exactly once.

Numbers are 1 to 9; a problem is admitted when some order of operations reaches its target with every intermediate
result an integer from 1 to 99. A problem is a multiset of numbers and a target, nothing else, so the train stream and
the held-out problems are disjoint as soon as their ids are. Grading reads the last complete `\\boxed{expression}` and
computes it exactly in fractions with a parser of its own; nothing a model writes is ever evaluated.

Not covered: how the embedded model reasons about these problems (`hicra_cli.embedded.traces`).
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from itertools import combinations, combinations_with_replacement
from types import TracebackType
from typing import Literal, Self

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import FinishReason, Outcome, Prompt, Rollout, Verdict
from hicra_cli.core.seeds import generator_for
from hicra_cli.grading.boxed import last_box

LARGEST_RESULT = 99
HELD_OUT_FRACTION = 0.25
MAX_EXPRESSION_CHARS = 200
MAX_NESTING = 20

_SYMBOLS = re.compile(r"\s*(\\times|\\div|\\cdot|\\left\(|\\right\)|[0-9]+|[-+*/()×÷·⋅−])")
_OPERATORS = {"×": "*", "·": "*", "⋅": "*", "\\times": "*", "\\cdot": "*", "÷": "/", "\\div": "/", "−": "-"}
_SPELLINGS = _OPERATORS | {"\\left(": "(", "\\right)": ")"}
_GOLD = re.compile(r"([1-9](?: [1-9]){1,3}) -> ([1-9][0-9]?)")


class ExpressionError(ValueError):
    """An expression that is no arithmetic over integers, is too long or divides by zero."""


class CountdownTask:
    """The built-in task (`hicra_cli.tasks.base.Task`): 2,144 problems of three numbers, 22,744 of four."""

    name = "countdown"
    notes: tuple[str, ...] = ()

    def __init__(self, numbers: Literal[3, 4] = 3) -> None:
        self._train, self._held_out = _split(numbers)
        self._numbers = numbers

    def problems(self) -> list[Prompt]:
        return [*self._train, *self._held_out]

    def keep(self, ids: Collection[str]) -> None:
        self._train = tuple(each for each in self._train if each.id in ids)
        self._held_out = tuple(each for each in self._held_out if each.id in ids)
        if not self._train:
            raise DataError("no training problem of countdown is left")

    def stream(self, start: int, count: int, *, seed: int) -> list[Prompt]:
        """Each epoch is a permutation of all training problems that depends on (seed, epoch) only."""
        size = len(self._train)
        prompts = []
        for position in range(start, start + count):
            order = _epoch_order(size, seed, position // size)
            prompts.append(self._train[order[position % size]])
        return prompts

    def held_out(self, count: int) -> list[Prompt]:
        """The first `count` held-out problems, in an order that mixes easy and hard ones."""
        if count > len(self._held_out):
            raise DataError(
                f"countdown with {self._numbers} numbers holds out {len(self._held_out)} problems, {count} were asked "
                "for",
                fix=f"Ask for at most {len(self._held_out)}.",
            )
        return list(self._held_out[:count])

    def verdicts(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        return [
            grade_countdown(rollout.text, rollout.prompt.answer, truncated=rollout.finish_reason is FinishReason.LENGTH)
            for rollout in rollouts
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def countdown_prompt(numbers: Sequence[int], target: int) -> Prompt:
    """The question as the model reads it; `answer` is the gold that `grade_countdown` reads, "3 5 7 -> 22"."""
    ordered = sorted(numbers)
    text = (
        f"Use each of {', '.join(map(str, ordered))} exactly once, with + - * / and parentheses, to make {target}. "
        "Answer in \\boxed{}."
    )
    return Prompt(
        id=f"countdown/{'-'.join(map(str, ordered))}-{target}",
        text=text,
        answer=f"{' '.join(map(str, ordered))} -> {target}",
    )


def grade_countdown(response: str, gold: str, *, truncated: bool = False) -> Verdict:
    """Judge the last complete `\\boxed{…}`: each number exactly once, value exactly the target.

    The box may end in "= target". Whatever a model can write ends in a verdict; a gold that cannot be read is
    `error`, for then nothing about the response is known.
    """
    problem = _GOLD.fullmatch(gold)
    if problem is None:
        return Verdict(0.0, Outcome.ERROR, detail=f"gold {gold[:80]!r} is not of the form '3 5 7 -> 22'")
    box = last_box(response)
    if box is None:
        outcome = Outcome.TRUNCATED if truncated else Outcome.NO_ANSWER
        return Verdict(0.0, outcome, detail="no complete \\boxed{}")
    fault = _fault(box, sorted(map(int, problem[1].split())), int(problem[2]))
    outcome = Outcome.CORRECT if fault is None else Outcome.WRONG
    return Verdict(float(fault is None), outcome, answer=box[:MAX_EXPRESSION_CHARS].strip(), detail=fault or "")


def evaluate(expression: str) -> tuple[Fraction, list[int]]:
    """The exact value of an expression and the integers in it, from left to right. Raises ExpressionError.

    Grammar: + - * / on non-negative integers in ASCII digits, parentheses, × ÷ · and \\times \\div \\cdot \\left(
    \\right). No signs, no powers, no implied multiplication: the question allows none of them.
    """
    if len(expression) > MAX_EXPRESSION_CHARS:
        raise ExpressionError(f"{len(expression)} characters, at most {MAX_EXPRESSION_CHARS} are read")
    parser = _Parser(_symbols(expression))
    value = parser.sum(depth=0)
    if parser.next is not None:
        raise ExpressionError(f"{parser.next!r} stands where an operator or the end should")
    return value, parser.integers


def solvable_targets(numbers: Sequence[int]) -> frozenset[int]:
    """Every target that uses all the numbers with each intermediate result an integer from 1 to 99."""
    return _reachable(tuple(sorted(numbers)))


def _fault(box: str, numbers: list[int], target: int) -> str | None:
    """What is wrong with a boxed answer, or None."""
    expression, equals, tail = box.partition("=")
    try:
        value, used = evaluate(expression)
    except ExpressionError as error:
        return str(error)
    if equals and re.fullmatch(rf"\s*{target}\s*", tail) is None:
        return f"what follows '=' is not {target}"
    if sorted(used) != numbers:
        return "the given numbers are not used exactly once each"
    return None if value == target else "the value is not the target"


def _symbols(expression: str) -> list[str]:
    """Split into integers, operators and parentheses in one spelling. Raises ExpressionError."""
    symbols, position, end = [], 0, len(expression.rstrip())
    while position < end:
        symbol = _SYMBOLS.match(expression, position, end)
        if symbol is None:
            raise ExpressionError(f"{expression[position : position + 10].strip()!r} is no arithmetic")
        symbols.append(_SPELLINGS.get(symbol[1], symbol[1]))
        position = symbol.end()
    return symbols


class _Parser:
    """Recursive descent over symbols; `integers` collects what was read. sum → product → primary."""

    def __init__(self, symbols: list[str]) -> None:
        self._symbols = symbols
        self._position = 0
        self.integers: list[int] = []

    @property
    def next(self) -> str | None:
        return self._symbols[self._position] if self._position < len(self._symbols) else None

    def sum(self, *, depth: int) -> Fraction:
        value = self.product(depth=depth)
        while self.next in ("+", "-"):
            sign = self._take()
            right = self.product(depth=depth)
            value = value + right if sign == "+" else value - right
        return value

    def product(self, *, depth: int) -> Fraction:
        value = self.primary(depth=depth)
        while self.next in ("*", "/"):
            operator = self._take()
            right = self.primary(depth=depth)
            if operator == "/" and right == 0:
                raise ExpressionError("division by zero")
            value = value * right if operator == "*" else value / right
        return value

    def primary(self, *, depth: int) -> Fraction:
        if depth > MAX_NESTING:
            raise ExpressionError(f"more than {MAX_NESTING} parentheses deep")
        symbol = self._take()
        if symbol is not None and symbol[0].isdigit():
            self.integers.append(int(symbol))
            return Fraction(int(symbol))
        if symbol != "(":
            raise ExpressionError("the expression is not complete" if symbol is None else f"{symbol!r} is misplaced")
        value = self.sum(depth=depth + 1)
        if self._take() != ")":
            raise ExpressionError("a parenthesis is not closed")
        return value

    def _take(self) -> str | None:
        symbol = self.next
        self._position += 1
        return symbol


@lru_cache(maxsize=2)
def _split(numbers: int) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """(train, held out): all problems in the order of a hash of their id; the first quarter is held out."""
    prompts = [
        countdown_prompt(chosen, target)
        for chosen in combinations_with_replacement(range(1, 10), numbers)
        for target in solvable_targets(chosen)
    ]
    prompts.sort(key=lambda prompt: hashlib.blake2b(prompt.id.encode(), digest_size=16).digest())
    num_held_out = int(len(prompts) * HELD_OUT_FRACTION)
    return tuple(prompts[num_held_out:]), tuple(prompts[:num_held_out])


@lru_cache(maxsize=8)
def _epoch_order(size: int, seed: int, epoch: int) -> list[int]:
    order: list[int] = generator_for(seed, "countdown-stream", step=epoch).permutation(size).tolist()
    return order


@cache
def _reachable(numbers: tuple[int, ...]) -> frozenset[int]:
    """Targets of a sorted tuple of numbers: join two of them, go on with what is left."""
    if len(numbers) == 1:
        return frozenset(numbers)
    targets: set[int] = set()
    for first, second in combinations(range(len(numbers)), 2):
        rest = [number for index, number in enumerate(numbers) if index not in (first, second)]
        for result in _results(numbers[first], numbers[second]):
            targets |= _reachable(tuple(sorted([*rest, result])))
    return frozenset(targets)


def _results(low: int, high: int) -> set[int]:
    """Results of one operation on low <= high that are integers from 1 to 99."""
    results = {low + high, low * high, high - low}
    if high % low == 0:
        results.add(high // low)
    return {result for result in results if 1 <= result <= LARGEST_RESULT}
