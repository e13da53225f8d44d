"""The corpus of decisions, one test a kind; see tests/grading/corpus."""

import random
from itertools import permutations

import pytest

from hicra_cli.core.records import Outcome
from hicra_cli.grading import GradingPool
from hicra_cli.grading.equivalence import equal, over_limit
from tests.grading.corpus import KINDS, all_cases, cases_of

MIN_CASES = 600
NUM_CROSSED = 8000
# Golds of different groups that are equal all the same: one value, or one side without its unit or percent sign.
CROSSED = {
    frozenset(pair)
    for pair in [
        ("5", r"5\text{ cm}"), ("5", "x=5"), (r"5\text{ cm}", "x=5"), ("1", r"100\%"), ("100", r"100\%"),
        ("0.5", r"50\%"), ("0.5", r"\sin 30^\circ"), ("0.5", r"\frac12"), (r"50\%", r"\sin 30^\circ"),
        (r"50\%", r"\frac12"), (r"\frac12", r"\sin 30^\circ"), ("0.33333", r"\frac{1}{3}"), ("0.33333", "1/3"),
        (r"\frac{1}{3}", "1/3"), (r"\pi", "3.14159"), ("62.5", r"62.5\%"), (r"3\text{ hours}", "1+2"),
        (r"10\text{ gallons}", r"\binom{5}{2}"), (r"\emptyset", r"\text{no solution}"), ("30", r"30^\circ"),
        (r"(-\infty,\infty)", r"\text{all real numbers}"), ("7", "a=7"), ("2", r"2\text{ m}"), ("12", r"12\%"),
        ("0.75", r"\frac{3}{4}"), ("0.75", "3:4"), ("3:4", r"\frac{3}{4}"), ("5:2", r"\$2.50"),
        ("14", r"14\text{ ft}"),
    ]
}  # fmt: skip


@pytest.fixture(scope="module")
def pool():
    with GradingPool(workers=1, timeout_s=5.0) as pool:
        yield pool


@pytest.mark.parametrize("kind", KINDS)
def test_each_decision_of_the_corpus_is_taken(pool, kind):
    cases = cases_of(kind)
    verdicts = pool.grade_many([(f"so \\boxed{{{case.answer}}}", case.gold, False) for case in cases])
    failed = [
        (case.answer, case.gold, "must be equal" if case.same else "must differ", case.why, str(verdict.outcome))
        for case, verdict in zip(cases, verdicts, strict=True)
        if (verdict.outcome is Outcome.CORRECT) is not case.same
    ]
    assert failed == []


def test_the_corpus_has_both_decisions_a_reason_and_no_pair_twice():
    cases = all_cases()
    assert len(cases) >= MIN_CASES
    assert {case.same for case in cases if case.held_out} == {case.same for case in cases if not case.held_out}
    assert all(case.why and case.source for case in cases)
    pairs = [(case.answer, case.gold) for case in cases]
    assert len(set(pairs)) == len(pairs)


def test_golds_of_different_groups_differ():
    golds = [gold for gold in dict.fromkeys(case.gold for case in all_cases()) if over_limit(gold) is None]
    pairs = random.Random(0).sample(list(permutations(golds, 2)), NUM_CROSSED)
    equal_pairs = {pair for pair in pairs if equal(*pair) is True}
    assert {pair for pair in equal_pairs if frozenset(pair) not in CROSSED} == set()


@pytest.mark.slow
def test_all_golds_of_different_groups_differ():
    golds = [gold for gold in dict.fromkeys(case.gold for case in all_cases()) if over_limit(gold) is None]
    equal_pairs = {pair for pair in permutations(golds, 2) if equal(*pair) is True}
    assert {frozenset(pair) for pair in equal_pairs} <= CROSSED
