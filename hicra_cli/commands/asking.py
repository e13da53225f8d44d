"""`hicra curate --interactive`: one gram at a time with its contexts; a person's answer is a letter and Enter.

Questions go to stderr, answers come from stdin, so that a file of answers works as well as a keyboard.
"""

import sys
from typing import Literal

from hicra_cli.core.output import Output
from hicra_cli.core.records import Move
from hicra_cli.grams.curation import Ask, Question
from hicra_cli.grams.decisions import Decision

HELP = "a accept · d deduction · b branching · t backtracing (accept with this move) · r reject · s skip · q stop"
MOVES = {"d": Move.DEDUCTION, "b": Move.BRANCHING, "t": Move.BACKTRACING}


def asker(output: Output) -> Ask:
    """The function that `curate` calls for each open gram. The end of input means stop."""

    def ask(question: Question) -> Decision | Literal["skip", "stop"]:
        output.question("\n".join(_lines(question)))
        while True:
            output.question(HELP if question.number == 1 else "a/d/b/t/r/s/q")
            line = sys.stdin.readline()
            if not line:
                return "stop"
            if answer := parse_answer(line.strip(), question.considered.gram):
                return answer

    return ask


def parse_answer(text: str, gram: str) -> Decision | Literal["skip", "stop"] | None:
    """A letter, with a reason after it if one likes (`r too specific`); None where it is none of the letters."""
    letter, _, reason = text.partition(" ")
    letter, reason = letter.lower(), reason.strip()
    if letter in ("s", "q"):
        return "skip" if letter == "s" else "stop"
    if letter in ("a", "r"):
        return Decision(gram, "accept" if letter == "a" else "reject", reason=reason)
    return Decision(gram, "accept", MOVES[letter], reason) if letter in MOVES else None


def _lines(question: Question) -> list[str]:
    considered, suggested = question.considered, question.suggested
    move = f" as {suggested.move}" if suggested.move else ""
    contexts = [f"    … {' '.join(context.split())} …" for context in considered.contexts]
    return [
        "",
        f"[{question.number}/{question.total}] {considered.gram}",
        f"  {considered.count} uses in {considered.document_frequency} problems",
        f"  the rules would {suggested.verdict}{move}: {suggested.reason}",
        *contexts,
    ]
