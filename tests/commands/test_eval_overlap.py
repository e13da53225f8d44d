"""hicra eval --check-overlap as a user types it."""

import json

import pytest

from hicra_cli.commands.eval_overlap import pair_text
from hicra_cli.tasks.overlap import Pair
from tests.commands.run_hicra import document, hicra

QUESTION = "A farmer has 12 cows and buys 5 more every month. How many cows does he have after 7 months?"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "mine.jsonl").write_text(
        json.dumps({"id": "cows", "problem": QUESTION, "answer": "47"})
        + "\n"
        + json.dumps({"id": "why", "problem": "Why does a triangle have three sides?", "answer": "1"})
        + "\n"
    )
    rows = [
        {"problem": "Unrelated: how tall is the tower?"},
        {"id": "a", "problem": QUESTION.upper()},
        {"id": "b", "problem": QUESTION.replace("12", "30")},
        {"id": "c", "solution": "nothing"},
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_rates_and_pairs_are_shown_and_found_questions_are_warned_of(files):
    done = hicra("eval", "--bench", "mine.jsonl", "--check-overlap", "train.jsonl", cwd=files, check=0)
    assert "Questions of benchmarks in 4 training texts" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("mine "))
    assert row.split() == ["mine", "2", "1", "(50.0%)", "0", "0", "0", "1", "(50.0%)", "1", "(50.0%)"]
    assert "── exact 1.00 · mine cows ~ a (train.jsonl:2)" in done.stdout
    assert "A farmer has ⟦12⟧ cows" in done.stdout
    assert "A farmer has ⟦30⟧ cows" in done.stdout
    assert "1 benchmark questions stand in the training data word for word" in done.stderr
    assert "1 of 4 training rows have no problem" in done.stderr
    assert not (files / ".hicra").exists()


def test_json_holds_everything_and_output_writes_it(files):
    done = hicra("eval", "--bench", "mine.jsonl", "--check-overlap", "train.jsonl", "--output", "o.json", "--json",
                 cwd=files, check=0)  # fmt: skip
    found = document(done)
    assert found["metrics"] == {
        "overlap/exact_questions": 1, "overlap/contained_questions": 0, "overlap/variant_questions": 0,
        "overlap/near_questions": 0,
    }  # fmt: skip
    assert [(pair["kind"], pair["training"]) for pair in found["data"]["pairs"]] == [("exact", "a"), ("variant", "b")]
    assert json.loads((files / "o.json").read_text()) == found["data"]


def test_several_sources_are_one_body_of_training_data(files):
    done = hicra("eval", "--bench", "mine.jsonl", "--check-overlap", "train.jsonl,train.jsonl", "--json", cwd=files)
    found = document(done)["data"]
    assert (found["training_texts"], found["pairs"][0]["copies"]) == (8, 2)


def test_what_cannot_be_checked_is_refused_with_the_reason(files):
    done = hicra("eval", "--check-overlap", "train.jsonl", cwd=files, check=2)
    assert "countdown's problems are made up" in done.stderr
    done = hicra("eval", "--bench", "mine.jsonl", "--check-overlap", "no.jsonl", cwd=files, check=2)
    assert "no.jsonl" in done.stderr
    done = hicra("eval", "--bench", "mine.jsonl", "--check-overlap", "what?", cwd=files, check=2)
    assert "--check-overlap: 'what?' is neither" in done.stderr


def test_what_differs_in_a_pair_is_marked_and_long_texts_are_cut():
    pair = Pair(
        "b", "b/1", "", "x.jsonl:3", "near", 0.7, "Find all two x now", f"Find all x now {'y ' * 500}", copies=4
    )
    lines = pair_text(pair).splitlines()
    assert lines[0] == "── near 0.70 · b/1 ~ x.jsonl:3, 4 times"
    assert lines[1] == "   question  Find all ⟦two⟧ x now"
    assert lines[2].startswith("   training  Find all x now ⟦y y")
    assert lines[-1].endswith("…⟧")
