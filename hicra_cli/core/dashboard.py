"""The live view of a long phase on a terminal: a bar with the time left, what is being done, figures with trends.

Lines are cut to the terminal's width here, because rich counts the lines that it drew to draw over them. `clean` is
the caller's: it takes from foreign text what a terminal would obey.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hicra_cli.core.progress import Figure

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

CELL = 36  # columns of name, value and trend
NAME = 13
TREND = 10
BLOCKS = "▁▂▃▄▅▆▇█"


class LiveBoard:
    """Implements `hicra_cli.core.progress.Dashboard`; rich draws it several times a second."""

    def __init__(self, label: str, total: int, *, done: int, clean: Callable[[str], str], unicode: bool) -> None:
        self._label, self._total, self._done, self._before = label, total, done, done
        self._clean, self._unicode = clean, unicode
        self._activity = ""
        self._since = self._started = time.monotonic()
        self._figures: Sequence[Figure] = ()
        self.inner = ""

    def advance(self, count: int = 1, *, status: str = "") -> None:
        self._done += count

    def tell(self, activity: str) -> None:
        if activity.split(" ")[0] != self._activity.split(" ")[0]:
            self._since = time.monotonic()
        self._activity = activity

    def show(self, figures: Sequence[Figure]) -> None:
        self._figures = figures

    def lines(self, width: int, *, now: float) -> "list[Text]":
        """The view at this width, each line at most that wide."""
        from rich.text import Text

        doing = self.inner or self._activity
        since = "" if not doing else f"{doing} · {now - self._since:.0f} s"
        lines = [self._bar(width, now), Text(self._clean(since), style="dim"), *self._grid(width)]
        for line in lines:
            line.truncate(width, overflow="ellipsis" if self._unicode else "crop")
            line.no_wrap = True
        return lines

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        yield from self.lines(options.max_width, now=time.monotonic())

    def _bar(self, width: int, now: float) -> "Text":
        from rich.text import Text

        elapsed, fresh = now - self._started, self._done - self._before
        left = f", {_clock(elapsed / fresh * (self._total - self._done))} left" if fresh else ""
        words = f"{self._clean(self._label)} {self._done}/{self._total} · {_clock(elapsed)}{left}"
        room = min(24, width - len(words) - 1)
        if room < 6:
            return Text(words)
        filled = room * self._done // max(self._total, 1)
        full, empty = ("━", "─") if self._unicode else ("#", "-")
        return Text.assemble((full * filled, "green"), (empty * (room - filled), "dim"), " ", words)

    def _grid(self, width: int) -> "list[Text]":
        """Cells row by row, as many beside each other as there is room for."""
        from rich.text import Text

        columns = max(1, min(3, (width + 2) // (CELL + 2)))
        cells = [self._cell(figure) for figure in self._figures]
        rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
        return [Text("  ").join(row) for row in rows]

    def _cell(self, figure: Figure) -> "Text":
        from rich.text import Text

        value = self._clean(figure.text).replace("\n", " ")
        trend = sparkline(figure.trend[-TREND:]) if self._unicode and len(figure.trend) > 1 else ""
        room = CELL - NAME - 1
        shown = f"{value} " if trend and len(value) + len(trend) < room else value
        cell = Text.assemble((self._clean(figure.name)[:NAME].ljust(NAME), "dim"), " ", shown)
        if shown is not value:
            cell.append(trend.rjust(room - len(shown)), style="cyan")
        cell.truncate(CELL, pad=True)
        return cell


def sparkline(values: Sequence[float]) -> str:
    """One block per value, the lowest of them at the bottom and the highest at the top; all equal: the middle.

    What differs by rounding alone counts as equal.
    """
    low, high = min(values), max(values)
    if high - low <= 1e-5 * max(abs(low), abs(high)):
        return BLOCKS[3] * len(values)
    return "".join(BLOCKS[round((value - low) / (high - low) * (len(BLOCKS) - 1))] for value in values)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
