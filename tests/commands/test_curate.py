"""`hicra curate` as it is typed: answers from stdin, decisions, lists, rollouts to look at, the blind round."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.commands.run_hicra import clean_environment, document, hicra
from tests.commands.terminal import Terminal

TRACE = (
    "let's try a different way with {}. since we need {} more we go on. but that is not right. "
    "the sum of all is {}. [/b]"
)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """A folder with rollouts, collected and annotated."""
    folder = tmp_path_factory.mktemp("annotated")
    rows = [{"problem": f"p{at}", "response": TRACE.format(at, at, at), "correct": True} for at in range(6)]
    (folder / "runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    hicra("collect-grams", "--rollouts", "runs.jsonl", cwd=folder, check=0)
    hicra("annotate-grams", cwd=folder, check=0)
    return folder


@pytest.fixture
def folder(annotated, tmp_path):
    """A copy of its own."""
    shutil.copytree(annotated, tmp_path, dirs_exist_ok=True)
    return tmp_path


def answering(folder, answers, *options):
    return subprocess.run(
        [sys.executable, "-m", "hicra_cli", "curate", *options],
        cwd=folder, env=clean_environment(), input=answers, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_person_decides_in_the_terminal_and_is_not_asked_twice(folder):
    first = answering(folder, "x\nt no way back\nr\nq\n", "--interactive", "--json", "--quiet")
    assert first.returncode == 0, first.stderr
    assert document(first)["artifacts"][0]["ref"] == "gram-set:default@v1"
    kept = lines(folder / ".hicra" / "decisions" / "default.jsonl")
    assert [each["decision"] for each in kept] == ["accept", "reject"]
    assert (kept[0]["move"], kept[0]["reason"]) == ("backtracing", "no way back")
    assert f"] {kept[0]['gram']}\n" in first.stderr
    again = answering(folder, "", "--interactive", "--json", "--quiet")  # the end of input is "stop"
    assert again.returncode == 0
    assert f"] {kept[0]['gram']}\n" not in again.stderr
    history = {row["gram"]: row for row in lines(folder / document(again)["artifacts"][0]["path"] / "history.jsonl")}
    assert (history[kept[0]["gram"]]["by"], history[kept[1]["gram"]]["verdict"]) == ("person", "reject")


def test_keys_at_a_real_terminal_and_ctrl_c_keeps_them(folder):
    with Terminal("-m", "hicra_cli", "curate", "--interactive", cwd=folder) as terminal:
        terminal.wait_for("0/", "q quit")
        terminal.type("d")
        terminal.wait_for("1 accepted (1 deduction)")
        terminal.type("\x03")
        assert terminal.wait() == 130
        assert "type the same command to go on" in " ".join(terminal.written.split())
        assert terminal.mode() == (True, True)
    with Terminal("-m", "hicra_cli", "curate", "--interactive", cwd=folder) as terminal:
        terminal.wait_for("1 accepted (1 deduction)", "q quit")
        terminal.type("q")
        assert terminal.wait() == 0
        assert "gram-set:default@v1" in terminal.written
    assert [row["decision"] for row in lines(folder / ".hicra" / "decisions" / "default.jsonl")] == ["accept"]


def test_rollouts_are_shown_with_their_grams_marked(folder):
    shown = hicra("curate", "--show", 2, cwd=folder, check=0).stdout
    assert "Marked: ⟦deduction⟧ᵈ  ⟦branching⟧ᵇ  ⟦backtracing⟧ᵗ" in shown
    assert shown.count("── rollout ") == 2
    assert "⟦let's try a different way⟧ᵇ" in shown
    assert "[/b]" in shown
    assert "review.html" in shown
    found = document(hicra("curate", "--show", 2, "--json", cwd=folder, check=0))["data"]["rollouts"]
    mark = found[0]["grams"][0]
    assert found[0]["text"][mark["start"] : mark["end"]].lower() == mark["gram"]
    with Terminal("-m", "hicra_cli", "curate", "--show", 1, cwd=folder) as terminal:
        assert terminal.wait() == 0
        assert "\x1b[1;4;33mlet's try a different way\x1b[0m" in terminal.written


def test_the_grams_alone_go_to_stdout_or_to_a_file(folder):
    listed = hicra("curate", "--export", "-", cwd=folder, check=0).stdout.splitlines()
    assert "let's try a different way\tbranching" in listed
    assert hicra("curate", "--export", "mine.txt", cwd=folder, check=0).stdout.endswith("mine.txt\n")
    assert (folder / "mine.txt").read_text().splitlines() == listed
    made = document(
        hicra(
            "curate", "--import", "mine.txt", "--annotations", "none", "--name", "mine", "--json", cwd=folder, check=0
        )
    )
    assert made["artifacts"][0]["ref"] == "gram-set:mine@v1"
    assert made["metrics"]["grams"] == len(listed)


def test_a_blind_round_is_answered_by_lines_and_resumed(folder):
    hicra("curate", cwd=folder, check=0)
    done = answering(folder, "y\nn\nq\n", "--gram-set", "gram-set:default", "--audit", "4")
    assert done.returncode == 0, done.stderr
    assert "Judged planning:" in done.stdout
    assert "Does this plan" in done.stderr
    again = answering(folder, "y\ny\ny\ny\n", "--gram-set", "gram-set:default", "--audit", "4", "--json")
    found = document(again)
    assert found["metrics"]["audit/unanswered"] == 0
    assert found["metrics"]["audit/precision_judged"] == 2
    rows = lines(folder / found["artifacts"][0]["path"] / "audit.jsonl")
    judged = [row["planning"] for row in rows]
    assert None not in judged
    assert judged.count(False) == 1  # the answer of the first session


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("d.csv", "gram,decision\nlet me check,perhaps\n", 2),
        ("d.yaml", "- {gram: let me check, decision: accept}\n- {gram: let me check, decision: reject}\n", 2),
        ("d.jsonl", '{"gram": "let me check"\n', 1),
    ],
)
def test_a_bad_decision_is_one_line_with_its_place(folder, name, content, line):
    (folder / name).write_text(content)
    done = hicra("curate", "--decisions", name, cwd=folder, check=2)
    assert f"{name}:{line}: " in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr


def test_a_decisions_file_of_any_format_is_applied(folder):
    (folder / "d.csv").write_text("gram,decision,move,reason\nthe sum of all,accept,deduction,as a test\n")
    done = document(hicra("curate", "--decisions", "d.csv", "--json", cwd=folder, check=0))
    history = {row["gram"]: row for row in lines(folder / done["artifacts"][0]["path"] / "history.jsonl")}
    assert history["the sum of all"]["by"] == "person"
    assert history["the sum of all"]["move"] == "deduction"


def test_questions_without_anyone_to_ask_are_refused_before_the_work(folder):
    done = hicra("curate", "--audit", 3, "--interactive", cwd=folder, check=2)
    assert "two rounds of questions" in done.stderr


def test_dry_run_names_inputs_and_writes_nothing(tmp_path):
    (tmp_path / "runs.jsonl").write_text('{"problem": "p", "response": "x", "correct": true}\n')
    done = hicra("collect-grams", "--rollouts", "runs.jsonl", "--dry-run", "--json", cwd=tmp_path, check=0)
    found = document(done)
    assert found["data"]["output"] == "candidates:default"
    assert found["data"]["settings"]["ngram_max"] == 5
    assert [each.name for each in tmp_path.iterdir()] == ["runs.jsonl"]


def test_dry_run_of_curate_shows_the_plan_and_asks_nobody(folder):
    done = hicra("curate", "--interactive", "--show", 2, "--export", "x.txt", "--dry-run", cwd=folder, check=0)
    assert "curate would publish gram-set:default" in done.stdout
    assert not (folder / "x.txt").exists()
    assert not (folder / ".hicra" / "decisions").exists()
