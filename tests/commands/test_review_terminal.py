"""The interview and the blind round in a real pseudo terminal: keys, windows, signals, kills."""

import json
import signal

from tests.commands.review_driver import GRAMS
from tests.commands.terminal import Terminal


def interview(journal, **more):
    return Terminal("-m", "tests.commands.review_driver", "interview", journal, **more)


def answers(journal):
    return [json.loads(line) for line in journal.read_text().splitlines()]


def said(journal):
    return [(row["gram"], row["decision"], row.get("move"), row.get("reason", "")) for row in answers(journal)]


def test_single_keys_decide_and_the_next_gram_appears(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal) as terminal:
        screen = terminal.wait_for("0/5 decided", "let me check", "41 uses in 12 problems", "the rules would accept")
        assert "… Hmm, Let me check whether that �[31mholds� for all" in screen
        assert "[bold]the rest[/bold]" in screen
        terminal.type("a")
        terminal.wait_for("1/5 decided", "so we have", "accepted as backtracing: let me check")
        terminal.type("b")
        terminal.wait_for("2/5 decided", "1 branching", "1 backtracing")
        terminal.type("r")
        terminal.wait_for("3/5 decided", "1 rejected", "let's try again")
        terminal.type("q")
        assert terminal.wait() == 0
    assert said(journal) == [
        ("let me check", "accept", None, ""),
        ("so we have", "accept", "branching", ""),
        ("on the other hand", "reject", None, ""),
    ]


def test_the_gram_is_coloured_and_only_underlined_under_no_color(tmp_path):
    with interview(tmp_path / "a.jsonl") as terminal:
        terminal.wait_for("let me check")
        assert "\x1b[1;4;35mLet me check\x1b[0m" in terminal.written
    with interview(tmp_path / "a.jsonl", NO_COLOR="1") as terminal:
        terminal.wait_for("let me check")
        assert "\x1b[1;4mLet me check\x1b[0m" in terminal.written
        assert "\x1b[1;4;35m" not in terminal.written


def test_notes_search_moves_undo_and_arrows(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal) as terminal:
        terminal.wait_for("let me check")
        terminal.type("nseen vägue?")
        terminal.wait_for("note: seen vägue?")
        terminal.type("\x7f\x17only \x1b[200~in\nproofs\x1b[201~\r")
        terminal.wait_for("note: seen only in proofs", "a accept")
        terminal.type("/TRY\r")
        terminal.wait_for("let's try again   backtracing")
        terminal.type("md")
        terminal.wait_for("let's try again   deduction")
        terminal.type("a")
        terminal.wait_for("wait a minute", "1/5 decided")
        terminal.type("\x1b[D")
        terminal.wait_for("let's try again   deduction   accepted")
        terminal.type("\x1bOC")
        terminal.wait_for("wait a minute   backtracing", absent=["   accepted"])
        terminal.type("u")
        terminal.wait_for("taken back", "0/5 decided", "let's try again   backtracing")
        terminal.type("/nowhere\r")
        terminal.wait_for("no gram contains `nowhere`")
        terminal.type("?")
        terminal.wait_for("Keys", "take the last answer back")
        terminal.type("\x1b")
        terminal.wait_for("let's try again")
        terminal.type("nnever kept")
        terminal.wait_for("note: never kept")
        terminal.type("\x1b")
        terminal.wait_for("a accept", absent=["never kept"])
        terminal.type("q")
        assert terminal.wait() == 0
    assert said(journal) == [
        ("let me check", "note", None, "seen only in proofs"),
        ("let's try again", "accept", "deduction", ""),
        ("let's try again", "undo", None, ""),
    ]


def test_after_the_last_gram_one_may_still_take_back(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal) as terminal:
        terminal.wait_for("let me check")
        terminal.type("saaaa")
        terminal.wait_for("All others are decided", "Skipped: 1")
        terminal.type("s")
        terminal.wait_for("let me check")
        terminal.type("r")
        terminal.wait_for("No question is open")
        terminal.type("u")
        terminal.wait_for("let me check", "taken back")
        terminal.type("t")
        terminal.wait_for("No question is open")
        terminal.type("\r")
        assert terminal.wait() == 0
        assert terminal.mode() == (True, True)
    assert said(journal)[-3:] == [
        ("let me check", "reject", None, ""),
        ("let me check", "undo", None, ""),
        ("let me check", "accept", "backtracing", ""),
    ]


def test_pasted_text_presses_no_keys(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal) as terminal:
        terminal.wait_for("let me check")
        terminal.type("\x1b[200~arrr\nq\x1b[201~")
        terminal.wait_for("pasted text presses no keys", "0/5 decided")
    assert journal.read_text() == ""


def test_what_was_typed_before_the_first_question_answers_nothing(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal) as terminal:
        terminal.type("aaa")
        terminal.wait_for("let me check")
        terminal.type("r")
        terminal.wait_for("1/5 decided", "1 rejected")
    assert len(answers(journal)) == 1


