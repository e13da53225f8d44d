"""Who answers `hicra curate --interactive` and `--audit`: a person at the keyboard, or a file of answers on stdin.

On a terminal single keys do (see `review_screen`). Elsewhere an answer is a letter and Enter, perhaps with words after
it; questions go to stderr, answers come from stdin, and the end of input means quitting.
"""

import os
import sys
from collections.abc import Callable
from typing import Literal

from hicra_cli.commands.review_audit import QUESTION, AuditDialogue
from hicra_cli.commands.review_interview import InterviewDialogue
from hicra_cli.commands.review_screen import converse
from hicra_cli.commands.review_text import KEYS_OF_MOVES
from hicra_cli.core.output import Output
from hicra_cli.core.records import Move
from hicra_cli.grams.audit import AuditInterview
from hicra_cli.grams.decisions import Decision
from hicra_cli.grams.interview import Interview

HELP = (
    "a accept · d deduction · b branching · t backtracing (accept with this move) · r reject, each with a reason\n"
    "if one likes · n NOTE · u undo · p previous · / TEXT searches · s skip · q stop"
)
SHORT_HELP = "a/d/b/t/r/n/u/p/s/q, / TEXT, ? help"
AUDIT_HELP = "y yes · n no · s skip · u undo · p previous · q stop"

Ask = Callable[[Interview | AuditInterview], None]


def asker(output: Output) -> Ask:
    """The function that conducts an interview or a blind round to its end, or until the person quits."""

    def ask(subject: Interview | AuditInterview) -> None:
        if _is_terminal(output):
            dialogue = InterviewDialogue(subject) if isinstance(subject, Interview) else AuditDialogue(subject)
            converse(output, dialogue, sys.stdin.fileno())
        elif isinstance(subject, Interview):
            _ask_by_lines(subject, output)
        else:
            _audit_by_lines(subject, output)

    return ask


def parse_answer(text: str, gram: str) -> Decision | Literal["skip", "stop"] | None:
    """A letter, with a reason after it if one likes (`r too specific`); None where it is none of the letters."""
    letter, _, reason = text.partition(" ")
    letter, reason = letter.lower(), reason.strip()
    if letter in ("s", "q"):
        return "skip" if letter == "s" else "stop"
    if letter in ("a", "r"):
        return Decision(gram, "accept" if letter == "a" else "reject", reason=reason)
    return Decision(gram, "accept", Move(KEYS_OF_MOVES[letter]), reason) if letter in KEYS_OF_MOVES else None


def _is_terminal(output: Output) -> bool:
    """Keys need a terminal that is read from and one that is written to, which can move its cursor."""
    return sys.stdin.isatty() and output.talk.isatty() and os.isatty(sys.stdin.fileno()) and _can_draw(output)


def _can_draw(output: Output) -> bool:
    return not output.console.is_dumb_terminal


def _ask_by_lines(interview: Interview, output: Output) -> None:
    if interview.notice:
        output.question(interview.notice)
    shown: object = None
    first = True
    while (question := interview.current) is not None:
        if shown != (shown := (interview.position, len(interview.decisions))):
            output.question("\n".join(_lines(interview)))
            output.question(HELP if first else SHORT_HELP)
            first = False
        line = sys.stdin.readline()
        if not line:
            return
        answer = parse_answer(line.strip(), question.considered.gram)
        if answer == "stop":
            return
        if answer == "skip":
            interview.skip()
        elif answer is not None:
            interview.decide(answer.verdict, answer.move, reason=answer.reason)
        elif not _other(interview, line.strip(), output):
            output.question(SHORT_HELP)


def _other(interview: Interview, line: str, output: Output) -> bool:
    """The answers that decide nothing; False where it is none of them."""
    letter, words = line[:1], line[1:].strip()
    if letter == "u" and not words:
        gram = interview.undo()
        output.question("nothing to take back" if gram is None else f"taken back: the last answer about `{gram}`")
    elif letter == "p" and not words:
        interview.pages.step(-1)
    elif letter == "n" and words and line[1] == " ":
        interview.note(words)
    elif letter == "/":
        if not interview.search(words):
            output.question(f"no gram contains `{words}`")
    elif line == "?":
        output.question(HELP)
    else:
        return False
    return True


def _lines(interview: Interview) -> list[str]:
    question = interview.current
    assert question is not None
    assert interview.position is not None
    considered, suggested = question.considered, question.suggested
    move = f" as {suggested.move}" if suggested.move else ""
    decision, note = interview.decision(considered.gram), interview.note_about(considered.gram)
    return [
        "",
        f"[{interview.position + 1}/{len(interview.questions)}] {considered.gram}",
        f"  {considered.count} uses in {considered.document_frequency} problems",
        f"  the rules would {suggested.verdict}{move}: {suggested.reason}",
        *([f"  decided: {decision.verdict}{f' as {decision.move}' if decision.move else ''}"] if decision else []),
        *([f"  note: {note}"] if note else []),
        *(f"    … {' '.join(context.split())} …" for context in considered.contexts),
    ]


def _audit_by_lines(interview: AuditInterview, output: Output) -> None:
    if interview.notice:
        output.question(interview.notice)
    output.question(QUESTION)
    while (item := interview.current) is not None:
        contexts = [f"    … {' '.join(context.split())} …" for context in item.contexts]
        place = f"[{interview.num_judged + 1}/{len(interview.items)}]"
        output.question("\n".join(["", f"{place} {item.gram}", *contexts]))
        while True:
            output.question(AUDIT_HELP)
            line = sys.stdin.readline()
            letter = line.strip().lower()
            if not line or letter == "q":
                return
            if letter in ("y", "n", "s", "u", "p"):
                break
        if letter in ("y", "n"):
            interview.judge(letter == "y")
        elif letter == "s":
            interview.skip()
        elif letter == "u":
            interview.undo()
        else:
            interview.pages.step(-1)
