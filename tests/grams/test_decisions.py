"""Decisions files: three formats with the same fields, every fault at its file and line, journals among them."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import Move
from hicra_cli.grams.decisions import Decision, read_decisions

EXPECTED = {
    "let's try again": Decision("let's try again", "accept", Move.BRANCHING, "seen often, by all"),
    "the number of": Decision("the number of", "reject"),
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "d.jsonl",
            '{"gram": "Let’s  try, again", "decision": "accept", "move": "branching", '
            '"reason": "seen often, by all"}\n\n'
            '{"gram": "the number of", "decision": "reject"}\n',
        ),
        (
            "d.csv",
            'gram,decision,move,reason\n"Let’s  try, again",accept,branching,"seen often, by all"\n\n'
            "the number of,reject,,\n",
        ),
        (
            "d.csv",
            "\ufeffReason;Gram;Decision;Move\r\n"
            "seen often, by all;Let’s  try, again;accept;branching\r\n;the number of;reject\r\n",
        ),
        (
            "d.tsv",
            "gram\tdecision\tmove\treason\n"
            "let's try again\taccept\tbranching\tseen often, by all\nthe number of\treject\n",
        ),
        (
            "d.yaml",
            "- gram: Let’s  try, again\n  decision: accept\n  move: branching\n  reason: seen often, by all\n"
            "- {gram: the number of, decision: reject}\n",
        ),
    ],
)  # fmt: skip
def test_each_format_says_the_same(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert read_decisions(path) == EXPECTED


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("d.csv", "gram,decision\nlet me check,accept\nlet me check,reject\n", 3, "accept at .*:2, reject here"),
        ("d.csv", "gram,decision\nlet me check,maybe\n", 2, "must be accept or reject"),
        ("d.csv", "gram,decision\n,accept\n", 2, "`gram` is missing"),
        ("d.csv", "gram,verdict\n", 1, "column `decision` is missing"),
        ("d.csv", "gram,decision,why\n", 1, "unknown column 'why'"),
        ("d.csv", "gram,decision,gram\n", 1, "occurs twice"),
        ("d.csv", "gram,decision\nlet me check,accept,branching,x\n", 2, "4 cells under 2 columns"),
        ("d.csv", 'gram,decision\n"let me\ncheck",accept\n', 2, "can never occur"),
        ("d.csv", 'gram,decision\nlet me check,accept\n"let me,accept\n', 3, "no CSV"),
        ("d.csv", b"gram,decision\nlet me \xff check,accept\n", 2, "not UTF-8"),
        ("d.csv", "", None, "empty"),
        ("d.yaml", "- {gram: a b c, decision: accept}\n- {gram: a b c, decision: reject}\n", 2, "two ways"),
        ("d.yaml", "- {gram: let me check, decision: accept}\n- let me check\n", 2, "a mapping is needed"),
        ("d.yaml", "gram: let me check\n", 1, "a list of decisions"),
        ("d.yaml", "- {gram: let me check, gram: x, decision: accept}\n", 1, "occurs twice"),
        ("d.yaml", "- {gram: 12, decision: accept}\n", 1, "no text"),
        ("d.yaml", "- gram: let me check\n  decision: accept\n  move: sideways\n", 1, "sideways"),
        ("d.yaml", "- {gram: let me check, decision: accept, answer: 1}\n", 1, "unknown field"),
        ("d.jsonl", '{"gram": "a b c", "decision": "accept"', 1, "no JSON"),
        ("d.jsonl", b'{"gram": "a b \xff", "decision": "accept"}\n', 1, "not UTF-8"),
        ("d.jsonl", '{"gram": "a b c", "decision": "undo"}\n', 1, "must be accept or reject"),
        ("d.jsonl", '{"answer": 1, "gram": "a b c", "decision": "undo"}\n', 1, "there is none"),
        ("d.xlsx", "PK", None, "are no .xlsx file"),
        ("d.csv.gz", "gram,decision\n", None, "are no .csv file"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_file_and_line(tmp_path, name, text, line, message):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=message) as failure:
        read_decisions(path)
    assert failure.value.where == (str(path) if line is None else f"{path}:{line}")
    assert failure.value.exit_code == 2


@pytest.mark.parametrize("name", ["d.csv", "d.yaml", "d.jsonl"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(DataError) as failure:
        read_decisions(tmp_path / name)
    assert str(tmp_path / name) in str(failure.value)


def journal(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_in_a_journal_the_last_line_wins_and_undo_takes_it_back(tmp_path):
    path = journal(
        tmp_path / "d.jsonl",
        {"answer": 1, "gram": "let me check", "decision": "accept", "move": "branching"},
        {"answer": 2, "gram": "let me check", "decision": "reject", "reason": "no"},
        {"answer": 3, "gram": "a b c", "decision": "note", "reason": "hm"},
        {"answer": 4, "gram": "a b c", "decision": "undo"},
        {"answer": 5, "gram": "let me check", "decision": "undo"},
    )
    assert read_decisions(path) == {"let me check": Decision("let me check", "accept", Move.BRANCHING)}


def test_answers_stand_above_what_was_written_by_hand_before_them(tmp_path):
    by_hand = {"gram": "let me check", "decision": "reject"}
    answer = {"answer": 1, "gram": "let me check", "decision": "accept"}
    assert read_decisions(journal(tmp_path / "d.jsonl", by_hand, answer))["let me check"].verdict == "accept"
    with pytest.raises(DataError, match="accept by an answer above, reject here"):
        read_decisions(journal(tmp_path / "d.jsonl", answer, by_hand))


CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["accept", "reject"]), st.sampled_from([None, *Move]), CELL), max_size=6))
def test_a_csv_as_any_program_writes_it_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "written.csv"
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, ["gram", "decision", "move", "reason"])
    writer.writeheader()
    expected = {}
    for number, (verdict, move, reason) in enumerate(rows):
        gram = f"let me {'abcdef'[number]}"
        writer.writerow({"gram": gram, "decision": verdict, "move": move, "reason": reason})
        expected[gram] = Decision(gram, verdict, move, reason.strip())
    path.write_bytes(stream.getvalue().encode())
    assert read_decisions(path) == expected


@given(st.binary(max_size=60), st.sampled_from(["d.csv", "d.yaml", "d.jsonl", "d.tsv"]))
def test_whatever_the_bytes_only_a_data_error_is_raised(tmp_path_factory, raw, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(raw)
    try:
        found = read_decisions(path)
    except DataError as error:
        found = None
        where = error.where
    assert found is not None or where is not None