def test_unknown_keys_and_broken_sequences_decide_nothing(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal) as terminal:
        terminal.wait_for("let me check")
        terminal.type("\x1b[15~\x1bx\x00\x01\x1b[1;5Cxé")
        terminal.wait_for("no such key")
        terminal.type("A")
        terminal.wait_for("0/5 decided")
    assert journal.read_text() == ""


def test_a_narrow_window_and_one_that_changes(tmp_path):
    with interview(tmp_path / "a.jsonl", columns=40) as terminal:
        terminal.wait_for("let me check", "q quit")
        assert max(map(len, terminal.screen)) <= 40
        assert len(terminal.screen) <= 24
        terminal.resize(100, 30)
        terminal.wait_for("─" * 100)
        assert len(terminal.screen) == 30
        terminal.resize(30, 8)
        terminal.wait_for("let me check", absent=["─" * 31, "q quit"])
        assert len(terminal.screen) == 8
        terminal.type("\x1b[6~" * 30)
        terminal.wait_for("… Let me check …")
        terminal.type("a")
        terminal.wait_for("so we have")


def test_ctrl_z_gives_the_terminal_back_and_goes_on_afterwards(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal) as terminal:
        terminal.wait_for("let me check")
        assert terminal.mode() == (False, False)
        terminal.type("a")
        terminal.wait_for("so we have")
        terminal.kill(signal.SIGTSTP)
        # The leader of a session without a shell is an orphan to job control: the kernel does not stop it.
        terminal.wait_for_written("\x1b[?1049l")
        terminal.wait_for_written("\x1b[?1049h", times=2)  # so it is back at once, before it is stopped for good
        terminal.kill(signal.SIGSTOP)
        terminal.wait_until_stopped()
        terminal.kill(signal.SIGCONT)
        terminal.wait_for_written("\x1b[?1049h", times=3)
        terminal.type("r")
        terminal.wait_for("2/5 decided", "on the other hand")
        assert terminal.mode() == (False, False)
    assert len(answers(journal)) == 2


def test_ctrl_c_gives_the_terminal_back_and_keeps_the_answers(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal) as terminal:
        terminal.wait_for("let me check")
        terminal.type("a")
        terminal.wait_for("so we have")
        terminal.type("\x03")
        assert terminal.wait() != 0
        assert terminal.mode() == (True, True)
        assert "\x1b[?1049l" in terminal.written
        assert "KeyboardInterrupt" in terminal.written
    assert len(answers(journal)) == 1


def test_a_terminal_that_closes_ends_the_interview(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal) as terminal:
        terminal.wait_for("let me check")
        terminal.type("a")
        terminal.wait_for("so we have")
        terminal.type("\x04")
        assert terminal.wait() == 0
    assert len(answers(journal)) == 1


def test_killed_at_any_moment_it_goes_on_where_it_was(tmp_path):
    journal = tmp_path / "a.jsonl"
    for number, gram in enumerate(GRAMS):
        with interview(journal) as terminal:
            terminal.wait_for(f"{number}/5 decided", gram)
            terminal.type("d")
            terminal.wait_for(f"{number + 1}/5 decided")
            terminal.kill()
            assert terminal.wait() == -signal.SIGKILL
    assert said(journal) == [(gram, "accept", "deduction", "") for gram in GRAMS]
    assert [row["answer"] for row in answers(journal)] == [1, 2, 3, 4, 5]


def test_the_blind_round_asks_yes_or_no_and_tells_nothing(tmp_path):
    journal = tmp_path / "a.jsonl"
    with Terminal("-m", "tests.commands.review_driver", "audit", journal) as terminal:
        terminal.wait_for("0/5 judged", "let me check", "Does this plan")
        frames = []
        for number, key in enumerate("yns", start=1):
            terminal.type(key)
            frames.append(terminal.wait_for(f"{min(number, 2)}/5 judged", GRAMS[number]))
        terminal.type("u")
        terminal.wait_for("1/5 judged", "taken back", "so we have")
        terminal.type("yny")
        terminal.wait_for("All others are judged")
        terminal.type("sn")
        terminal.wait_for("Nothing is open")
        terminal.type("q")
        assert terminal.wait() == 0
    assert not any(word in frame for frame in frames for word in ("strategic", "random", "cluster", "problems"))
    judged = {row["gram"]: row["judged"] for row in answers(journal)}
    assert judged == {
        "let me check": "planning",
        "so we have": "planning",
        "on the other hand": "not planning",
        "let's try again": "not planning",
        "wait a minute": "planning",
    }


def test_a_dumb_terminal_gets_lines(tmp_path):
    journal = tmp_path / "a.jsonl"
    with interview(journal, TERM="dumb") as terminal:
        terminal.wait_for_written("s skip · q stop")
        terminal.type("r no\n")
        terminal.wait_for_written("[2/5] so we have")
        terminal.type("q\n")
        assert terminal.wait() == 0
    assert said(journal) == [("let me check", "reject", None, "no")]
