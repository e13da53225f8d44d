"""What counts as a name from the problem text."""

import random

import pytest

from hicra_cli.grams.names import names_in

PROBLEM = "A baker named Natalia sold some clips to James. Then Natalia sold half as many. How much did James pay her?"


def names(*problems: str, solutions: tuple[str, ...] = ("",)) -> set[str]:
    rows = [(problem, solution) for problem in problems for solution in solutions]
    return set(names_in(rows))


def test_words_with_a_capital_inside_a_sentence_are_names_with_their_possessive():
    assert names(PROBLEM) == {"natalia", "natalia's", "james", "james's"}


def test_a_possessive_in_the_problem_names_its_owner():
    assert names("Eliza's dog is old. If Eliza sold it, what then?") == {"eliza", "eliza's"}


def test_a_capital_at_the_beginning_of_a_sentence_says_nothing():
    assert names("Suppose that we sell it. Suppose we do not. Find the price.") == set()


def test_a_capital_seen_once_is_no_name():
    assert names("The shop sells Allowing cream to people.") == set()


def test_a_word_that_problems_also_write_small_is_no_name():
    assert names("We ask Will again whether Will comes.", "They will see whether it will rain.") == set()


def test_a_word_that_solutions_write_small_is_no_name():
    problem = "We asked Mark and then asked Mark again."
    assert names(problem) == {"mark", "mark's"}
    assert names(problem, solutions=("let me mark this", "So mark that down.")) == set()


def test_the_first_person_is_no_name():
    assert names("Then I said that I'll do what I can, and I'm sure I will.") == set()


def test_labels_of_figures_are_names():
    assert names("In the triangle ABC the side of ABC is long.") == {"abc", "abc's"}


def test_a_shouted_problem_names_nobody():
    assert names("HOW MANY APPLES ARE LEFT WHEN ALL APPLES ARE SOLD", PROBLEM) == names(PROBLEM)


def test_a_language_that_gives_nouns_capitals_has_no_names():
    problem = "Aufgabe {}: In einer Schule sind drei Klassen, in jeder Klasse lernen Kinder, und jedes Kind hat Hefte."
    assert names(*(problem.format(number) for number in range(40))) == set()


def test_a_problem_that_is_seen_again_counts_once():
    # one capital in the only problem, however many rollouts it has
    assert names("The shop sells Allowing cream to people.", solutions=("a", "b", "c")) == set()


def test_rows_without_a_problem_have_no_names():
    assert names_in([(None, "so James says that James knows")]) == frozenset()


def test_the_order_of_the_rows_does_not_matter(monkeypatch):
    monkeypatch.setattr("hicra_cli.grams.names.SAMPLED_SOLUTIONS", 3)
    rows = [(PROBLEM, f"{word} james number {at}") for at, word in enumerate("abcdefgh")]
    whole = names_in(rows)
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert names_in(rows) == whole


@pytest.mark.slow
def test_real_problems_give_names_and_leave_english_alone(rollouts_dir):
    from hicra_cli.config.collect import RolloutFields
    from hicra_cli.grams.sources import read_rows

    rows = read_rows(rollouts_dir / "longcot_gsm8k_math.jsonl.gz", RolloutFields())
    found = names_in((row.problem, row.text) for row in rows)
    assert {"james", "eliza", "monday", "germany"} <= found
    english = "i let wait so then but now first we can assume suppose consider find compute how what check try"
    assert not found & set(english.split())
