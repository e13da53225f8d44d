"""Digests of a set's questions and golds: the same for the same set, telling for another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core.records import Prompt
from hicra_cli.tasks.benchmark_rows import (
    difference,
    gold_key,
    known_rows,
    parsed,
    question_key,
    row_lines,
    rows_sha256,
)
from hicra_cli.tasks.benchmark_specs import known_names

texts = st.text(st.characters(exclude_characters=" \t\n\r\f\v\x1c\x1d\x1e\x1f\x85"), min_size=1, max_size=12)
sets = st.lists(st.tuples(texts, texts), min_size=1, max_size=8, unique_by=lambda pair: question_key(pair[0])).map(
    lambda pairs: [Prompt(f"set/{number}", text, gold) for number, (text, gold) in enumerate(pairs)]
)


@given(sets, st.randoms())
def test_neither_order_nor_ids_nor_blanks_change_a_sets_digest(prompts, random):
    other = [Prompt(f"x{number}", f" {each.text}\n", f" {each.answer} ") for number, each in enumerate(prompts)]
    random.shuffle(other)
    assert rows_sha256(other) == rows_sha256(prompts)
    assert difference(other, parsed(row_lines(prompts))) == difference(prompts, parsed(row_lines(prompts)))


@given(sets, st.data())
def test_one_changed_gold_is_named_and_changes_the_digest(prompts, data):
    place = data.draw(st.integers(0, len(prompts) - 1))
    changed = Prompt("changed", prompts[place].text, f"{prompts[place].answer}7")
    other = [*prompts[:place], changed, *prompts[place + 1 :]]
    assert rows_sha256(other) != rows_sha256(prompts)
    found = difference(other, parsed(row_lines(prompts)))
    assert (found.reworded, found.other_golds, found.missing) == ((), ("changed",), ())


@given(sets)
def test_a_missing_question_is_named(prompts):
    found = difference(prompts[1:], parsed(row_lines(prompts)))
    assert (found.reworded, found.other_golds, found.missing) == ((), (), ("set/0",))


def test_another_wording_is_told_from_another_gold():
    prompts = [Prompt("a", "1 + 1?", "2"), Prompt("b", "2 + 2?", "4")]
    other = [Prompt("a", "What is 1 + 1?", "2"), Prompt("b", "What is 2 + 2?", "5")]
    found = difference(other, parsed(row_lines(prompts)))
    assert (found.reworded, found.other_golds) == (("a",), ("b",))


def test_dollar_signs_and_a_closing_full_stop_are_no_part_of_a_gold():
    assert gold_key("$1$, $3$.") == gold_key("1,3")
    assert gold_key("1.5") != gold_key("15")


@pytest.mark.parametrize("name", known_names())
def test_no_two_questions_of_a_shipped_set_share_a_digest_or_an_id(name):
    rows = known_rows(name)
    assert len(rows.golds) == len(rows.ids) == len(set(rows.ids.values())) > 0
