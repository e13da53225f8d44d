"""The countdown task: exact grading, hostile answers, a position-addressable stream apart from the held-out set."""

from fractions import Fraction
from itertools import permutations
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import FinishReason, Outcome, Rollout
from hicra_cli.tasks.base import Task
from hicra_cli.tasks.countdown import (
    CountdownTask,
    ExpressionError,
    countdown_prompt,
    evaluate,
    grade_countdown,
    solvable_targets,
)

GOLD = "3 5 7 -> 22"


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        # 5 * 3 = 15, 15 + 7 = 22
        (r"So the answer is \boxed{(5 * 3) + 7}.", Outcome.CORRECT),
        (r"\boxed{5*3+7}", Outcome.CORRECT),
        (r"\boxed{7 + 3 \times 5}", Outcome.CORRECT),
        (r"\boxed{7+3\cdot 5 = 22}", Outcome.CORRECT),
        (r"\boxed{\left(5 × 3\right) + 7}", Outcome.CORRECT),
        (r"\boxed {((5) · (3)) + 7}", Outcome.CORRECT),
        # the last box counts: 7 * 5 = 35, 35 - 3 = 32 is not 22
        (r"\boxed{5*3+7} or \boxed{7*5-3}", Outcome.WRONG),
        (r"\boxed{7*5-3}, no: \boxed{5*3+7}", Outcome.CORRECT),
        (r"\boxed{22}", Outcome.WRONG),
        (r"\boxed{5 + 5 + 5 + 7}", Outcome.WRONG),
        (r"\boxed{5*3+7+0}", Outcome.WRONG),
        (r"\boxed{5*3+7 = 23}", Outcome.WRONG),
        (r"\boxed{5*3+7 = 22 = 22}", Outcome.WRONG),
        (r"\boxed{5*3+7 =}", Outcome.WRONG),
        (r"\boxed{}", Outcome.WRONG),
        (r"\boxed{x}", Outcome.WRONG),
        ("5 * 3 + 7 = 22", Outcome.NO_ANSWER),
        (r"\boxed{5*3+7", Outcome.NO_ANSWER),
        ("", Outcome.NO_ANSWER),
    ],
)
def test_the_last_box_decides(response: str, outcome: Outcome):
    verdict = grade_countdown(response, GOLD)
    assert verdict.outcome is outcome
    assert verdict.reward == (1.0 if outcome is Outcome.CORRECT else 0.0)
    assert (verdict.detail == "") == (outcome is Outcome.CORRECT)


def test_fractions_on_the_way_are_exact():
    # 8 / (3 - 8/3) = 8 / (1/3) = 24: floating point gives 23.999999999999989
    assert grade_countdown(r"\boxed{8 / (3 - 8 / 3)}", "3 3 8 8 -> 24").outcome is Outcome.CORRECT


def test_a_cut_response_is_truncated_unless_its_box_is_complete():
    assert grade_countdown(r"so \boxed{5 * 3 +", GOLD, truncated=True).outcome is Outcome.TRUNCATED
    assert grade_countdown(r"so \boxed{5 * 3 + 7}. Let's", GOLD, truncated=True).outcome is Outcome.CORRECT
    assert grade_countdown(r"\boxed{7*5-3} but \boxed{5*", GOLD, truncated=True).outcome is Outcome.WRONG


@pytest.mark.parametrize("gold", ["", "22", "3 5 7 -> ", "3 5 7 -> 100", "３ 5 7 -> 22", "3 5 7 -> 22 "])
def test_an_unreadable_gold_is_an_error_and_not_a_wrong_answer(gold: str):
    assert grade_countdown(r"\boxed{5*3+7}", gold).outcome is Outcome.ERROR


MILLION = 10**6


@pytest.mark.parametrize(
    "response",
    [
        "\\boxed{" * (MILLION // 7),
        "\\boxed{" + "(" * MILLION + "}",
        "\\boxed{" * 100_000 + "}" * 100_000,
        "\\boxed{" + "9" * MILLION + "}",
        "\\boxed{" + "9" * 180 + "}",
        "\\boxed{" + "(" * 90 + "7" + ")" * 90 + "}",
        "\\boxed{" + " " * MILLION + "}",
        "}" * MILLION,
        "\\boxed{9**9**9**9}",
        "\\boxed{9^{9^{9^{9}}}}",
        "\\boxed{7 / (5 - 5) + 3}",
        "\\boxed{٣ + ５ * ⑦}",
        "\\boxed{__import__('os').system('true')}",
        "\\boxed{-7}",
        "\\boxed{5 * -3}",
        "\\boxed{(5 * 3 + 7}",
        "\\boxed{5 * 3) + 7}",
        "\\boxed{5 3 + 7}",
        "\\boxed{(5)(3) + 7}",
        "\\boxed{\x00\ud800}",
    ],
)
def test_hostile_answers_end_in_a_verdict(response: str):
    verdict = grade_countdown(response, GOLD)
    assert verdict.reward == 0.0
    assert verdict.outcome in (Outcome.WRONG, Outcome.NO_ANSWER)
    assert len(verdict.answer or "") <= 200
    assert len(verdict.detail) <= 200


@given(st.text(alphabet="0123456789+-*/()×÷ =\\{}boxedtimsv\n٣", max_size=60))
def test_any_answer_gets_a_verdict(answer: str):
    assert grade_countdown(f"\\boxed{{{answer}}}", GOLD).outcome in (Outcome.CORRECT, Outcome.WRONG, Outcome.NO_ANSWER)


Tree = int | tuple["Tree", str, "Tree"]
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.integers(0, 99), lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner), max_leaves=8
)


