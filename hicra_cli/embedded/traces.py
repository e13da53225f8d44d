"""Worked solutions of countdown problems in short English: what the embedded model is taught, on purpose not well.

A trace is one or more tries. A try may state a plan ("Let's start with a product"), makes two steps ("5 * 3 = 15,
15 + 4 = 19") or deduces ("Since 5 * 3 = 15, we need 7 more, but that is not left"), and always notices whether it
reached the target. After a failure the trace goes on, to another pair of numbers (branching) or back to its own first
step (backtracing), or it settles for a wrong answer. Calculation is always right; strategy is mediocre: it guesses,
repeats itself and mostly settles too early. So most failures of a model taught this way are failures of strategy, which
reinforcement learning can repair. That a failure is noticed before it is decided what to do about it is deliberate:
with one word for both, a policy that learnt to stop when it is right also learnt to stop when it is wrong.

Only problems of three numbers are covered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from numpy.random import Generator

from hicra_cli.core.records import Move
from hicra_cli.tasks.countdown import LARGEST_RESULT

RIGHT_FIRST = 0.4  # share of first steps drawn from those that lead to the target; the others are drawn blindly
RIGHT_SECOND = 0.85  # share of second steps that reach the target where one does; the others are drawn blindly
GO_ON = 0.45  # chance to go on after a failed try; else the model settles for it
MAX_TRIES = 5
STATE_PLAN = 0.3
NAME_FAILURE = 0.35  # share of failures noticed in words; the others just say ", not 22"
GO_BACK = 0.3  # share of continuations that keep the first step
DEDUCE = 0.35  # where at most 9 are missing after the first step

_OPERATION_WEIGHTS = {"+": 0.35, "*": 0.3, "-": 0.25, "/": 0.1}


@dataclass(frozen=True, slots=True)
class Phrase:
    """A strategic phrase of the traces: how it is written, how often within its kind, which move it makes."""

    text: str
    weight: float
    move: Move


PLANS: dict[str, tuple[Phrase, ...]] = {
    "+": (
        Phrase("Let's start with a sum", 0.6, Move.DEDUCTION),
        Phrase("We can begin by adding", 0.25, Move.DEDUCTION),
        Phrase("Let's add two numbers first", 0.15, Move.DEDUCTION),
    ),
    "-": (
        Phrase("Let's start with a difference", 0.6, Move.DEDUCTION),
        Phrase("We can begin by subtracting", 0.25, Move.DEDUCTION),
        Phrase("Let's subtract two numbers first", 0.15, Move.DEDUCTION),
    ),
    "*": (
        Phrase("Let's start with a product", 0.6, Move.DEDUCTION),
        Phrase("We can begin by multiplying", 0.25, Move.DEDUCTION),
        Phrase("Let's multiply two numbers first", 0.15, Move.DEDUCTION),
    ),
    "/": (
        Phrase("Let's start with a quotient", 0.6, Move.DEDUCTION),
        Phrase("We can begin by dividing", 0.25, Move.DEDUCTION),
        Phrase("Let's divide two numbers first", 0.15, Move.DEDUCTION),
    ),
}
DEDUCED = Phrase("and that is what remains", 1.0, Move.DEDUCTION)
NOT_DEDUCED = Phrase("but that is not left", 1.0, Move.BACKTRACING)
FAILURES = (
    Phrase("That is not the target", 0.5, Move.BACKTRACING),
    Phrase("That does not work here", 0.3, Move.BACKTRACING),
    Phrase("This misses the target", 0.2, Move.BACKTRACING),
)
BRANCHES = (
    Phrase("Let's try a different approach", 0.5, Move.BRANCHING),
    Phrase("Let's try another way", 0.2, Move.BRANCHING),
    Phrase("We could try another pair", 0.15, Move.BRANCHING),
    Phrase("Maybe there is another way", 0.1, Move.BRANCHING),
    Phrase("Alternatively we can try this", 0.05, Move.BRANCHING),
)
RETURNS = (
    Phrase("Let's go back to", 0.6, Move.BACKTRACING),
    Phrase("Let's start again from", 0.25, Move.BACKTRACING),
    Phrase("We can still use", 0.15, Move.BACKTRACING),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: `left operation right = result`."""

    left: int
    operation: str
    right: int
    result: int

    @property
    def text(self) -> str:
        return f"{self.left} {self.operation} {self.right} = {self.result}"


@dataclass(frozen=True, slots=True)
class Try:
    """Two steps that use three numbers; `left_over` is the number the first step does not use."""

    first: Step
    second: Step
    left_over: int
    expression: str

    @property
    def value(self) -> int:
        return self.second.result


