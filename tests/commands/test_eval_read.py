"""hicra eval --read as a user types it."""

import pytest

from tests.commands.run_hicra import document, hicra
from tests.report.graded import publish_evaluation, sample

ROWS = [
    sample("a", 0, "3/4", "correct"),
    sample("a", 1, "3/4", "correct"),
    sample("b", 0, "3/4", "correct"),
    sample("b", 1, "8", detail="another value \x1b[31m"),
]


@pytest.fixture
def home(tmp_path):
    publish_evaluation(tmp_path / ".hicra", ROWS)
    return tmp_path


def test_questions_are_read_on_the_terminal(home):
    done = hicra("eval", "--read", "evaluation:mine", cwd=home, check=0)
    lines = done.stdout.splitlines()
    assert lines[0] == "evaluation:mine@v1"
    assert lines[2].split() == ["math500", "2", "2", "75.0%", "3", "1"]
    at = lines.index("── math500 b · 1/2 right · disagreement 0.50")
    assert lines[at + 1 : at + 5] == [
        "   What is b?", "   gold 3/4", "     1 × correct  3/4", "     1 × wrong  8  (another value \ufffd[31m)",
    ]  # fmt: skip
    assert lines.index("── math500 a · 2/2 right · disagreement 0.00") > at


def test_failures_alone_are_shown_when_asked_for(home):
    done = hicra("eval", "--read", "mine", "--failures", "--json", cwd=home, check=0)
    (question,) = document(done)["data"]["questions"]
    assert (question["question"], question["right"], question["samples"]) == ("b", 1, 2)
    assert question["answers"][1] == {
        "answer": "8", "outcome": "wrong", "correct": False, "reasons": ["another value \x1b[31m"], "samples": [1],
    }  # fmt: skip


def test_a_page_or_the_whole_text_is_written(home):
    hicra("eval", "--read", "mine", "--output", "page.html", cwd=home, check=0)
    assert "<h1>evaluation:mine@v1</h1>" in (home / "page.html").read_text()
    publish_evaluation(home / ".hicra", [sample(f"q{at}", 0, "8") for at in range(30)], name="more")
    done = hicra("eval", "--read", "more", "--output", "all.txt", cwd=home, check=0)
    assert "10 further questions" in done.stdout
    assert (home / "all.txt").read_text().count("── math500 q") == 30


def test_a_lost_gram_set_costs_the_marks_only(home):
    publish_evaluation(home / ".hicra", ROWS, name="lost", gram_set="gram-set:gone@v1")
    done = hicra("eval", "--read", "lost", "--output", "page.html", cwd=home, check=0)
    assert "strategic grams are not marked" in done.stderr
    publish_evaluation(home / ".hicra", ROWS, name="marked", gram_set="grams:default-en")
    hicra("eval", "--read", "marked", "--output", "page.html", cwd=home, check=0)
    assert "Marked in responses" in (home / "page.html").read_text()


def test_what_cannot_be_read_is_refused_with_its_exit_code(home):
    assert "there is no" in hicra("eval", "--read", "evaluation:nothing", cwd=home, check=3).stderr
    assert "is no" in hicra("eval", "--read", "what:mine", cwd=home, check=2).stderr
    done = hicra("eval", "--read", "mine", "--output", "no/such/folder/page.html", cwd=home, check=2)
    assert "there is no such folder" in done.stderr


def test_a_damaged_line_is_named(tmp_path):
    publish_evaluation(tmp_path / ".hicra", [*ROWS, {name: value for name, value in ROWS[0].items() if name != "text"}])
    done = hicra("eval", "--read", "mine", cwd=tmp_path, check=3)
    assert "samples.jsonl:5" in done.stderr
