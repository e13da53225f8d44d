"""A real process that conducts an interview or a blind round, for the tests that sit at its terminal.

python -m tests.commands.review_driver interview|audit JOURNAL
"""

import sys
from pathlib import Path

from hicra_cli.commands.asking import asker
from hicra_cli.core.output import Output
from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.base import Annotation
from hicra_cli.grams.audit import AuditInterview
from hicra_cli.grams.audit_draw import AuditItem
from hicra_cli.grams.curation import Considered, Question, Ruling
from hicra_cli.grams.interview import Interview

GRAMS = ("let me check", "so we have", "on the other hand", "let's try again", "wait a minute")
CONTEXTS = (
    "Hmm, {} whether that \x1b[31mholds\x07 for all of them, for the sum was odd and [bold]the rest[/bold] is even.",
    "First 3 + 4 = 7, and then {}, which is what the second condition of the problem asks for in the end, 数学 🙂.",
    "{}",
)


def questions() -> list[Question]:
    """Five questions with hostile contexts."""
    found = []
    for number, gram in enumerate(GRAMS, start=1):
        annotation = Annotation(gram, Move.BACKTRACING, 0.5, "a verb of checking", "lexicon")
        contexts = tuple(each.format(gram.capitalize().replace("'", "’")) for each in CONTEXTS)
        ruling = Ruling(gram, "accept", Move.BACKTRACING, "rule", "accepted", "a verb of checking")
        found.append(Question(Considered(gram, annotation, 41, 12, contexts), ruling, number, len(GRAMS)))
    return found


def items() -> list[AuditItem]:
    """Five items, every second one of the set."""
    return [AuditItem(gram, at % 2 == 0, 41, 12, 10.0, (f"and {gram} now",)) for at, gram in enumerate(GRAMS)]


if __name__ == "__main__":
    kind, journal = sys.argv[1], Path(sys.argv[2])
    output = Output(results=sys.stdout, talk=sys.stderr)
    with Interview(questions(), journal, {}) if kind == "interview" else AuditInterview(items(), journal) as subject:
        asker(output)(subject)
