"""The blind round on a full screen: a gram in its contexts, and nothing about where it comes from."""

from typing import TYPE_CHECKING

from hicra_cli.commands.review_keys import Key
from hicra_cli.commands.review_screen import Frame
from hicra_cli.commands.review_text import context_text, help_lines, key_lines

if TYPE_CHECKING:
    from rich.text import Text

    from hicra_cli.grams.audit import AuditInterview
    from hicra_cli.grams.audit_draw import AuditItem

QUESTION = "Does this plan, i.e. steer the reasoning (deduce, branch, go back), rather than calculate or state?"
KEYS = (("y", "yes"), ("n", "no"), ("s", "skip"), ("u", "undo"), ("p", "previous"), ("?", "help"), ("q", "quit"))
HELP = (
    ("y", "yes, it plans"),
    ("n", "no, it does not"),
    ("s", "skip: I cannot say; it is asked again"),
    ("u", "take the last answer back"),
    ("p ←", "the one before"),
    ("→", "the one after"),
    ("↑ ↓", "scroll through the contexts"),
    ("q", "quit; the figures are of what is answered by then, the same command goes on"),
)


class AuditDialogue:
    """Shows one item at a time. The colour is the same for all: it must not tell what is of the set."""

    def __init__(self, interview: "AuditInterview") -> None:
        self._interview = interview
        self._message = interview.notice
        self._is_help = False

    @property
    def page(self) -> object:
        """The item shown, or the help."""
        return self._is_help, self._interview.position

    def press(self, key: Key) -> bool:
        """What a key does; False for quitting."""
        self._message = ""
        pages = self._interview.pages
        if self._is_help:
            self._is_help = False
        elif key.text == "u":
            gram = self._interview.undo()
            self._message = "nothing to take back" if gram is None else f"taken back: the answer about `{gram}`"
        elif key.text == "p" or key.name == "left":
            pages.step(-1)
        elif self._interview.current is None:
            if key.text == "s" and pages.skipped:
                pages.ask_skipped()
            return key.text != "q" and key.name not in ("enter", "escape")
        elif key.name == "right":
            pages.step(1)
        elif key.text in ("y", "n"):
            self._interview.judge(key.text == "y")
        elif key.text == "s":
            self._interview.skip()
        elif key.text == "?":
            self._is_help = True
        elif key.text != "q":
            self._message = "no such key; ? shows them"
        return key.text != "q"

    def frame(self, width: int) -> Frame:
        """The item, the help, or the end."""
        from rich.text import Text

        message = [Text(self._message, "yellow")] if self._message else []
        if self._is_help:
            return Frame([Text("Keys", "bold"), Text("")], help_lines(HELP), [], [Text("any key goes back", "dim")])
        item = self._interview.current
        if item is None:
            return Frame(self._status(width), self._end(), message, [])
        head = [*self._status(width), Text(QUESTION, "dim"), Text(""), *self._about(item), Text("")]
        return Frame(head, self._contexts(item), message, key_lines(KEYS, width))

    def _status(self, width: int) -> "list[Text]":
        from rich.text import Text

        done, total = self._interview.num_judged, len(self._interview.items)
        full = round(width * done / max(1, total))
        skipped = f" · {self._interview.num_skipped} skipped" if self._interview.num_skipped else ""
        return [
            Text.assemble((f"{done}/{total} judged", "bold"), skipped),
            Text.assemble(("━" * full, "green"), ("─" * (width - full), "dim")),
        ]

    def _about(self, item: "AuditItem") -> "list[Text]":
        from rich.text import Text

        answer = self._interview.answers.get(item.gram)
        lines = [Text(item.gram, "bold underline cyan")]
        if answer is not None:
            lines.append(Text(f"you: {'yes' if answer else 'no'}", "bold green" if answer else "bold red"))
        return lines

    def _contexts(self, item: "AuditItem") -> "list[Text]":
        from rich.text import Text

        shown = [context_text(each, item.gram, "deduction") for each in item.contexts]
        apart = [part for text in shown for part in (text, Text(""))][:-1]
        return apart or [Text("no context was kept", "dim")]

    def _end(self) -> "list[Text]":
        from rich.text import Text

        skipped = self._interview.num_skipped
        lines = [Text(""), Text("Nothing is open." if not skipped else "All others are judged.", "bold")]
        if skipped:
            lines.append(Text(f"Skipped: {skipped}. s goes through them again."))
        return [*lines, Text("Enter or q finishes · u takes the last answer back · p goes back", "dim")]