@cache
def tries(numbers: tuple[int, int, int]) -> tuple[Try, ...]:
    """Every try on three numbers whose results are integers from 1 to 99, each once."""
    found: dict[str, Try] = {}
    for first_index, second_index in combinations(range(3), 2):
        left_over = numbers[3 - first_index - second_index]
        for first in _steps(numbers[first_index], numbers[second_index]):
            inner = f"({first.left} {first.operation} {first.right})"
            for second in _steps(first.result, left_over):
                inner_is_left = second.left == first.result
                sides = (inner, str(left_over)) if inner_is_left else (str(left_over), inner)
                expression = f"{sides[0]} {second.operation} {sides[1]}"
                found.setdefault(expression, Try(first, second, left_over, expression))
    return tuple(found.values())


def trace(numbers: Sequence[int], target: int, generator: Generator) -> str:
    """One solution as the embedded model is taught to write it. Right or wrong, its calculation is right."""
    low, middle, high = sorted(numbers)
    available = tries((low, middle, high))
    attempt = _draw_try(available, target, generator)
    text = _plan(attempt, generator) + _tried(attempt, target, generator)
    for _ in range(MAX_TRIES - 1):
        if attempt.value == target or generator.random() >= GO_ON:
            break
        attempt, opening = _next_try(available, attempt, target, generator)
        text += f" {opening}{_tried(attempt, target, generator)}"
    ending = "So the answer is" if attempt.value == target else "I settle for"
    return f"{text} {ending} \\boxed{{{attempt.expression}}}."


def strategic_phrases() -> tuple[Phrase, ...]:
    """Every phrase above, each once."""
    plans = tuple(phrase for group in PLANS.values() for phrase in group)
    return (*plans, DEDUCED, NOT_DEDUCED, *FAILURES, *BRANCHES, *RETURNS)


def _steps(one: int, other: int) -> list[Step]:
    """Operations on two numbers, the larger one first, whose result is an integer from 1 to 99."""
    low, high = sorted((one, other))
    steps = [Step(high, "+", low, high + low), Step(high, "*", low, high * low), Step(high, "-", low, high - low)]
    if high % low == 0:
        steps.append(Step(high, "/", low, high // low))
    return [step for step in steps if 1 <= step.result <= LARGEST_RESULT]


def _draw_try(available: Sequence[Try], target: int, generator: Generator) -> Try:
    """A first step that may or may not lead to the target, then a second one that mostly takes the chance."""
    right = [attempt for attempt in available if attempt.value == target]
    pool = right if right and generator.random() < RIGHT_FIRST else available
    first = pool[_draw([_OPERATION_WEIGHTS[attempt.first.operation] for attempt in pool], generator)].first
    pool = [attempt for attempt in right if attempt.first == first]
    if not pool or generator.random() >= RIGHT_SECOND:
        pool = [attempt for attempt in available if attempt.first == first]
    return pool[_draw([_OPERATION_WEIGHTS[attempt.second.operation] for attempt in pool], generator)]


def _plan(attempt: Try, generator: Generator) -> str:
    if generator.random() >= STATE_PLAN:
        return ""
    return _phrase(PLANS[attempt.first.operation], generator) + ": "


def _tried(attempt: Try, target: int, generator: Generator) -> str:
    """The two steps of a try, or a deduction instead of the second one; a failure is always noticed."""
    solved = attempt.value == target
    missing = target - attempt.first.result
    if attempt.second.operation == "+" and 1 <= missing <= 9 and generator.random() < DEDUCE:
        ending = DEDUCED if solved else NOT_DEDUCED
        return f"Since {attempt.first.text}, we need {missing} more, {ending.text}."
    calculation = f"{attempt.first.text}, {attempt.second.text}"
    if solved:
        return f"{calculation}."
    if generator.random() < NAME_FAILURE:
        return f"{calculation}. {_phrase(FAILURES, generator)}."
    return f"{calculation}, not {target}."


def _next_try(available: Sequence[Try], failed: Try, target: int, generator: Generator) -> tuple[Try, str]:
    """(the next try, the words that open it): back to the first step of the failed one, or something new."""
    same_start = [attempt for attempt in available if attempt.first == failed.first and attempt != failed]
    if same_start and generator.random() < GO_BACK:
        attempt = _draw_try(same_start, target, generator)
        return attempt, f"{_phrase(RETURNS, generator)} "
    attempt = _draw_try(available, target, generator)
    return attempt, f"{_phrase(BRANCHES, generator)}. {_plan(attempt, generator)}"


def _phrase(phrases: Sequence[Phrase], generator: Generator) -> str:
    return phrases[_draw([phrase.weight for phrase in phrases], generator)].text


def _draw(weights: Sequence[float], generator: Generator) -> int:
    """An index with probability proportional to its weight."""
    point = generator.random() * sum(weights)
    for index, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return index
    return len(weights) - 1
