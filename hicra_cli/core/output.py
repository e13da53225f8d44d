"""The only module that prints. Results go to stdout, talk to stderr.

`claim_stdout` keeps the real stdout for results and points file descriptor 1 at stderr, because libraries print
there. Text that did not come from us is never read as markup and loses its control characters. Machine output is one
line of ASCII JSON and never passes through rich, which would wrap it.
"""

import json
import math
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from hicra_cli.core.progress import Advance, Dashboard, Figure, SilentDashboard

if TYPE_CHECKING:
    from rich.console import Console

    from hicra_cli.core.dashboard import LiveBoard

LINE_EVERY_S = 5.0

# C0 and C1 controls but newline and tab, line and paragraph separators, bidirectional and invisible format
# characters, lone surrogates
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def clean(text: str) -> str:
    """Text that is safe for a terminal: hostile characters become a visible replacement character."""
    return _UNSAFE.sub("\ufffd", text.replace("\r\n", "\n"))


@dataclass(frozen=True, slots=True)
class Table:
    """A result for people: columns are as wide as their content, never cut."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


class Styled(str):
    """A result with styles: a terminal shows `pieces` of (text, style), everything else the string itself."""

    pieces: Sequence[tuple[str, str]]

    def __new__(cls, plain: str, pieces: Sequence[tuple[str, str]]) -> "Styled":
        made = super().__new__(cls, plain)
        made.pieces = pieces
        return made


View = str | Table


def claim_stdout() -> TextIO:
    """The real stdout as a private stream; from now on file descriptor 1 is stderr, here and in child processes."""
    try:
        private = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # stdout or stderr was closed by the caller
        return open(os.devnull, "w", encoding="utf-8")
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return os.fdopen(private, "w", encoding=encoding, errors="backslashreplace")


def json_line(document: Mapping[str, Any]) -> str:
    """One line of ASCII JSON; numbers that JSON has no word for (NaN, infinities) become null."""
    return json.dumps(_finite(document), ensure_ascii=True, allow_nan=False, default=str)


@dataclass
class Output:
    """What a command may say. Implements `hicra_cli.core.progress.Progress`.

    as_json: stdout is one JSON document. quiet: no progress and no notes. verbose: notes of detail as well.
    """

    results: TextIO
    talk: TextIO
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    warnings: list[str] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _console: "Console | None" = field(default=None, repr=False)
    _bars: Any = field(default=None, repr=False)
    _depth: int = field(default=0, repr=False)
    _board: "LiveBoard | None" = field(default=None, repr=False)

    # ---- talk -------------------------------------------------------------------------------------------------

    @contextmanager
    def phase(self, label: str, total: int | None = None) -> Iterator[Advance]:
        """A bar on a terminal, a plain line every few seconds elsewhere, nothing when quiet."""
        if self.quiet:
            yield _no_advance
        elif self._board is not None:
            yield from self._inside(self._board, label, total)
        elif self.talk.isatty() and self.console.is_terminal:
            yield from self._bar(label, total)
        else:
            meter = _LineMeter(self, label, total)
            yield meter.advance
            meter.finish()

    @contextmanager
    def dashboard(self, label: str, total: int, *, done: int = 0) -> Iterator[Dashboard]:
        """A live view on a terminal, else like `phase`. Phases inside it show in its line of activity."""
        if self.quiet:
            yield SilentDashboard()
        elif self.talk.isatty() and self.console.is_terminal:
            yield from self._live(label, total, done)
        else:
            meter = _LineMeter(self, label, total, done=done)
            yield meter
            meter.finish()

    def note(self, text: str) -> None:
        """A sentence about what happens."""
        if not self.quiet:
            self._say(text)

    def detail(self, text: str) -> None:
        """A sentence for --verbose."""
        if self.verbose:
            self._say(text)

    def warn(self, text: str) -> None:
        """A warning: shown even when quiet, and part of the JSON document. The same text is shown once."""
        with self._lock:
            if text in self.warnings:
                return
            self.warnings.append(text)
        self._say(text, label="warning: ", style="yellow")

    def error(self, text: str) -> None:
        """The paragraph of a failure."""
        self._say(text, label="error: ", style="bold red")

    def trace(self, text: str) -> None:
        """A traceback under --debug."""
        self._say(text)

    def question(self, text: str) -> None:
        """What a person is asked: shown even when quiet."""
        self._say(text)

    # ---- results ----------------------------------------------------------------------------------------------

    def document(self, document: Mapping[str, Any]) -> None:
        """The result of a command under --json: exactly one line."""
        self.results.write(json_line(document) + "\n")
        self.results.flush()

    def show(self, views: Sequence[View]) -> None:
        """The result of a command for people: text and tables on stdout."""
        blocks = [self._block(view) for view in views]
        if blocks:
            self.results.write("\n".join(blocks) + "\n")
            self.results.flush()

    def _block(self, view: View) -> str:
        if isinstance(view, Styled) and self.results.isatty():
            return self._styled(view)
        return clean(view) if isinstance(view, str) else "\n".join(table_lines(view))

    def _styled(self, view: Styled) -> str:
        from rich.console import Console
        from rich.text import Text

        console = Console(file=self.results, markup=False, highlight=False, emoji=False)
        with console.capture() as capture:
            console.print(Text.assemble(*((clean(text), style) for text, style in view.pieces)), end="")
        return capture.get()

    def abandon_results(self) -> None:
        """The reader of stdout went away: drop what is still buffered, silently."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.results.fileno())

    @property
    def console(self) -> "Console":
        """rich's console on stderr; made when first needed, because rich costs import time."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(file=self.talk, markup=False, highlight=False, emoji=False, soft_wrap=True)
        return self._console

    def _say(self, text: str, *, label: str = "", style: str = "") -> None:
        with self._lock:
            if not self.talk.isatty():
                self._write_plain(f"{label}{clean(text)}\n")
                return
            from rich.text import Text

            self.console.print(Text.assemble((label, style), clean(text)))

    def _write_plain(self, line: str) -> None:
        """A log's reader that went away must not stop the work."""
        try:
            self.talk.write(line)
            self.talk.flush()
        except (BrokenPipeError, ValueError):
            self.talk = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

    def _bar(self, label: str, total: int | None) -> Iterator[Advance]:
        bars = self._open_bars()
        task = bars.add_task(clean(label), total=total, status="")

        def advance(count: int = 1, *, status: str = "") -> None:
            changes = {"status": clean(status)} if status else {}
            bars.update(task, advance=count, **changes)

        try:
            yield advance
        finally:
            self._close_bars(task)

    def _live(self, label: str, total: int, done: int) -> Iterator[Dashboard]:
        from rich.live import Live

        from hicra_cli.core.dashboard import LiveBoard

        board = LiveBoard(label, total, done=done, clean=clean, unicode=self.console.encoding.startswith("utf"))
        with Live(board, console=self.console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False):
            self._board = board
            try:
                yield board
            finally:
                self._board = None

    def _inside(self, board: "LiveBoard", label: str, total: int | None) -> Iterator[Advance]:
        done = 0

        def advance(count: int = 1, *, status: str = "") -> None:
            nonlocal done
            done += count
            board.inner = f"{label} {done}{'' if total is None else f'/{total}'} {status}".rstrip()

        advance(0)
        try:
            yield advance
        finally:
            board.inner = ""

    def _open_bars(self) -> Any:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        with self._lock:
            if self._bars is None:
                self._bars = Progress(
                    TextColumn("{task.description}", markup=False),
                    BarColumn(bar_width=24),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                    TextColumn("{task.fields[status]}", markup=False),
                    console=self.console,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._bars.start()
            self._depth += 1
            return self._bars

    def _close_bars(self, task: Any) -> None:
        with self._lock:
            self._bars.update(task, refresh=True)
            self._depth -= 1
            if self._depth == 0:  # inner phases leave with the outermost one
                self._bars.stop()
                self._bars = None


class _LineMeter:
    """Progress for logs: a line at most every LINE_EVERY_S seconds, and one at the end of a phase that took longer."""

    def __init__(self, output: Output, label: str, total: int | None, *, done: int = 0) -> None:
        self._output = output
        self._label = label
        self._total = total
        self._done = self._before = self._told = done
        self._status = ""
        self._started = self._spoken = time.monotonic()

    def advance(self, count: int = 1, *, status: str = "") -> None:
        with self._output._lock:
            self._done += count
            self._status = status or self._status
            now = time.monotonic()
            due = now - self._spoken >= LINE_EVERY_S
            if due:
                self._spoken, self._told = now, self._done
        if due:
            self._output.note(self._line(now))

    def tell(self, activity: str) -> None:
        return None

    def show(self, figures: Sequence[Figure]) -> None:
        return None

    def finish(self) -> None:
        if self._spoken > self._started and self._told < self._done:
            self._output.note(self._line(time.monotonic()))

    def _line(self, now: float) -> str:
        elapsed = now - self._started
        parts = [f"{elapsed:.0f} s"]
        fresh = self._done - self._before
        if self._total and fresh > 0 and self._done < self._total:
            parts.append(f"about {elapsed / fresh * (self._total - self._done):.0f} s left")
        count = f"{self._done}/{self._total}" if self._total is not None else str(self._done)
        return f"{self._label}: {count} ({', '.join(parts)}) {self._status}".rstrip()


def table_lines(table: Table) -> list[str]:
    """A table as lines: two blanks between columns, numbers to the right, the same on a terminal and in a pipe."""
    head = [table.columns] if any(table.columns) else []  # a table without column names has no line for them
    cells = [[clean(str(cell)).replace("\n", " ") for cell in row] for row in [*head, *table.rows]]
    widths = [max((len(row[column]) for row in cells), default=0) for column in range(len(table.columns))]
    numeric = [
        bool(table.rows) and all(_NUMBER.fullmatch(row[column]) for row in cells[len(head) :])
        for column in range(len(widths))
    ]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    return ([clean(table.title)] if table.title else []) + lines


_NUMBER = re.compile(r"[-+]?[\d.,]+(?:e[-+]?\d+)?%?( [a-zA-Z]{1,4})?|-|")


def _no_advance(count: int = 1, *, status: str = "") -> None:
    return None


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
