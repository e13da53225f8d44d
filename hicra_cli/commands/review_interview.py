"""The interview about grams on a full screen: what a question looks like, and what each key does."""

from typing import TYPE_CHECKING

from hicra_cli.commands.review_keys import Key
from hicra_cli.commands.review_screen import Frame
from hicra_cli.commands.review_text import (
    KEYS_OF_MOVES,
    STYLES,
    context_text,
    edited,
    help_lines,
    key_lines,
    move_style,
    plain,
)

if TYPE_CHECKING:
    from rich.text import Text

    from hicra_cli.grams.curation import Question
    from hicra_cli.grams.interview import Interview

KEYS = (
    ("a", "accept"), ("r", "reject"), ("d", "deduction"), ("b", "branching"), ("t", "backtracing"), ("s", "skip"),
    ("u", "undo"), ("m", "move"), ("n", "note"), ("/", "search"), ("p", "previous"), ("?", "help"), ("q", "quit"),
)  # fmt: skip
HELP = (
    ("a", "accept the gram, with the move shown"),
    ("d b t", "accept it as deduction, branching or backtracing"),
    ("r", "reject it"),
    ("s", "skip: leave it open and go on; it is asked again"),
    ("u", "take the last answer back, of an earlier session too"),
    ("m", "choose the move; one that is accepted already changes at once"),
    ("n", "write a note; it becomes the reason of the decision"),
    ("/", "search for a gram; Enter alone repeats the search"),
    ("p ←", "the question before, decided or not"),
    ("→", "the question after, decided or not"),
    ("↑ ↓", "scroll through the contexts"),
    ("q", "quit: what is open is left to the rules"),
)