@given(TREES)
def test_the_parser_agrees_with_fractions(tree: Tree):
    try:
        expected = value_of(tree)
    except ZeroDivisionError:
        with pytest.raises(ExpressionError, match="division by zero"):
            evaluate(written(tree))
        return
    assert evaluate(written(tree)) == (expected, leaves(tree))


@given(st.lists(st.integers(1, 99), min_size=1, max_size=8), st.data())
def test_the_parser_knows_precedence_and_goes_from_left_to_right(numbers: list[int], data: st.DataObject):
    operators = data.draw(st.lists(st.sampled_from("+-*/"), min_size=len(numbers) - 1, max_size=len(numbers) - 1))
    # reference: fold * and / inside each term from the left, then add the signed terms
    terms, sign, term = [], 1, Fraction(numbers[0])
    for operator, number in zip(operators, numbers[1:], strict=True):
        if operator in "*/":
            term = term * number if operator == "*" else term / number
        else:
            terms.append(sign * term)
            sign, term = (1 if operator == "+" else -1), Fraction(number)
    flat = str(numbers[0]) + "".join(f"{o}{n}" for o, n in zip(operators, numbers[1:], strict=True))
    assert evaluate(flat)[0] == sum(terms, start=sign * term)


def test_solvable_targets_match_an_exhaustive_search():
    for numbers in [(1, 1, 1), (2, 7, 9), (3, 5, 7), (4, 4, 8)]:
        expected: set[Fraction] = set()
        for a, b, c in permutations(map(Fraction, numbers)):
            for inner in allowed(a, b):
                expected |= allowed(inner, c) | allowed(c, inner)
        assert solvable_targets(numbers) == expected


@pytest.mark.parametrize(("numbers", "num_problems"), [(3, 2144), (4, 22744)])
def test_the_held_out_problems_never_occur_in_the_stream(numbers: Literal[3, 4], num_problems: int):
    task = CountdownTask(numbers)
    held_out = {prompt.id for prompt in task.held_out(num_problems // 4)}
    epoch = {prompt.id for prompt in task.stream(0, num_problems - num_problems // 4, seed=0)}
    assert len(held_out) == num_problems // 4 >= 512
    assert len(epoch) == num_problems - num_problems // 4  # one epoch shows every training problem once
    assert not held_out & epoch


def test_every_problem_can_be_read_back_from_its_answer():
    for prompt in CountdownTask().held_out(536):
        numbers, _, target = prompt.answer.partition(" -> ")
        chosen = [int(number) for number in numbers.split()]
        assert countdown_prompt(chosen[::-1], int(target)) == prompt
        assert int(target) in solvable_targets(chosen)


def test_the_prompt_states_the_rule_and_has_a_stable_id():
    prompt = countdown_prompt([7, 3, 5], 22)
    assert (prompt.id, prompt.answer) == ("countdown/3-5-7-22", GOLD)
    assert prompt.text == (
        "Use each of 3, 5, 7 exactly once, with + - * / and parentheses, to make 22. Answer in \\boxed{}."
    )


@settings(max_examples=30)
@given(st.integers(0, 4000), st.integers(0, 40), st.integers(0, 3))
def test_the_stream_is_a_function_of_position_and_seed(start: int, count: int, seed: int):
    task = CountdownTask()
    whole = task.stream(start, count, seed=seed)
    assert whole == [task.stream(start + offset, 1, seed=seed)[0] for offset in range(count)]


def test_seeds_and_epochs_order_the_stream_differently():
    task = CountdownTask()
    first = [prompt.id for prompt in task.stream(0, 1608, seed=0)]
    assert first[:3] == ["countdown/3-3-6-27", "countdown/2-6-7-19", "countdown/4-7-7-35"]  # stable across versions
    assert first != [prompt.id for prompt in task.stream(0, 1608, seed=1)]
    assert first != [prompt.id for prompt in task.stream(1608, 1608, seed=0)]


def test_more_held_out_problems_than_there_are_is_refused():
    with pytest.raises(DataError, match="holds out 536 problems, 537 were asked for"):
        CountdownTask().held_out(537)


def test_one_verdict_per_rollout_in_order():
    task: Task = CountdownTask()
    with task:
        outcomes = [
            verdict.outcome
            for verdict in task.verdicts(
                [
                    rollout(r"\boxed{(5 * 3) + 7}", FinishReason.STOP),
                    rollout("Let's go back to", FinishReason.LENGTH),
                    rollout("I give up.", FinishReason.STOP),
                ]
            )
        ]
    assert outcomes == [Outcome.CORRECT, Outcome.TRUNCATED, Outcome.NO_ANSWER]


def rollout(text: str, finish_reason: FinishReason) -> Rollout:
    nothing = np.zeros(0, np.int32)
    return Rollout(
        prompt=countdown_prompt([3, 5, 7], 22),
        sample=0,
        prompt_token_ids=nothing,
        token_ids=nothing,
        text=text,
        finish_reason=finish_reason,
        sampler_logprobs=np.zeros(0, np.float32),
    )


def value_of(tree: Tree) -> Fraction:
    if isinstance(tree, int):
        return Fraction(tree)
    left, operator, right = value_of(tree[0]), tree[1], value_of(tree[2])
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            return left / right


def written(tree: Tree) -> str:
    return str(tree) if isinstance(tree, int) else f"({written(tree[0])} {tree[1]} {written(tree[2])})"


def leaves(tree: Tree) -> list[int]:
    return [tree] if isinstance(tree, int) else leaves(tree[0]) + leaves(tree[2])


def allowed(left: Fraction, right: Fraction) -> set[Fraction]:
    """Results of one operation on left and right, in this order, that are integers from 1 to 99."""
    results = {left + right, left - right, left * right, left / right}
    return {result for result in results if result.denominator == 1 and 1 <= result <= 99}
