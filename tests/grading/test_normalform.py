"""One spelling for equal answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.grading import normal_form
from hicra_cli.grading.equivalence import equal


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("0.5", r"\frac{1}{2}"),
        (r"\dfrac{-2}{4}", r"-\frac{1}{2}"),
        (r"\$32,\!348", "32348"),
        (r"3.83\times10^{35}", r"383 \cdot 10^{33}"),
        (r"\sqrt{12}", r"2 \sqrt{3}"),
        (r"\frac{1}{\sqrt 2}", r"\frac{1}{2} \sqrt{2}"),
        (r"\sqrt{-4}", "2 i"),
        ("(a+5)(b+2)", "a b + 2 a + 5 b + 10"),
        ("x=5", "5"),
        (r"15\mbox{ cm}^2", "15"),
        ("4, 10, 1", "1, 4, 10"),
        (r"\{2,1,2\}", "1, 2"),
        (r"1\pm\sqrt{19}", r"\sqrt{19} + 1, -\sqrt{19} + 1"),
        ("x>3", r"(3, \infty)"),
        (r"(3,\infty)\cup(-\infty,2)", r"(-\infty, 2) \cup (3, \infty)"),
        (r"\text{(B)}", "B"),
        ("Evelyn", "evelyn"),
        ("no solution", r"\emptyset"),
        ("2516_{8}", "2516_8"),
        ("x equals the thing", "x equals the thing"),
    ],
)
def test_forms_are_readable(text, form):
    assert normal_form(text) == form


@settings(deadline=None)
@given(st.fractions(max_denominator=10**4))
def test_spellings_of_a_number_share_their_form(value):
    top, bottom = value.numerator, value.denominator
    assert (
        normal_form(f"{top}/{bottom}")
        == normal_form(rf"\frac{{{3 * top}}}{{{3 * bottom}}}")
        == normal_form(f"{top}/{bottom}.")
    )


words = st.sampled_from(["2", "x", "y", r"\sqrt{8}", r"\frac{1}{3}", r"\pi", "(x+1)", "i"])
formulas = st.recursive(
    words,
    lambda parts: st.tuples(parts, st.sampled_from(["+", "-", r"\cdot "]), parts).map(
        lambda three: f"({three[0]}{three[1]}{three[2]})"
    ),
)


@settings(deadline=None)
@given(formulas, formulas)
def test_one_form_means_equal_answers(one, other):
    if normal_form(one) == normal_form(other):
        assert equal(one, other) is True
    assert equal(normal_form(one), one) is True


@settings(deadline=None)
@given(st.text(max_size=200))
def test_every_text_has_a_form(text):
    assert isinstance(normal_form(text), str)
