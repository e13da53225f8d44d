"""The blind round: what is drawn, that the order tells nothing, and what the answers are worth."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import DataError
from hicra_cli.grams.audit import (
    AuditInterview,
    estimate_audit,
    hold_audit,
    wilson_interval,
)
from hicra_cli.grams.audit_draw import AuditItem, draw_audit
from hicra_cli.grams.curation import Considered


def gram(text, count=10, df=5) -> Considered:
    return Considered(text, None, count, df, (f"so {text} here",))


def words(number: int, length: int, prefix: str = "w") -> list[str]:
    """Grams of `length` words that share no run of words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return [
        " ".join(f"{prefix}{letters[at // 26]}{letters[at % 26]}{letters[place]}" for place in range(length))
        for at in range(number)
    ]


SET = [gram(text, 10 * at + 10, at + 5) for at, text in enumerate([*words(10, 3), *words(10, 4, "v")])]
OTHERS = [gram(text, 3 * at + 1, at + 1) for at, text in enumerate([*words(60, 3, "o"), *words(60, 4, "p")])]


def test_half_the_items_are_grams_of_the_set_and_each_has_a_control_of_its_length():
    items = draw_audit(SET, OTHERS, size=20, seed=1)
    strategic = [each for each in items if each.strategic]
    controls = [each for each in items if not each.strategic]
    assert (len(strategic), len(controls)) == (10, 10)
    assert sorted(each.num_words for each in strategic) == sorted(each.num_words for each in controls)
    assert {each.gram for each in controls}.isdisjoint(each.gram for each in SET)
    assert len({each.gram for each in items}) == 20
    assert items[0].contexts == (f"so {items[0].gram} here",)


def test_controls_are_about_as_frequent_as_the_grams_they_match():
    near = [gram(text, 100, 50) for text in words(20, 3, "n")]
    far = [gram(text, 10_000, 4000) for text in words(200, 3, "f")]
    chosen = [gram(text, 110, 48) for text in words(4, 3)]
    controls = [each for each in draw_audit(chosen, [*far, *near], size=8, seed=0) if not each.strategic]
    assert {each.gram for each in controls} <= {each.gram for each in near}


def test_what_is_mostly_the_sets_own_words_or_rarer_than_it_is_no_control():
    chosen = [gram("let me check", 10, 5), gram("one two three four", 10, 5)]
    others = [
        gram("let me check that", 9, 5),  # nested
        gram("let me check", 10, 5),  # of the set
        gram("rare words here", 2, 4),  # rarer
        gram("please let me", 8, 6),  # ends with 2 of its 3 words where `let me check` begins
        gram("me check it", 8, 6),  # begins with 2 of its 3 words where it ends
        gram("number of apples", 8, 6),
        gram("check the sum", 8, 6),  # 1 of 3 words
        gram("me check the sum", 8, 6),  # 2 of 4 words
    ]
    draws = [draw_audit(chosen, others, size=10, seed=seed) for seed in range(40)]
    controls = {each.gram for items in draws for each in items if not each.strategic}
    assert controls == {"number of apples", "check the sum", "me check the sum"}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_the_candidates(seed, random):
    chosen, others = list(SET), list(OTHERS)
    random.shuffle(chosen)
    random.shuffle(others)
    assert draw_audit(chosen, others, size=16, seed=seed) == draw_audit(SET, OTHERS, size=16, seed=seed)


def test_the_order_tells_nothing():
    # The places 0..19 have the variance (20^2 - 1) / 12 = 33.25, so the mean of 10 of them 33.25 / 10 * 10 / 19 = 1.75
    # and that of 200 rounds 1.75 / 200: a standard error of 0.094. Five of them are 0.47.
    places = [
        at
        for seed in range(200)
        for at, item in enumerate(draw_audit(SET, OTHERS, size=20, seed=seed))
        if item.strategic
    ]
    assert abs(np.mean(places) - 9.5) < 0.47


def test_without_grams_or_without_others_there_is_nothing_to_compare():
    with pytest.raises(DataError, match="no gram of the set occurs"):
        draw_audit([gram("never seen here", 0, 0)], OTHERS, size=10, seed=0)
    with pytest.raises(DataError, match="no n-gram is left outside"):
        draw_audit(SET, SET, size=10, seed=0)


def test_wilson_intervals_are_those_of_the_formula():
    # 8 of 10: z = 1.96, z2 = 3.8415; centre (0.8 + 0.19207) / 1.38415 = 0.71674; reach
    # 1.96 * sqrt(0.8 * 0.2 / 10 + 3.8415 / 400) / 1.38415 = 1.96 * sqrt(0.0256036) / 1.38415 = 0.22658
    assert wilson_interval(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-4)
    # 0 of 10: upper z2 / (n + z2) = 3.8415 / 13.8415 = 0.27753
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert wilson_interval(10, 10)[1] == 1.0
    assert all(math.isnan(each) for each in wilson_interval(0, 0))


