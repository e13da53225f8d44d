r"""Finding the last complete `\boxed{...}`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.grading.boxed import Boxed, _last_closed_box, final_answer, find_boxed, last_box


@pytest.mark.parametrize(
    ("text", "box"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} and then \boxed{2}", "2"),
        (r"\boxed {42}", "42"),
        ("\\boxed\n{ 42 }", "42"),
        (r"\fbox{42}", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\\boxed{42}", "42"),
        (r"x \\\boxed{42}", "42"),
        (r"}} { \boxed{42}", "42"),
        (r"\boxed{7} and \boxed{12", "7"),
        (r"\boxed{7 and \boxed{12}", "12"),
        (r"\boxed{12", None),
        (r"\boxed 5", None),
        (r"\unboxed{5}", None),
        ("boxed{5}", None),
        ("the answer is 42", None),
        ("", None),
    ],
)
def test_the_last_complete_box_is_the_answer(text, box):
    assert last_box(text) == box


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ("no box", Boxed(None, opened=False, closed=False)),
        (r"\boxed{1", Boxed(None, opened=True, closed=False)),
        (r"\boxed{\frac{1}{2}", Boxed(None, opened=True, closed=False)),
        (r"\boxed{ }", Boxed(None, opened=True, closed=True)),
        (r"\boxed{7} \boxed{1", Boxed("7", opened=True, closed=True)),
        (r"\boxed{7}</think> then", Boxed(None, opened=False, closed=False)),
    ],
)
def test_why_there_is_no_answer_is_told(response, found):
    assert find_boxed(response) == found


# Pieces that meet in every order: boxes, escapes, lone braces and backslashes.
PIECES = st.lists(
    st.sampled_from(["\\boxed{", "\\fbox {", "\\", "{", "}", "\\{", "\\}", "1", "boxed{", " "]), max_size=14
)


@given(PIECES.map("".join))
def test_looking_from_the_last_box_finds_what_one_pass_over_all_boxes_finds(text):
    assert last_box(text) == _last_closed_box(text)


def test_only_what_follows_closed_thinking_counts():
    assert final_answer(r"<think>\boxed{1}</think> it is \boxed{2}") == "2"
    assert final_answer(r"<think>\boxed{1}</think> I am not sure") is None
    assert final_answer(r"<think>a</think>\boxed{1}<think>b</think>\boxed{3}") == "3"


def test_unclosed_thinking_is_searched_as_a_whole():
    assert final_answer(r"<think> so far \boxed{1}") == "1"


def test_an_empty_box_is_no_answer():
    assert final_answer(r"\boxed{ }") is None


@given(st.text(alphabet="ab\\{} \n1", max_size=60), st.text(alphabet="ab{}\\ 1", max_size=20))
def test_a_box_put_at_the_end_is_found_whatever_stands_before(before, inside):
    content = inside.replace("\\", "").replace("{", "").replace("}", "")
    # A backslash right before would escape the box's own; two blanks keep them apart.
    assert last_box(f"{before}  \\boxed{{{content}}}") == content.strip()


@pytest.mark.parametrize("piece", ["\\boxed{", "\\boxed ", "}", "{", "\\", "\\\\boxed", "\\fbox{}{"])
def test_a_million_characters_are_one_pass(piece):
    # A quadratic search would need about 1e12 steps and run into the timeout of the suite.
    assert last_box(piece * (1_000_000 // len(piece))) in (None, "")
