"""Questions as words: what may differ between two spellings of one question, and what may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.text.question_words import characters, grams, jaccard, question_words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is $\\dfrac{1}{2}$?", "what is $\\frac 1 2$"),
        ("Let $F(z)=\\left(z+i\\right)$.", "let F(z) = (z + i)"),
        ("$x \\leq 5$ and $y \\neq 3$", "$x \\le 5$ and $y \\not= 3$"),
        ("the $100^{\\mathrm{th}}$ term", "the 100th term"),
        ("$1{,}000$ and $2,500,000$", "1000 and 2500000"),
        ("$a \\times b$, $90^\\circ$", "a × b 90°"),
        ("two-digit numbers \\textbf{only}", "two digit numbers only"),
        ("$1, 2, \\ldots, 9$", "1, 2, …, 9"),
        ("\\begin{align*}x&=1\\\\y&=2\\end{align*}", "x = 1, y = 2"),
        ("Area? [asy] draw((0,0)--(1,1)); [/asy]", "Area?"),
    ],
)
def test_layout_case_and_punctuation_do_not_tell_questions_apart(one, other):
    assert question_words(one).exact == question_words(other).exact != ()


@pytest.mark.parametrize(
    ("one", "other"),
    [("$x > 0$", "$x < 0$"), ("$a - b$", "$a + b$"), ("$3$ cats", "$4$ cats"), ("$\\sin x$", "$\\cos x$")],
)
def test_signs_numbers_and_functions_do(one, other):
    assert question_words(one).exact != question_words(other).exact


def test_other_numbers_and_signs_have_the_same_skeleton():
    # 1 + 2 + 3 is a run of numbers and signs, and so is 7
    words = question_words("What is $1 + 2 + 3$ divided by $9$?")
    assert words.exact == ("what", "is", "1", "+", "2", "+", "3", "divided", "by", "9")
    assert words.plain == ("what", "is", "1", "2", "3", "divided", "by", "9")
    assert words.skeleton == ("what", "is", "#", "divided", "by", "#")
    assert question_words("What is 7 divided by -4/3?").skeleton == words.skeleton
    assert question_words("What is 7 multiplied by 4?").skeleton != words.skeleton


def test_scripts_without_blanks_are_words_of_one_letter():
    assert question_words("求 3个数的和。").exact == ("求", "3", "个", "数", "的", "和")


def test_what_is_not_text_has_no_words():
    for text in ("", " \n", "$$ . , ?", "[asy] draw(A--B); [/asy]"):
        assert question_words(text).exact == question_words(text).skeleton == ()


def test_an_unclosed_figure_is_text():
    assert question_words("Find x. [asy] draw").exact == ("find", "x", "draw")


def test_shared_runs_by_hand():
    # "a b c" and "b c d" have the runs {ab, bc} and {bc, cd}: 1 shared of 3
    one, other = grams(("a", "b", "c"), 2), grams(("b", "c", "d"), 2)
    assert jaccard(one, other) == pytest.approx(1 / 3)
    assert jaccard(one, one) == 1.0
    assert characters(("ab", "c"), 3) == {"ab ", "b c"}
    assert grams(("a",), 2) == {("a",)}


@given(st.text(max_size=200))
def test_words_survive_being_read_again(text):
    plain = question_words(text).plain
    assert question_words(" ".join(plain)).plain == plain


@pytest.mark.parametrize("part", ["[asy]", "\\", "{", "^{", "1{,}", "a-", "\\left", "1 ", "\\not ", "\u0301", "-"])
def test_megabytes_of_anything_are_read(part):
    # a tenth of a second each; a rule whose cost is a square of the length would take hours
    assert question_words(part * (1_000_000 // len(part))).exact is not None
