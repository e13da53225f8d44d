"""How grams look in a terminal: one colour per move, bold and underlined besides, so that nothing hangs on colour."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hicra_cli.core.output import clean

if TYPE_CHECKING:
    from rich.text import Text

# Colours of the terminal's own palette, which its owner has chosen to be readable.
STYLES = {"deduction": "cyan", "branching": "yellow", "backtracing": "magenta", "": "green", "none": "green"}
KEYS_OF_MOVES = {"d": "deduction", "b": "branching", "t": "backtracing"}


def move_style(move: str | None) -> str:
    """The style of a gram with this move."""
    return f"bold underline {STYLES.get(move or '', STYLES[''])}"


def context_text(context: str, gram: str, move: str | None) -> "Text":
    """A context with the gram marked; hostile characters and runs of blanks are gone."""
    from rich.text import Text

    from hicra_cli.grams.highlights import gram_spans

    shown = " ".join(clean(context).split())
    text = Text(f"… {shown} …")
    for start, end in gram_spans(shown, gram):
        text.stylize(move_style(move), start + 2, end + 2)
    return text


def key_lines(keys: Sequence[tuple[str, str]], width: int) -> "list[Text]":
    """Keys with their words, as many to a line as fit: a key is never parted from its word."""
    from rich.text import Text

    lines: list[Text] = []
    for letter, word in keys:
        item = Text.assemble((letter, "bold"), (f" {word}", "dim"))
        if lines and lines[-1].cell_len + 2 + item.cell_len <= width:
            lines[-1].append("  ").append_text(item)
        else:
            lines.append(item)
    return lines


def help_lines(keys: Sequence[tuple[str, str]]) -> "list[Text]":
    """One line for each key and what it does."""
    from rich.text import Text

    return [Text.assemble((f"{names:<7}", "bold"), words) for names, words in keys]


def plain(text: str) -> str:
    """One line without hostile characters."""
    return " ".join(clean(text).split())


def edited(text: str, name: str, typed: str) -> str:
    """A line after a key: characters and pasted text are added, backspace, clear and clear-word take away."""
    if name in ("text", "paste"):
        return text + (typed if name == "text" else plain(typed))
    if name == "backspace":
        return text[:-1]
    if name == "clear-word":
        return text.rstrip()[: text.rstrip().rfind(" ") + 1]
    return "" if name == "clear" else text
