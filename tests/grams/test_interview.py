"""The interview: order, resuming, taking back, and that nothing answered is lost."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import DataError, RunError, UsageError
from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.base import Annotation
from hicra_cli.grams.curation import Considered, Question, Ruling
from hicra_cli.grams.decisions import Decision, read_decisions
from hicra_cli.grams.interview import Interview

GRAMS = ("let me check", "so we have", "on the other hand", "let me try", "wait a minute")


def question(gram: str, number: int = 1) -> Question:
    annotation = Annotation(gram, Move.BACKTRACING, 0.5, "why", "lexicon")
    ruling = Ruling(gram, "accept", Move.BACKTRACING, "rule", "accepted", "why")
    return Question(Considered(gram, annotation, 10, 5, (f"and {gram} now",)), ruling, number, len(GRAMS))


QUESTIONS = [question(gram, at) for at, gram in enumerate(GRAMS, start=1)]


def asked(interview) -> str | None:
    return None if interview.current is None else interview.current.considered.gram


def lines(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_text().splitlines()]


def test_every_answer_is_on_disk_before_the_next_question(tmp_path):
    journal = tmp_path / "new" / "folder.jsonl"
    interview = Interview(QUESTIONS, journal, {})
    for at, gram in enumerate(GRAMS):
        assert asked(interview) == gram
        assert len(lines(journal)) == at
        interview.decide("accept", Move.DEDUCTION)
    assert interview.current is None
    assert lines(journal)[0] == {
        "answer": 1, "gram": "let me check", "decision": "accept", "reason": "", "move": "deduction"
    }  # fmt: skip


def test_it_goes_on_where_it_was_left(tmp_path):
    journal = tmp_path / "a.jsonl"
    with Interview(QUESTIONS, journal, {}) as first:
        first.decide("accept")
        first.skip()
        first.decide("reject", reason="too vague")
    with Interview(QUESTIONS, journal, read_decisions(journal)) as second:
        assert asked(second) == "so we have"
        assert second.figures.decided == 2
        assert second.decisions == {
            "let me check": Decision("let me check", "accept"),
            "on the other hand": Decision("on the other hand", "reject", reason="too vague"),
        }


def test_the_last_answer_wins_and_undo_gives_the_one_before_back(tmp_path):
    journal = tmp_path / "a.jsonl"
    with Interview(QUESTIONS, journal, {}) as interview:
        interview.decide("accept", Move.BRANCHING)
        interview.pages.step(-1)
        interview.decide("reject")
        assert read_decisions(journal)["let me check"].verdict == "reject"
        assert interview.undo() == "let me check"
        assert asked(interview) == "let me check"
        assert interview.decisions["let me check"] == Decision("let me check", "accept", Move.BRANCHING)
    with Interview(QUESTIONS, journal, read_decisions(journal)) as interview:
        assert interview.undo() == "let me check"  # of the earlier session
        assert interview.decisions == {}
        assert interview.undo() is None
    assert [row["decision"] for row in lines(journal)] == ["accept", "reject", "undo", "undo"]
    assert read_decisions(journal) == {}


def test_what_a_decisions_file_says_stands_until_it_is_answered_and_comes_back_by_undo(tmp_path):
    given_decision = Decision("let me check", "reject", reason="by hand")
    with Interview(QUESTIONS, tmp_path / "a.jsonl", {"let me check": given_decision}) as interview:
        assert asked(interview) == "so we have"
        interview.pages.step(-1)
        assert interview.note_about("let me check") == "by hand"
        interview.decide("accept")
        assert interview.decisions["let me check"].verdict == "accept"
        interview.undo()
        assert interview.decisions == {"let me check": given_decision}


def test_a_note_is_kept_becomes_the_reason_and_can_be_taken_back(tmp_path):
    journal = tmp_path / "a.jsonl"
    with Interview(QUESTIONS, journal, {}) as interview:
        interview.note("seen in proofs")
    with Interview(QUESTIONS, journal, read_decisions(journal)) as interview:
        assert interview.note_about("let me check") == "seen in proofs"
        interview.decide("accept")
        assert interview.decisions["let me check"].reason == "seen in proofs"
        interview.pages.step(-1)
        interview.note("only in proofs")
        assert read_decisions(journal)["let me check"].reason == "only in proofs"
        interview.undo()
        assert interview.decisions["let me check"].reason == "seen in proofs"
        interview.undo()
        interview.undo()
        assert interview.note_about("let me check") == ""


def test_a_chosen_move_is_used_when_the_gram_is_accepted_and_kept_at_once_when_it_was(tmp_path):
    with Interview(QUESTIONS, tmp_path / "a.jsonl", {}) as interview:
        assert interview.move_of(QUESTIONS[0]) is Move.BACKTRACING  # the annotator's
        interview.choose_move(Move.DEDUCTION)
        assert interview.decisions == {}
        interview.decide("accept")
        assert str(interview.decisions["let me check"].move) == "deduction"
        interview.pages.step(-1)
        interview.choose_move(Move.BRANCHING)
        assert str(interview.decisions["let me check"].move) == "branching"
        interview.undo()
        assert interview.move_of(QUESTIONS[0]) is Move.DEDUCTION
        interview.choose_move(Move.BRANCHING)
        interview.decide("reject")
        assert interview.decisions["let me check"].move is None


def test_skipped_questions_stay_open_and_are_asked_again_on_request(tmp_path):
    with Interview(QUESTIONS, tmp_path / "a.jsonl", {}) as interview:
        interview.skip()
        for _ in GRAMS[1:]:
            interview.decide("accept")
        assert interview.current is None
        assert interview.figures.skipped == 1
        interview.pages.ask_skipped()
        assert asked(interview) == "let me check"


def test_search_goes_around_and_finds_curly_quotes(tmp_path):
    questions = [*QUESTIONS, question("let's try again")]
    with Interview(questions, tmp_path / "a.jsonl", {}) as interview:
        assert interview.search("LET’S  try")
        assert asked(interview) == "let's try again"
        assert interview.search("let me")
        assert asked(interview) == "let me check"
        assert interview.search("let me")
        assert asked(interview) == "let me try"
        assert not interview.search("nowhere")
        assert not interview.search("  ")
        assert asked(interview) == "let me try"


def test_figures_count_by_the_move_that_will_stand(tmp_path):
    with Interview(QUESTIONS, tmp_path / "a.jsonl", {}) as interview:
        interview.decide("accept")  # the annotator's: backtracing
        interview.decide("accept", Move.DEDUCTION)
        interview.decide("reject")
        figures = interview.figures
    assert (figures.total, figures.decided, figures.rejected) == (5, 3, 1)
    assert figures.accepted == {"backtracing": 1, "deduction": 1}


def test_a_torn_last_line_is_cut_off_and_said(tmp_path):
    journal = tmp_path / "a.jsonl"
    with Interview(QUESTIONS, journal, {}) as interview:
        interview.decide("accept")
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"answer": 2, "gram": "so we ha')
    assert list(read_decisions(journal)) == ["let me check"]  # reading changes nothing
    with Interview(QUESTIONS, journal, {}) as interview:
        assert "cut off" in interview.notice
        assert asked(interview) == "so we have"
        interview.decide("reject")
    assert journal.read_bytes().startswith(whole)
    assert [row["answer"] for row in lines(journal)] == [1, 2]


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path):
    journal = tmp_path / "a.jsonl"
    with Interview(QUESTIONS, journal, {}) as interview:
        interview.decide("accept")
        interview.decide("reject")
    journal.write_bytes(journal.read_bytes().rstrip(b"\n"))
    with Interview(QUESTIONS, journal, {}) as interview:
        assert interview.notice == ""
        assert interview.figures.decided == 2
        interview.decide("accept")
    assert len(lines(journal)) == 3


def test_two_interviews_about_one_journal_are_refused(tmp_path):
    with (
        Interview(QUESTIONS, tmp_path / "a.jsonl", {}),
        pytest.raises(UsageError, match="another hicra process"),
    ):
        Interview(QUESTIONS, tmp_path / "a.jsonl", {})
    Interview(QUESTIONS, tmp_path / "a.jsonl", {}).close()


def test_answers_go_to_json_lines_only(tmp_path):
    with pytest.raises(UsageError, match="JSON lines"):
        Interview(QUESTIONS, tmp_path / "a.csv", {})


def test_a_journal_that_cannot_be_made_is_said_before_the_first_question(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be kept") as failure:
        Interview(QUESTIONS, tmp_path / "file" / "a.jsonl", {})
    assert failure.value.where == str(tmp_path / "file" / "a.jsonl")


def test_a_full_disk_leaves_the_journal_as_it_was_and_says_so(tmp_path):
    # RLIMIT_FSIZE in a child stands for the full disk: the write fails half way.
    program = f"""
