"""A full-screen conversation in a terminal: a head that stands, a body that scrolls, a foot with the keys.

What is said is a `Dialogue`'s business; here it is fitted to the window, drawn in one write, and keys are passed on.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hicra_cli.commands.review_keys import Key, Keyboard
from hicra_cli.core.output import Output

if TYPE_CHECKING:
    from rich.text import Text

SMALLEST_WIDTH = 20
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?2004h"  # second screen, no cursor, pasted text in brackets
_LEAVE = "\x1b[?2004l\x1b[?25h\x1b[?1049l"


@dataclass(frozen=True, slots=True)
class Frame:
    """What is to be seen, in paragraphs; they are wrapped to the window. foot: left out first where room is short."""

    head: "list[Text]"
    body: "list[Text]" = field(default_factory=list)
    message: "list[Text]" = field(default_factory=list)
    foot: "list[Text]" = field(default_factory=list)


class Dialogue(Protocol):
    """A conversation: what it shows now, and what a key does to it."""

    @property
    def page(self) -> object:
        """Names what is shown: where it changes, the body begins at its first line again."""
        ...

    def frame(self, width: int) -> Frame:
        """What is shown in a window of this many columns."""
        ...

    def press(self, key: Key) -> bool:
        """False ends the conversation."""
        ...


def converse(output: Output, dialogue: Dialogue, descriptor: int) -> None:
    """Talk on the terminal until the dialogue or the input ends. descriptor: where the keys come from."""
    output.talk.flush()
    screen = Screen(output)
    with Keyboard(descriptor, on_stop=screen.leave, on_go_on=screen.enter) as keyboard:
        screen.enter()
        try:
            while True:
                screen.draw(dialogue)
                key = keyboard.read()
                if key.name == "end-of-input" or not (screen.scroll(key) or dialogue.press(key)):
                    return
        finally:
            screen.leave()


class Screen:
    """The terminal that talk goes to."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._page: object = None
        self._first = 0  # line of the body that is shown first
        self._room = 1

    def enter(self) -> None:
        """Change to the second screen: what was on the first one comes back afterwards."""
        self._write(_ENTER)

    def leave(self) -> None:
        """Back to the first screen, with the cursor."""
        self._write(_LEAVE)

    def size(self) -> tuple[int, int]:
        """Columns and lines of the window."""
        try:
            found = os.get_terminal_size(self._output.talk.fileno())
        except (OSError, ValueError):
            return 80, 24
        return (max(found.columns, SMALLEST_WIDTH), found.lines) if found.columns else (80, 24)

    def scroll(self, key: Key) -> bool:
        """Whether the key moved the body."""
        by = {"up": -1, "down": 1, "page-up": 1 - self._room, "page-down": self._room - 1}.get(key.name)
        if by is not None:
            self._first += by
        return by is not None or key.name in ("redraw", "other")

    def draw(self, dialogue: Dialogue) -> None:
        """Show the dialogue as it is now."""
        if dialogue.page != self._page:
            self._page, self._first = dialogue.page, 0
        width, height = self.size()
        frame = dialogue.frame(width)
        head, body, message, foot = (
            self._wrapped(part, width) for part in (frame.head, frame.body, frame.message, frame.foot)
        )
        foot = foot if height - len(head) - len(message) - len(foot) >= 3 else []
        self._room = max(1, height - len(head) - len(message) - len(foot))
        shown = self._visible(body)
        lines = [*head, *shown, *[""] * (self._room - len(shown)), *message, *foot][:height]
        self._write("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[K\x1b[J")

    def _visible(self, body: list[str]) -> list[str]:
        hidden = len(body) - self._room
        self._first = min(max(self._first, 0), max(hidden, 0))
        shown = body[self._first : self._first + self._room]
        below = hidden - self._first
        if below > 0 and self._room > 1:
            shown[-1] = f"  ↓ {below + 1} more lines"
        return shown

    def _wrapped(self, paragraphs: "list[Text]", width: int) -> list[str]:
        """The lines of paragraphs, styled for this terminal."""
        console: Any = self._output.console
        with console.capture() as capture:
            for paragraph in paragraphs:
                for line in paragraph.wrap(console, width) or [paragraph]:
                    line.rstrip()
                    console.print(line, soft_wrap=True)
        return str(capture.get()).split("\n")[:-1]

    def _write(self, text: str) -> None:
        """Past the stream's buffer, which a signal's handler (Ctrl-Z) could find locked."""
        data = text.encode("utf-8", "replace")
        with suppress(OSError, ValueError):  # the terminal is gone: reading keys will end the conversation
            while data:
                data = data[os.write(self._output.talk.fileno(), data) :]
