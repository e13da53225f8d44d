"""Asking a person about grams, one after the other: what is asked, where one stands, what was answered.

Every answer is in the journal, on disk, before the next question; taking one back is another line. So an interview can
be left at any instant, by a power cut too, and goes on where it stood. How it looks is not decided here.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import Move
from hicra_cli.grams.curation import Question
from hicra_cli.grams.decisions import Decision, Entry, split_rows
from hicra_cli.grams.journal import Journal


@dataclass(frozen=True, slots=True)
class Figures:
    """How far an interview is. accepted: by move, `none` where there is no move; skipped: still open."""

    total: int
    decided: int
    accepted: Mapping[str, int]
    rejected: int
    skipped: int


class Pages:
    """Where one stands among `total` questions. position: None behind the last open one."""

    def __init__(self, total: int, is_open: Callable[[int], bool]) -> None:
        self._total = total
        self._is_open = is_open
        self.skipped: set[int] = set()
        self.position: int | None = None
        self.to_next_open(0)

    def to_next_open(self, start: int) -> None:
        """To the first question from `start` on, around the end, that is neither decided nor skipped."""
        around = (*range(start, self._total), *range(min(start, self._total)))
        self.position = next((at for at in around if self._is_open(at) and at not in self.skipped), None)

    def skip(self) -> None:
        """On, leaving this question open."""
        if self.position is not None:
            self.skipped.add(self.position)
            self.to_next_open(self.position + 1)

    def ask_skipped(self) -> None:
        """Back to the first question that was skipped."""
        self.skipped.clear()
        self.to_next_open(0)

    def step(self, by: int) -> None:
        """To a neighbour, decided or not; the ends are ends."""
        if self._total:
            at = self._total if self.position is None else self.position
            self.position = min(max(at + by, 0), self._total - 1)


class Interview:
    """An interview about `questions`, resumed from `journal`.

    questions: all of them, those already decided too, which are passed over but can be looked at and decided anew; in
    an order that is the same at every start. decided: what stands besides the journal's own answers (a decisions file);
    answers of this journal among them are recognised. Raises what `Journal` raises.
    """

    def __init__(self, questions: Sequence[Question], journal: Path, decided: Mapping[str, Decision]) -> None:
        self.questions = tuple(questions)
        self._journal = Journal(journal)
        try:
            by_hand, self._entries = split_rows(self._journal.rows)
        except DataError:
            self._journal.close()
            raise
        answered = {each.gram: each.decision for each in self._entries if each.decision is not None}
        self._given = by_hand | {gram: each for gram, each in decided.items() if answered.get(gram) != each}
        self._decisions: dict[str, Decision] = {**self._given, **answered}
        self._chosen_moves: dict[str, Move] = {}
        self.pages = Pages(len(self.questions), lambda at: self._gram(at) not in self._decisions)

    @property
    def decisions(self) -> dict[str, Decision]:
        """What is decided by now, by gram: the given decisions and above them the answers."""
        return dict(self._decisions)

    @property
    def position(self) -> int | None:
        """The index of the current question; None where no question is open any more."""
        return self.pages.position

    @property
    def current(self) -> Question | None:
        """The question to be answered, or looked at."""
        return None if self.position is None else self.questions[self.position]

    @property
    def figures(self) -> Figures:
        """Counted over the questions."""
        accepted: Counter[str] = Counter()
        decided = 0
        for question in self.questions:
            decision = self._decisions.get(question.considered.gram)
            decided += decision is not None
            if decision is not None and decision.verdict == "accept":
                accepted[str(decision.move or question.suggested.move or "none")] += 1
        skipped = sum(self._gram(at) not in self._decisions for at in self.pages.skipped)
        return Figures(len(self.questions), decided, dict(accepted), decided - accepted.total(), skipped)

    @property
    def notice(self) -> str:
        """What a person should know when the interview starts; mostly empty."""
        return "the last answer was only half written and was cut off" if self._journal.cut else ""

    def decision(self, gram: str) -> Decision | None:
        """What stands about a gram."""
        return self._decisions.get(gram)

    def note_about(self, gram: str) -> str:
        """The remark about a gram: of its last entry, or of the given decision."""
        note = next((each.note for each in reversed(self._entries) if each.gram == gram), "")
        given = self._given.get(gram)
        return note or (given.reason if given else "")

    def move_of(self, question: Question) -> Move | None:
        """The move the gram would have if it was accepted now."""
        gram = question.considered.gram
        decision = self._decisions.get(gram)
        decided = decision.move if decision is not None else None
        return self._chosen_moves.get(gram) or decided or question.suggested.move

    def decide(self, verdict: Literal["accept", "reject"], move: Move | None = None, *, reason: str = "") -> None:
        """Answer the current question and go to the next open one. reason: empty keeps the note there is.

        move: None keeps the one chosen by `choose_move`, else the annotator's. Raises RunError where it cannot be kept.
        """
        question = self._asked()
        gram = question.considered.gram
        move = (move or self._chosen_moves.get(gram)) if verdict == "accept" else None
        self._add(Decision(gram, verdict, move, reason or self.note_about(gram)))
        assert self.position is not None
        self.pages.to_next_open(self.position + 1)

    def choose_move(self, move: Move) -> None:
        """The move of the current gram: kept at once where it is accepted already, else used when it is accepted."""
        gram = self._asked().considered.gram
        self._chosen_moves[gram] = move
        decision = self._decisions.get(gram)
        if decision is not None and decision.verdict == "accept" and decision.move != move:
            self._add(Decision(gram, "accept", move, decision.reason))

    def note(self, text: str) -> None:
        """A remark about the current gram, which becomes the reason of its decision; the question stays."""
        gram = self._asked().considered.gram
        decision = self._decisions.get(gram)
        if decision is not None:
            self._add(Decision(gram, decision.verdict, decision.move, text))
        else:
            self._journal.append({"gram": gram, "decision": "note", "reason": text})
            self._entries.append(Entry(gram, None, text))

    def undo(self) -> str | None:
        """Take the last answer back, of an earlier session too, and stand at its gram; returns the gram, or None."""
        if not self._entries:
            return None
        gram = self._entries[-1].gram
        self._journal.append({"gram": gram, "decision": "undo"})
        self._entries.pop()
        standing = next(
            (each.decision for each in reversed(self._entries) if each.gram == gram and each.decision), None
        )
        standing = standing or self._given.get(gram)
        if standing is None:
            self._decisions.pop(gram, None)
        else:
            self._decisions[gram] = standing
        self._chosen_moves.pop(gram, None)
        self._go_to(gram)
        return gram

    def skip(self) -> None:
        """Leave the current question open and go on."""
        self.pages.skip()

    def search(self, text: str) -> bool:
        """Stand at the next gram, around the end, that contains the text; False where none does."""
        wanted = " ".join(text.lower().replace("’", "'").split())
        start = 0 if self.position is None else self.position + 1
        for at in (*range(start, len(self.questions)), *range(start)):
            if wanted and wanted in self._gram(at):
                self.pages.position = at
                return True
        return False

    def close(self) -> None:
        """Let the journal go; what was answered can still be read."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _gram(self, at: int) -> str:
        return self.questions[at].considered.gram

    def _asked(self) -> Question:
        if self.current is None:
            raise ValueError("no question is open")
        return self.current

    def _add(self, decision: Decision) -> None:
        self._journal.append(decision.to_row())
        self._entries.append(Entry(decision.gram, decision, decision.reason))
        self._decisions[decision.gram] = decision

    def _go_to(self, gram: str) -> None:
        for at in range(len(self.questions)):
            if self._gram(at) == gram:
                self.pages.skipped.discard(at)
                self.pages.position = at
                return
