"""Answers from a file on stdin: letters and words, a line each."""

import json
import subprocess
import sys

import pytest

from hicra_cli.commands.asking import parse_answer
from hicra_cli.core.records import Move
from hicra_cli.grams.decisions import Decision
from tests.commands.run_hicra import ROOT, clean_environment


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a", Decision("g", "accept")),
        ("R  too specific", Decision("g", "reject", reason="too specific")),
        ("t", Decision("g", "accept", Move.BACKTRACING)),
        ("d sure", Decision("g", "accept", Move.DEDUCTION, "sure")),
        ("s", "skip"),
        ("q", "stop"),
        ("", None),
        ("yes", None),
    ],
)
def test_an_answer_is_a_letter_and_perhaps_a_reason(text, answer):
    assert parse_answer(text, "g") == answer


def answered(kind, journal, lines):
    done = subprocess.run(
        [sys.executable, "-m", "tests.commands.review_driver", kind, str(journal)],
        cwd=ROOT, env=clean_environment(), input=lines, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    return rows, done.stderr


def test_a_file_of_answers_decides(tmp_path):
    rows, said = answered("interview", tmp_path / "a.jsonl", "x\nn in proofs\na\nr too vague\nd\nq\na\n")
    assert [(row["gram"], row["decision"], row.get("move"), row["reason"]) for row in rows] == [
        ("let me check", "note", None, "in proofs"),
        ("let me check", "accept", None, "in proofs"),
        ("so we have", "reject", None, "too vague"),
        ("on the other hand", "accept", "deduction", ""),
    ]
    assert "[1/5] let me check\n" in said
    assert "  41 uses in 12 problems\n" in said
    assert "… Hmm, Let me check whether that �[31mholds� for" in said
    assert "[4/5] let's try again" in said
    assert "[5/5]" not in said


def test_going_back_searching_and_taking_back_by_lines(tmp_path):
    rows, said = answered("interview", tmp_path / "a.jsonl", "/ wait\nb\nu\np\nr\nu\nu\n/nothing\n?\ns\ns\n")
    assert [(row["gram"], row["decision"]) for row in rows] == [
        ("wait a minute", "accept"),
        ("wait a minute", "undo"),
        ("let's try again", "reject"),
        ("let's try again", "undo"),
    ]
    assert "nothing to take back" in said
    assert "no gram contains `nothing`" in said
    assert said.count("a accept · d deduction") == 2


def test_the_end_of_the_input_is_the_end(tmp_path):
    assert answered("interview", tmp_path / "a.jsonl", "")[0] == []
    rows, _ = answered("interview", tmp_path / "a.jsonl", "a\na\na\na\na\nmore\nthan needed\n")
    assert len(rows) == 5
    _, said = answered("interview", tmp_path / "a.jsonl", "")
    assert said == ""


def test_a_half_written_answer_is_said(tmp_path):
    answered("interview", tmp_path / "a.jsonl", "a\n")
    with (tmp_path / "a.jsonl").open("a") as stream:
        stream.write('{"answer": 2, "gr')
    rows, said = answered("interview", tmp_path / "a.jsonl", "r\n")
    assert "half written and was cut off" in said
    assert len(rows) == 2


def test_a_blind_round_by_lines(tmp_path):
    rows, said = answered("audit", tmp_path / "a.jsonl", "y\nmaybe\nn\ns\nu\ny\nq\n")
    assert [(row["gram"], row["judged"]) for row in rows] == [
        ("let me check", "planning"),
        ("so we have", "not planning"),
        ("so we have", "undo"),
        ("so we have", "planning"),
    ]
    assert "Does this plan" in said
    assert "strategic" not in said