class InterviewDialogue:
    """Shows one question of an interview at a time. Every answer is kept at once by the interview."""

    def __init__(self, interview: "Interview") -> None:
        self._interview = interview
        self._message = interview.notice
        self._mode = ""  # "", help, note, search, move
        self._line = ""
        self._last_search = ""

    @property
    def page(self) -> object:
        """The question shown, or the help."""
        return self._mode == "help", self._interview.position

    def press(self, key: Key) -> bool:
        """What a key does; False for quitting."""
        if self._mode in ("note", "search"):
            self._type(key)
            return True
        self._message = ""
        if self._mode == "move":
            self._choose_move(key)
        elif self._mode == "help":
            self._mode = ""
        elif key.name == "paste":
            self._message = "pasted text presses no keys"
        elif self._interview.current is None:
            return self._press_at_the_end(key)
        elif key.text == "q":
            return False
        else:
            self._press(key)
        return True

    def frame(self, width: int) -> Frame:
        """The question, the help, or the end."""
        from rich.text import Text

        question = self._interview.current
        if self._mode == "help":
            return Frame([Text("Keys", "bold"), Text("")], help_lines(HELP), [], [Text("any key goes back", "dim")])
        if question is None:
            return Frame(self._status(width), self._end(), self._said(), [])
        foot = [] if self._mode else key_lines(KEYS, width)
        head = [*self._status(width), self._title(question)]
        return Frame(head, [*self._about(question), *self._contexts(question)], self._said(), foot)

    def _press(self, key: Key) -> None:
        interview, letter = self._interview, key.text
        if key.name == "left" or letter == "p":
            interview.pages.step(-1)
        elif key.name == "right":
            interview.pages.step(1)
        elif letter in ("a", "r", *KEYS_OF_MOVES):
            self._decide(letter)
        elif letter == "s":
            interview.skip()
        elif letter == "u":
            self._undo()
        elif letter in ("m", "?"):
            self._mode = "move" if letter == "m" else "help"
        elif letter in ("n", "/"):
            self._mode = "note" if letter == "n" else "search"
            self._line = self._note() if letter == "n" else ""
        elif key.name in ("text", "enter", "escape"):
            self._message = "no such key; ? shows them"

    def _press_at_the_end(self, key: Key) -> bool:
        pages = self._interview.pages
        if key.text == "u":
            self._undo()
        elif key.text == "s" and pages.skipped:
            pages.ask_skipped()
        elif key.text == "p" or key.name == "left":
            pages.step(-1)
        return key.text != "q" and key.name not in ("enter", "escape")

    def _type(self, key: Key) -> None:
        if key.name == "escape":
            self._mode = ""
        elif key.name != "enter":
            self._line = edited(self._line, key.name, key.text)
        elif self._mode == "note":
            self._mode = ""
            if self._line.strip() != self._note():
                self._interview.note(self._line.strip())
        else:
            self._mode = ""
            self._last_search = self._line.strip() or self._last_search
            if not self._interview.search(self._last_search):
                self._message = f"no gram contains `{plain(self._last_search)}`"

    def _choose_move(self, key: Key) -> None:
        from hicra_cli.core.records import Move

        self._mode = ""
        if key.text in KEYS_OF_MOVES:
            self._interview.choose_move(Move(KEYS_OF_MOVES[key.text]))
        elif key.name != "escape":
            self._message = "no move was chosen"

    def _decide(self, letter: str) -> None:
        from hicra_cli.core.records import Move

        question = self._interview.current
        assert question is not None
        gram = question.considered.gram
        if letter == "r":
            self._interview.decide("reject")
        else:
            self._interview.decide("accept", Move(KEYS_OF_MOVES[letter]) if letter in KEYS_OF_MOVES else None)
        move = self._interview.move_of(question)
        verdict = "rejected" if letter == "r" else f"accepted as {move}" if move else "accepted"
        self._message = f"{verdict}: {gram}"

    def _undo(self) -> None:
        gram = self._interview.undo()
        self._message = "nothing to take back" if gram is None else f"taken back: the last answer about `{gram}`"

    def _note(self) -> str:
        question = self._interview.current
        return "" if question is None else self._interview.note_about(question.considered.gram)

    def _status(self, width: int) -> "list[Text]":
        """How far it is, as a bar and in numbers."""
        from rich.text import Text

        figures = self._interview.figures
        full = round(width * figures.decided / max(1, figures.total))
        parts: list[tuple[str, str] | str] = [(f"{figures.decided}/{figures.total} decided", "bold")]
        parts.append(f" · {sum(figures.accepted.values())} accepted")
        moves = [
            (f"{figures.accepted[move]} {move}", style) for move, style in STYLES.items() if move in figures.accepted
        ]
        for at, (words, style) in enumerate(moves):
            parts += [" (" if at == 0 else ", ", (words, style)]
        parts += [")" if moves else "", f" · {figures.rejected} rejected"]
        parts += [f" · {figures.skipped} skipped"] if figures.skipped else []
        return [Text.assemble(*parts), Text.assemble(("━" * full, "green"), ("─" * (width - full), "dim"))]

    def _title(self, question: "Question") -> "Text":
        from rich.text import Text

        gram, move = question.considered.gram, self._interview.move_of(question)
        text = Text.assemble((gram, move_style(move)), f"   {move or 'no move'}")
        if decision := self._interview.decision(gram):
            words = "accepted" if decision.verdict == "accept" else "rejected"
            text.append(f"   {words}", "bold green" if decision.verdict == "accept" else "bold red")
        return text

    def _about(self, question: "Question") -> "list[Text]":
        """What is known of the gram, and what the rules would do."""
        from rich.text import Text

        considered, suggested = question.considered, question.suggested
        lines = [Text(f"{considered.count:,} uses in {considered.document_frequency:,} problems", "dim")]
        if annotation := considered.annotation:
            by = plain(" ".join(part for part in (annotation.annotator, annotation.model) if part))
            view = annotation.move or ("not strategic" if annotation.labelled else "not labelled")
            lines.append(
                Text(f"{by}: {view}, confidence {annotation.confidence:.2f}. {plain(annotation.reason)}", "dim")
            )
        repeated = considered.annotation is not None and suggested.reason == considered.annotation.reason
        why = "" if repeated else f": {plain(suggested.reason)}"
        lines.append(Text(f"the rules would {suggested.verdict}{why}", "dim"))
        if note := self._note():
            lines.append(Text(f"note: {plain(note)}", "italic"))
        return [*lines, Text("")]

    def _contexts(self, question: "Question") -> "list[Text]":
        from rich.text import Text

        considered, move = question.considered, self._interview.move_of(question)
        shown = [context_text(each, considered.gram, move) for each in considered.contexts]
        apart = [part for text in shown for part in (text, Text(""))][:-1]
        return apart or [Text("no context was kept", "dim")]

    def _end(self) -> "list[Text]":
        from rich.text import Text

        skipped = self._interview.figures.skipped
        lines = [Text(""), Text("No question is open." if not skipped else "All others are decided.", "bold")]
        if skipped:
            lines.append(Text(f"Skipped: {skipped}. s goes through them again, q leaves them to the rules."))
        return [*lines, Text("Enter or q finishes · u takes the last answer back · p goes back", "dim")]

    def _said(self) -> "list[Text]":
        """The line under the contexts: what is being typed, or what has just happened."""
        from rich.text import Text

        if self._mode == "move":
            return [Text("move: d deduction · b branching · t backtracing · Esc none", "bold")]
        if self._mode in ("note", "search"):
            sign = "note: " if self._mode == "note" else "/"
            return [Text.assemble((sign, "bold"), plain(self._line), (" ", "reverse"))]
        return [Text(plain(self._message), "yellow")] if self._message else []
