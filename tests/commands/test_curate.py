"""`hicra curate --interactive` through a real process whose answers come from stdin, and the letters of an answer."""

import json
import subprocess
import sys

import pytest

from hicra_cli.commands.asking import parse_answer
from hicra_cli.core.records import Move
from hicra_cli.grams.decisions import Decision
from tests.commands.run_hicra import clean_environment, document, hicra


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a", Decision("g", "accept")),
        ("R  too specific", Decision("g", "reject", reason="too specific")),
        ("t", Decision("g", "accept", Move.BACKTRACING)),
        ("s", "skip"),
        ("q", "stop"),
        ("", None),
        ("yes", None),
    ],
)
def test_an_answer_is_a_letter_and_perhaps_a_reason(text, answer):
    assert parse_answer(text, "g") == answer


def test_a_person_decides_in_the_terminal_and_is_not_asked_twice(tmp_path):
    traces = [
        f"let's try a different way with {i}. since we need {i} more we go on. but that is not right. [/b]"
        for i in range(6)
    ]
    rows = [{"problem": f"p{i}", "response": text, "correct": True} for i, text in enumerate(traces)]
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hicra("collect-grams", "--rollouts", "runs.jsonl", cwd=tmp_path, check=0)
    hicra("annotate-grams", cwd=tmp_path, check=0)

    def curate(answers):
        return subprocess.run(
            [sys.executable, "-m", "hicra_cli", "curate", "--interactive", "--json", "--quiet"],
            cwd=tmp_path, env=clean_environment(), input=answers, capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    first = curate("x\nt no way back\nr\nq\n")
    assert first.returncode == 0, first.stderr
    assert document(first)["artifacts"][0]["ref"] == "gram-set:default@v1"
    kept = [json.loads(line) for line in (tmp_path / ".hicra" / "decisions" / "default.jsonl").read_text().splitlines()]
    assert [each["decision"] for each in kept] == ["accept", "reject"]
    assert (kept[0]["move"], kept[0]["reason"]) == ("backtracing", "no way back")
    assert f"] {kept[0]['gram']}\n" in first.stderr
    again = curate("")  # the end of input is "stop"
    assert again.returncode == 0
    assert f"] {kept[0]['gram']}\n" not in again.stderr


def test_dry_run_names_inputs_and_writes_nothing(tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"problem": "p", "response": "x", "correct": true}\n')
    done = hicra("collect-grams", "--rollouts", "runs.jsonl", "--dry-run", "--json", cwd=tmp_path, check=0)
    found = document(done)
    assert found["data"]["output"] == "candidates:default"
    assert found["data"]["settings"]["ngram_max"] == 5
    assert [each.name for each in tmp_path.iterdir()] == ["runs.jsonl"]