def item(text, strategic, stands_for):
    return AuditItem(text, strategic, 10, 5, stands_for)


def test_the_shares_and_the_recall_by_hand():
    # Set: 4 items stand for 100 uses each, 3 of 4 planning: 300 found. Outside: 3 words, 2 items for 150 each, 1 of 2
    # planning: 150 missed; 4 words, 2 items for 50 each, none planning. Recall 300 / 450.
    items = [
        *(item(f"in set {letter}", True, 100.0) for letter in "abcd"),
        *(item(f"out set {letter}", False, 150.0) for letter in "ab"),
        *(item(f"four words out {letter}", False, 50.0) for letter in "ab"),
    ]
    answers = {each.gram: False for each in items}
    answers |= {"in set a": True, "in set b": True, "in set c": True, "out set a": True}
    result = estimate_audit(items, answers)
    assert (result.strategic.value, result.strategic.planning, result.strategic.judged) == (0.75, 3, 4)
    assert (result.random.value, result.random.planning, result.random.judged) == (0.25, 1, 4)
    assert (result.strategic.low, result.strategic.high) == wilson_interval(3, 4)
    assert result.recall.value == pytest.approx(300 / 450)
    assert result.recall.low < 300 / 450 < result.recall.high
    assert result.unanswered == 0
    assert result.to_summary()["precision"] == 0.75
    assert "planning as often" in result.to_summary()["assumption"]


def test_unanswered_items_are_counted_and_left_out():
    items = [item("a b c", True, 10.0), item("d e f", True, 10.0), item("g h i", False, 20.0)]
    result = estimate_audit(items, {"a b c": True, "elsewhere in the journal": True})
    assert (result.strategic.value, result.strategic.judged, result.unanswered) == (1.0, 1, 2)
    assert math.isnan(result.random.value)
    assert "random" not in result.to_summary()
    assert "recall" not in result.to_summary()


def test_the_interval_of_the_recall_holds_the_truth_about_as_often_as_it_says():
    # 200 simulated rounds: 50 of the set (truth 0.86, 1000 uses), 50 outside (truth 0.12, 4000 uses): recall 0.642.
    # 95 % of 200 is 190; five standard errors (3.1) below are 174.
    truth = 860 / (860 + 480)
    items = [item(f"in {at}", True, 20.0) for at in range(50)] + [item(f"out {at}", False, 80.0) for at in range(50)]
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        answers = {each.gram: bool(generator.random() < (0.86 if each.strategic else 0.12)) for each in items}
        recall = estimate_audit(items, answers).recall
        held += recall.low <= truth <= recall.high
    assert held >= 174


def test_equal_answers_give_equal_figures():
    items = draw_audit(SET, OTHERS, size=12, seed=3)
    answers = {each.gram: each.strategic for each in items}
    assert estimate_audit(items, answers) == estimate_audit(items, dict(reversed(answers.items())))


def test_a_round_is_left_resumed_and_taken_back(tmp_path):
    items = draw_audit(SET, OTHERS, size=6, seed=0)
    journal = tmp_path / "audit.jsonl"
    with AuditInterview(items, journal) as interview:
        interview.judge(True)
        interview.skip()
        interview.judge(False)
        interview.judge(True)
        assert interview.undo() == items[3].gram
        assert interview.position == 3
    with AuditInterview(items, journal) as interview:
        assert interview.answers == {items[0].gram: True, items[2].gram: False}
        assert interview.position == 1
        assert interview.num_judged == 2
    assert [json.loads(line)["judged"] for line in journal.read_text().splitlines()] == [
        "planning", "not planning", "planning", "undo"
    ]  # fmt: skip


def test_a_held_audit_writes_what_was_shown_and_answered(tmp_path):
    def answer(interview):
        while interview.current is not None:
            if interview.position == 2:
                interview.skip()
            else:
                interview.judge(interview.current.strategic)

    journal = tmp_path / "journal.jsonl"
    result = hold_audit(SET, OTHERS, size=8, seed=0, journal=journal, ask=answer, folder=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert [row["planning"] for row in rows].count(None) == 1
    assert all(row["planning"] in (None, row["strategic"]) for row in rows)
    assert result.unanswered == 1
    assert result.strategic.value == 1.0
    assert result.random.value == 0.0


@pytest.mark.parametrize("line", ['{"gram": "a b c"}', '{"gram": "a b c", "judged": "undo"}', "[1]"])
def test_a_strange_line_in_the_journal_is_named(tmp_path, line):
    journal = tmp_path / "audit.jsonl"
    journal.write_text(line + "\n")
    with pytest.raises(DataError) as failure:
        AuditInterview(draw_audit(SET, OTHERS, size=6, seed=0), journal)
    assert failure.value.where == f"{journal}:1"
