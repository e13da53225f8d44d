"""An evaluation question by question: answers that are one, disagreement, order, places of rows."""

import json

import pytest

from hicra_cli.core.errors import ArtifactError
from hicra_cli.report.evaluation_reading import read_questions, read_rows, reading_order, telling_samples
from tests.report.graded import sample, write_rows

ROWS = [
    sample("a", 0, "3/4", "correct"),
    sample("a", 1, "0.75", "correct"),
    sample("a", 2, "\\frac{1}{2}", detail="another value"),
    sample("a", 3, "0.5", detail="another value"),
    sample("a", 4, None, "truncated"),
    sample("b", 0, "7"),
    sample("b", 1, "7"),
    sample("c", 0, "3/4", "correct"),
    sample("c", 1, "3/4", "correct"),
    sample("d", 0, "3/4", "correct"),
    sample("d", 1, "8"),
]


@pytest.fixture
def questions(tmp_path):
    return {each.question: each for each in read_questions(write_rows(tmp_path / "samples.jsonl", ROWS))}


def test_spellings_of_one_answer_are_one_answer(questions):
    groups = [(each.answer, each.outcome, each.samples, each.details) for each in questions["a"].groups]
    assert groups == [
        ("3/4", "correct", (0, 1), ()),
        ("\\frac{1}{2}", "wrong", (2, 3), ("another value",)),
        (None, "truncated", (4,), ()),
    ]
    assert (questions["a"].gold, questions["a"].outcomes) == ("3/4", {"correct": 2, "wrong": 2, "truncated": 1})


def test_disagreement_is_the_share_outside_the_most_frequent_answer(questions):
    # a: 2 of 5 gave the most frequent one; b and c agree; d: 1 of 2
    assert {name: each.disagreement for name, each in questions.items()} == pytest.approx(
        {"a": 0.6, "b": 0.0, "c": 0.0, "d": 0.5}
    )
    assert [each.num_right for each in questions.values()] == [2, 0, 2, 1]


def test_most_disagreement_comes_first_and_failures_are_the_worst_first(questions):
    assert [each.question for each in reading_order(questions.values())] == ["a", "d", "b", "c"]
    assert [each.question for each in reading_order(questions.values(), failures=True)] == ["b", "a", "d"]


def test_rows_are_read_again_from_their_place(tmp_path):
    rows = [sample("ä€", at, "1", text="x" * at + "\u2028\n") for at in range(5)]
    path = write_rows(tmp_path / "samples.jsonl", rows)
    (question,) = read_questions(path)
    assert list(read_rows(path, reversed(question.samples))) == rows[::-1]


def test_of_every_answer_one_response_is_shown_before_a_second_one(questions):
    assert [each.sample for each in telling_samples(questions["a"], 3)] == [0, 2, 4]
    assert [each.sample for each in telling_samples(questions["a"], 2)] == [2, 4]
    assert [each.sample for each in telling_samples(questions["a"], 4)] == [0, 1, 2, 4]


def test_countdowns_expressions_are_answers_of_their_own(tmp_path):
    rows = [sample("q", at, answer, bench="countdown") for at, answer in enumerate(["2 * 3", "6 * 1", "2 * 3 "])]
    (question,) = read_questions(write_rows(tmp_path / "samples.jsonl", rows))
    assert [each.samples for each in question.groups] == [(0, 2), (1,)]


def test_evaluations_without_gold_and_details_can_be_read(tmp_path):
    row = sample("q", 0, "1")
    for name in ("gold", "detail", "lenient_reward", "prompt", "seed"):
        del row[name]
    (question,) = read_questions(write_rows(tmp_path / "samples.jsonl", [row]))
    assert (question.gold, question.groups[0].details) == (None, ())


def test_several_golds_are_shown_together(tmp_path):
    (question,) = read_questions(write_rows(tmp_path / "samples.jsonl", [sample("q", 0, "1", gold=["3/4", "0.75"])]))
    assert question.gold == "3/4 or 0.75"


def test_right_only_by_lenient_extraction_is_marked(tmp_path):
    rows = [sample("q", 0, None, "no_answer", lenient_reward=1.0), sample("q", 1, "3/4", "correct")]
    (question,) = read_questions(write_rows(tmp_path / "samples.jsonl", rows))
    assert [each.lenient for each in question.samples] == [True, False]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        json.dumps({"bench": "b", "question": "q", "sample": 0}),
        json.dumps(sample("q", 0, "1", reward="much")),
    ],
)
def test_a_line_that_is_no_graded_sample_is_named(tmp_path, line):
    path = write_rows(tmp_path / "samples.jsonl", ROWS[:1])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ArtifactError, match=r"samples\.jsonl:2.*no (graded )?sample"):
        read_questions(path)
