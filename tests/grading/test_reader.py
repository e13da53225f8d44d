"""The reader of formulas: precedence, spellings, limits."""

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.grading.nodes import Const, Num, Op, Sym, Text, Unreadable, number
from hicra_cli.grading.normal import clean
from hicra_cli.grading.reader import read_formula

X, Y = Sym("x"), Sym("y")


def read(text):
    return read_formula(clean(text))


def test_a_power_binds_before_the_sign_and_the_sign_before_the_product():
    assert read("-2^2") == Op("neg", (Op("^", (number(2), number(2))),))
    assert read("x\\cdot -y") == Op("*", (X, Op("neg", (Y,))))


def test_division_goes_from_left_to_right():
    # a/bc is (a/b)c
    assert read("x/2y") == Op("*", (Op("/", (X, number(2))), Y))


def test_a_function_takes_the_product_that_follows_but_not_the_next_function():
    assert read(r"\sin 2x") == Op("sin", (Op("*", (number(2), X)),))
    assert read(r"\sin x\cos y") == Op("*", (Op("sin", (X,)), Op("cos", (Y,))))
    assert read(r"\sin(x)y") == Op("*", (Op("sin", (X,)), Y))
    assert read(r"\sin^2 x") == Op("^", (Op("sin", (X,)), number(2)))
    assert read(r"\sin^{-1} x") == Op("arcsin", (X,))


def test_a_proper_fraction_behind_a_whole_number_makes_a_mixed_number():
    assert read(r"3\frac{1}{2}") == Num(Fraction(7, 2))
    assert read("3 1/2") == Num(Fraction(7, 2))
    assert read(r"3\frac{x}{2}") == Op("*", (number(3), Op("/", (X, number(2)))))


def test_a_repeating_decimal_is_exact():
    # 0.1666... is 1/10 + 6/90 = 15/90 = 1/6
    assert read(r"0.1\overline{6}") == Num(Fraction(1, 6))


def test_decimals_are_marked_as_such():
    assert read("1.50") == Num(Fraction(3, 2), decimal=True)
    assert read("2e3") == Num(Fraction(2000), decimal=True)


def test_letters_keep_their_subscripts_and_primes_in_one_order():
    assert read(r"\dot{x}_{0}") == read(r"\dot x_0") == Sym("x_0'")
    assert read(r"\lambda_{\text {red}}") == Sym("lambda_red")
    assert read(r"x^{\prime}") == Sym("x'")


def test_a_derivative_is_a_letter_with_primes():
    assert read(r"\frac{d^{2} v}{d t^{2}}") == Sym("v''")


def test_brackets_around_several_elements_are_kept():
    assert read("(1,2]") == Op("tuple(]", (number(1), number(2)))
    assert read(r"\{x\}") == Op("set", (X,))
    assert read("(x)") == X


def test_words_behind_a_value_are_its_unit():
    assert read(r"5\text{ cm}^2") == Op("unit", (number(5), Text("cm^2")))
    assert read("5 cm") == Op("unit", (number(5), Text("cm")))
    assert read(r"90^{\circ}") == Op("degree", (number(90),))


def test_a_letter_before_brackets_multiplies_unless_it_is_a_function():
    assert read("x(y+1)") == Op("*", (X, Op("+", (Y, number(1)))))
    assert read("f(x)") == Op("call", (Sym("f"), X))
    assert read("I(0)") == Op("call", (Sym("I"), number(0)))


def test_a_choice_of_numbers_needs_no_braces():
    assert read(r"\binom53") == read(r"{5 \choose 3}") == Op("binom", (number(5), number(3)))


def test_plain_spellings_are_read_as_latex():
    assert read("sqrt(2)*pi") == Op("*", (Op("root", (number(2), number(2))), Const("pi")))
    assert read("np.arcsin(10/13)") == Op("arcsin", (Op("/", (number(10), number(13))),))


@pytest.mark.parametrize(
    "text",
    ["", "(", ")", "1 2", r"\frac{1}", "x^", "__import__('os')", r"\input{x}", "[1,2", r"\{1", "1e99999", "x_{"],
)
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(Unreadable):
        read(text)


@pytest.mark.parametrize(
    "text", ["(" * 900 + "1" + ")" * 900, "-" * 1400 + "1", r"\sqrt" * 900 + "2", "2^" * 900 + "2"]
)
def test_depth_is_limited_before_the_interpreter_is(text):
    with contextlib.suppress(Unreadable):
        read_formula(text)


@settings(deadline=None)
@given(st.text(alphabet="0123456789xyie+-*/^_(){}[]|!,.:%'$\\ fracsqrtnlogpm=<>", max_size=60))
def test_every_text_is_read_or_refused(text):
    with contextlib.suppress(Unreadable):
        read(text)
