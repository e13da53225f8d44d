r"""Lenient extraction: its rules, their order, hostile text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.grading.lenient import Found, lenient_answer


@pytest.mark.parametrize(
    ("response", "answer", "rule"),
    [
        (r"The answer is 7, so \boxed{42}", "42", "box"),
        (r"so \boxed 42.", "42", "bare box"),
        (r"so boxed{42}", "42", "bare box"),
        (r"\boxed{1", "1", "number"),
        ("6 * 12 = 72\n#### 72", "72", "####"),
        ("The answer is 5. The final answer is 42.", "42", "phrase"),
        ("The final answer is: 42", "42", "phrase"),
        ("Final Answer: **42**", "42", "phrase"),
        ("**Answer:** 42\nThat is all.", "42", "phrase"),
        ("Answer:\n42", "42", "phrase"),
        (r"The answer is $\frac{1}{2}$ of the cake.", r"\frac{1}{2}", "phrase"),
        (r"The answer is \(x = 2.5\).", "x = 2.5", "phrase"),
        ("The answer is 3.14. Check it.", "3.14", "phrase"),
        ("Answer: There are **6** trees in all.", "6", "phrase"),
        ("The answer is that Tara earned $160 on her bags.", "160", "phrase"),
        ("The answer is 3 hours and 20 minutes.", "3 hours and 20 minutes", "phrase"),
        ("The answer is 84 grapes that were there at the beginning.", "84", "phrase"),
        ("Answer: Jeff gets $80!", "80", "phrase"),
        ("The answer is no solution.", "no solution", "phrase"),
        ("$4 each and 4 of them, $4*4=$16", "16", "number"),
        (r"we get $x = 41$ and then $x = 42$ of them", "42", "maths"),
        (r"hence \[ a = b = 42. \]", "42", "maths"),
        (r"thus $x \ge 3$", r"x \ge 3", "maths"),
        (r"thus $x >= 3$", "x >= 3", "maths"),
        ("at $2 an egg 9 eggs are $18", "18", "number"),
        ("at $2 an egg 9 eggs are $18 and so 9 * $2 = $18 a day", "18", "number"),
        ("it costs $5, so $ x = 3 $ it is", "3", "maths"),
        ("it costs \\$5 and then \\$6", "6", "number"),
        ("That makes 41 or rather 1,042.5 in all", "1,042.5", "number"),
        ("so minus one, that is −1", "-1", "number"),
        ("it is 3/4 then", "3/4", "number"),
        ("it is 50% then", "50%", "number"),
        ("<think>The answer is 7</think> I see 42", "42", "number"),
    ],
)
def test_the_first_rule_that_finds_an_answer_decides(response, answer, rule):
    assert lenient_answer(response) == Found(answer, rule)


@pytest.mark.parametrize("response", ["", "I do not know.", "</think>", "x1 and v2_3"])
def test_where_nothing_looks_like_an_answer_there_is_none(response):
    assert lenient_answer(response) is None


@given(st.text(max_size=80))
def test_no_text_is_too_strange(response):
    found = lenient_answer(response)
    assert found is None or found.answer == found.answer.strip()


PIECES = ["$", "\\(", "answer is ", "boxed{", "\\boxed ", "####", "1,", "1", "-", "\n", "**", "answer:   ", "final "]


@pytest.mark.parametrize("piece", PIECES)
def test_a_million_characters_are_a_few_passes(piece):
    # A quadratic search would need about 1e12 steps and run into the timeout of the suite.
    lenient_answer(piece * (1_000_000 // len(piece)))
