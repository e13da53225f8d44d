"""Random exact expressions: their value is known from rational arithmetic, so is whether two of them are equal."""

import random
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hicra_cli.grading.equivalence import equal

MAX_VALUE = 10**12
NAMES = ("x", "y", "n")


def spelled(value: Fraction, dice: random.Random) -> str:
    """A rational number in one of its exact spellings; none with a decimal point, which would bring a tolerance."""
    top, bottom = value.numerator, value.denominator
    if bottom == 1:
        return dice.choice([str(top), rf"\frac{{{3 * top}}}{{3}}", f"{{{top}}}", rf"{top}\text{{ units}}"])
    sign, top = ("-", -top) if top < 0 else ("", top)
    forms = [
        rf"{sign}\frac{{{top}}}{{{bottom}}}",
        rf"{sign}\dfrac{{{2 * top}}}{{{2 * bottom}}}",
        f"{sign}{top}/{bottom}",
    ]
    if top > bottom:
        forms.append(rf"{sign}{top // bottom}\frac{{{top % bottom}}}{{{bottom}}}")
    return dice.choice(forms)


def expression(dice: random.Random, depth: int) -> tuple[str, Fraction]:
    """A LaTeX expression and its exact value."""
    if depth == 0:
        number = dice.randint(1, 12)
        return str(number), Fraction(number)
    left, one = expression(dice, depth - 1)
    right, other = expression(dice, dice.randint(0, depth - 1))
    kind = dice.choice(["+", "-", "times", "frac", "power", "root", "abs", "factorial"])
    if kind == "+":
        return f"{left}+{right}", one + other
    if kind == "-":
        return rf"{left}-\left({right}\right)", one - other
    if kind == "times":
        sign = dice.choice([r"\cdot ", r"\times ", "", "*"])
        return rf"\left({left}\right){sign}\left({right}\right)", one * other
    if kind == "frac" and other != 0:
        return rf"\frac{{{left}}}{{{right}}}", one / other
    if kind == "power":
        exponent = dice.randint(-2, 3) if one != 0 else dice.randint(1, 3)
        return rf"\left({left}\right)^{{{exponent}}}", one**exponent
    if kind == "root":
        return rf"\sqrt{{\left({left}\right)^2}}", abs(one)
    if kind == "abs":
        return rf"\left|{left}\right|", abs(one)
    number = dice.randint(0, 6)
    factorials = (1, 1, 2, 6, 24, 120, 720)
    return rf"{number}!+\left({left}\right)", one + factorials[number]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_an_expression_equals_its_value_and_no_other(seed, depth):
    dice = random.Random(seed)
    text, value = expression(dice, depth)
    assume(abs(value) < MAX_VALUE and value.denominator < MAX_VALUE)
    assert equal(text, spelled(value, dice)) is True
    assert equal(spelled(value, dice), text) is True
    other = value + Fraction(dice.choice([-1, 1]), dice.choice([1, 7, 10**6]))
    assert equal(text, spelled(other, dice)) is False
    assert equal(spelled(-value, dice), text) is (value == 0)


def polynomial(dice: random.Random, terms: dict[tuple[int, ...], int]) -> str:
    """A polynomial's text, its terms and factors in any order."""
    texts = []
    for powers, coefficient in dice.sample(sorted(terms.items()), len(terms)):
        factors = [dice.choice([name, f"{name}^1"]) if power == 1 else f"{name}^{{{power}}}" for name, power in
                   zip(NAMES, powers, strict=True) if power]  # fmt: skip
        dice.shuffle(factors)
        size = "" if abs(coefficient) == 1 and factors else str(abs(coefficient))
        texts.append(
            ("-" if coefficient < 0 else "+")
            + dice.choice([" ", r"\cdot "]).join([size, *factors] if size else factors)
        )
    return "".join(texts).removeprefix("+")


def product(one: dict[tuple[int, ...], int], other: dict[tuple[int, ...], int]) -> dict[tuple[int, ...], int]:
    """The product of two polynomials, term by term."""
    terms: dict[tuple[int, ...], int] = {}
    for left, a in one.items():
        for right, b in other.items():
            powers = tuple(map(sum, zip(left, right, strict=True)))
            terms[powers] = terms.get(powers, 0) + a * b
    return {powers: coefficient for powers, coefficient in terms.items() if coefficient}


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_a_product_equals_its_expansion_and_no_other(seed):
    dice = random.Random(seed)
    factors = [
        {
            tuple(dice.randint(0, 2) for _ in NAMES): dice.choice([-3, -2, -1, 1, 2, 5])
            for _ in range(dice.randint(1, 3))
        }
        for _ in range(dice.randint(2, 3))
    ]
    expanded = factors[0]
    for factor in factors[1:]:
        expanded = product(expanded, factor)
    assume(expanded)
    factored = dice.choice(["", r"\cdot ", " "]).join(f"({polynomial(dice, factor)})" for factor in factors)
    assert equal(factored, polynomial(dice, expanded)) is True
    powers = dice.choice(sorted(expanded))
    changed = {**expanded, powers: expanded[powers] + dice.choice([-1, 1])}
    assume(any(changed.values()))
    assert equal(factored, polynomial(dice, {key: value for key, value in changed.items() if value})) is False


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 12), st.integers(0, 2**32))
def test_roots_are_compared_exactly(square, rest, factor, seed):
    # sqrt(factor^2 rest) = factor sqrt(rest), and no neighbour of the radicand has that root
    spellings = [
        rf"{factor}\sqrt{{{rest}}}",
        rf"\sqrt{{{factor * factor * rest}}}",
        rf"\frac{{{factor * rest}}}{{\sqrt{{{rest}}}}}",
    ]
    one, other = random.Random(seed).choices(spellings, k=2)
    assert equal(one, other) is True
    assert equal(one, rf"\sqrt{{{factor * factor * rest + 1}}}") is False
    assert equal(rf"{square}+{one}", rf"{square}-{other}") is False


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(st.integers(0, 2**63), st.integers(1, 5))
def test_many_expressions_equal_their_values(seed, depth):
    dice = random.Random(seed)
    text, value = expression(dice, depth)
    assume(abs(value) < MAX_VALUE and value.denominator < MAX_VALUE)
    assert equal(text, spelled(value, dice)) is True
    assert equal(text, spelled(value + 1, dice)) is False