import resource, signal, sys
from pathlib import Path
from hicra_cli.core.errors import RunError
from tests.grams.test_interview import QUESTIONS, Interview
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
interview = Interview(QUESTIONS, Path({str(tmp_path / "a.jsonl")!r}), {{}})
interview.decide("accept")
size = Path({str(tmp_path / "a.jsonl")!r}).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, size + 20))
try:
    interview.decide("reject")
except RunError as error:
    sys.exit(7 if len(interview.decisions) == 1 else 1)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == 7
    assert [row["decision"] for row in lines(tmp_path / "a.jsonl")] == ["accept"]


def test_a_killed_process_loses_nothing_and_leaves_no_lock(tmp_path):
    program = f"""
import os, signal
from pathlib import Path
from hicra_cli.core.records import Move
from tests.grams.test_interview import QUESTIONS, Interview
interview = Interview(QUESTIONS, Path({str(tmp_path / "a.jsonl")!r}), {{}})
interview.decide("accept", Move.BRANCHING)
interview.decide("reject")
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    with Interview(QUESTIONS, tmp_path / "a.jsonl", {}) as interview:
        assert asked(interview) == "on the other hand"
        assert interview.decisions["let me check"].move is Move.BRANCHING


def test_an_undo_that_does_not_fit_is_refused_with_its_line(tmp_path):
    journal = tmp_path / "a.jsonl"
    journal.write_text(
        '{"answer": 1, "gram": "let me check", "decision": "accept", "reason": ""}\n'
        '{"answer": 2, "gram": "so we have", "decision": "undo"}\n'
    )
    with pytest.raises(DataError, match="last answer about `so we have`") as failure:
        Interview(QUESTIONS, journal, {})
    assert failure.value.where == f"{journal}:2"


ACTIONS = st.lists(
    st.sampled_from(["accept", "branching", "reject", "note", "undo", "skip", "back", "move", "restart"]), max_size=25
)


@settings(deadline=None, max_examples=60)
@given(ACTIONS)
def test_restarting_anywhere_changes_nothing(actions):
    """The decisions after any actions are the same whether or not the process was restarted between them."""
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for restarts in (True, False):
            journal = Path(folder) / f"{restarts}.jsonl"
            interview = Interview(QUESTIONS, journal, {})
            for action in actions:
                if action == "restart":
                    if restarts:
                        at, skipped = interview.position, interview.pages.skipped
                        interview.close()
                        interview = Interview(QUESTIONS, journal, read_decisions(journal))
                        interview.pages.position, interview.pages.skipped = at, skipped
                else:
                    act(interview, action)
            interview.close()
            runs.append((interview.decisions, read_decisions(journal)))
        assert runs[0][0] == runs[0][1] == runs[1][0] == runs[1][1]


def act(interview: Interview, action: str) -> None:
    if action == "undo":
        interview.undo()
    elif action == "back":
        interview.pages.step(-1)
    elif interview.current is None:
        interview.pages.ask_skipped()
    elif action == "accept":
        interview.decide("accept")
    elif action == "branching":
        interview.decide("accept", Move.BRANCHING)
    elif action == "reject":
        interview.decide("reject")
    elif action == "note":
        interview.note("a note")
    elif action == "skip":
        interview.skip()
    elif action == "move":
        decision = interview.decision(interview.current.considered.gram)
        if decision is not None and decision.verdict == "accept":
            interview.choose_move(Move.DEDUCTION)


def test_the_journal_survives_a_reader_without_rights(tmp_path):
    journal = tmp_path / "a.jsonl"
    journal.write_text("")
    journal.chmod(0o400)
    if os.access(journal, os.W_OK):
        pytest.skip("NOT RUN: this user may write everywhere")
    with pytest.raises(RunError, match="cannot be kept"):
        Interview(QUESTIONS, journal, {})
