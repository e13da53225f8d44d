"""Rational arithmetic, fingerprints, and numbers with their error."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.grading.balls import Ball, Budget, TooCostly, arithmetic
from hicra_cli.grading.exact import NotRational, Undefined, exact, fingerprint
from hicra_cli.grading.expressions import same_value
from hicra_cli.grading.normal import clean
from hicra_cli.grading.numeric import Evaluation
from hicra_cli.grading.reader import read_formula


def read(text):
    return read_formula(clean(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2^{-3}", Fraction(1, 8)),
        (r"\sqrt{\frac{9}{4}}", Fraction(3, 2)),
        ("(-8)^{1/3}", Fraction(-2)),
        (r"\binom{10}{3}", Fraction(120)),
        (r"\sum_{k=1}^{10} k^2", Fraction(385)),  # 10 * 11 * 21 / 6
        (r"\lfloor -\frac{7}{2}\rfloor", Fraction(-4)),
        (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", Fraction(-2)),
        (r"\sqrt{2}", None),
        ("1/0", None),
        ("10^{10000}", None),
        ("x", None),
    ],
)
def test_rational_constants_have_an_exact_value(text, value):
    assert exact(read(text)) == value


def test_fingerprints_tell_numbers_of_a_thousand_digits_apart():
    assert fingerprint(read("2004!"), 1) != fingerprint(read("2004!+1"), 1)
    assert fingerprint(read("2^{9999}"), 1) == fingerprint(read(r"2\cdot 2^{9998}"), 1)


def test_fingerprints_know_that_the_square_of_i_is_minus_one():
    assert fingerprint(read("(1+i)^2"), 1) == fingerprint(read("2i"), 1)


def test_fingerprints_refuse_what_is_not_rational_and_zero_denominators():
    with pytest.raises(NotRational):
        fingerprint(read(r"\sqrt{x}"), 1)
    with pytest.raises(Undefined):
        fingerprint(read(r"\frac{1}{x-x}"), 1)


coefficients = st.lists(st.integers(-9, 9), min_size=1, max_size=5)


def polynomial(values):
    return "+".join(f"({value})x^{{{power}}}" for power, value in enumerate(values))


@settings(deadline=None)
@given(coefficients, coefficients)
def test_a_product_of_polynomials_equals_its_expansion_and_nothing_else(left, right):
    expanded = [0] * (len(left) + len(right) - 1)
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            expanded[i + j] += one * other
    product = read(f"({polynomial(left)})({polynomial(right)})")
    assert same_value(product, read(polynomial(expanded))) is True
    expanded[0] += 1
    assert same_value(product, read(polynomial(expanded))) is False


@settings(deadline=None)
@given(st.integers(2, 10**6), st.integers(2, 10**6))
def test_roots_are_told_apart_to_the_last_digit(one, other):
    # sqrt(a) sqrt(b) is sqrt(ab), and no sum of two roots is that of the neighbours but by accident of size
    product = read(rf"\sqrt{{{one}}}\sqrt{{{other}}}")
    assert same_value(product, read(rf"\sqrt{{{one * other}}}")) is True
    assert same_value(product, read(rf"\sqrt{{{one * other + 1}}}")) is False


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        # what cancels: sqrt(10^40 + 1) - 10^20 is about 5 * 10^-21, not 0
        (r"\sqrt{10^{40}+1}-10^{20}", "0", False),
        (r"\sqrt{10^{40}+1}-10^{20}", r"\frac{1}{\sqrt{10^{40}+1}+10^{20}}", True),
        (r"11\sqrt2", r"\frac{1}{2004!}", False),
        (r"\sqrt{2}+10^{-300}", r"\sqrt{2}", False),
        (r"\cos^2 1+\sin^2 1", "1", True),
        (r"\sqrt{2}\cdot e^{0}", r"\sqrt 2", True),
        (r"\lfloor x\rfloor", "x", False),
        (r"y\lfloor x\rfloor", r"\lfloor x\rfloor y", True),
        (r"\lfloor \frac{n}{2}\rfloor+\lceil \frac{n}{2}\rceil", "n", True),
        (r"\frac{d !}{2 k(d-k) !}", r"\frac{d!}{(d-k)!\,2k}", True),
        ("|x|", r"\sqrt{x^2}", True),
        ("|x|", "x", False),
    ],
)
def test_values_are_compared_beyond_every_rounding_error(answer, gold, same):
    assert same_value(read(answer), read(gold)) is same


@settings(deadline=None)
@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.integers(2, 60))
def test_a_ball_holds_the_true_value(top, bottom, power):
    # the exact value of (a/b)^n - 1 against 60 bits of arithmetic
    evaluation = Evaluation(arithmetic(60), {}, budget=Budget())
    ball = evaluation.ball(read(rf"(\frac{{{top}}}{{{bottom}}})^{{{power}}}-1"))
    assert isinstance(ball, Ball)
    true = Fraction(top, bottom) ** power - 1
    wide = arithmetic(4000)
    distance = abs(wide.mpf(ball.value) - wide.mpf(true.numerator) / true.denominator)
    assert distance <= wide.ldexp(1, ball.error)


def test_work_is_limited():
    evaluation = Evaluation(arithmetic(60), {}, budget=Budget(10))
    with pytest.raises(TooCostly):
        evaluation.ball(read(r"\sqrt{1}+\sqrt{2}+\sqrt{3}+\sqrt{4}+\sqrt{5}"))
