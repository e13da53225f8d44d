"""One table of numbers in several layouts: terminal, Markdown, LaTeX (booktabs).

Texts come from users, models and data: each layout escapes what it would read as its own language. `Figure`s are ours.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hicra_cli.core.output import Table, View
from hicra_cli.report.visible import visible

Layout = Literal["terminal", "markdown", "latex", "csv"]
SUFFIXES: dict[str, Layout] = {".md": "markdown", ".tex": "latex", ".csv": "csv"}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in a cell; `aside` is set smaller (its interval), `best` in bold."""

    main: str
    aside: str = ""
    best: bool = False

    def __str__(self) -> str:
        return f"{self.main} {self.aside}".rstrip()


Cell = str | Figure


@dataclass(frozen=True, slots=True)
class GridRow:
    """A row; a heading has one cell, which reaches over all columns. ruled: a line stands above it."""

    cells: Sequence[Cell]
    heading: bool = False
    ruled: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """Columns and rows. notes: sentences below the table."""

    columns: Sequence[str]
    rows: Sequence[GridRow]
    notes: Sequence[str] = ()


def views(grid: Grid, layout: Layout) -> list[View]:
    """What a command shows; CSV is no table for people and is not made here."""
    if layout == "terminal":
        return [terminal(grid), *grid.notes]
    return [(markdown if layout == "markdown" else latex)(grid).rstrip("\n")]


def terminal(grid: Grid) -> Table:
    """Aligned columns without marks."""
    width = len(grid.columns)
    rows = [[str(cell) for cell in row.cells] + [""] * (width - len(row.cells)) for row in grid.rows]
    return Table(grid.columns, rows)


def markdown(grid: Grid) -> str:
    """A table of GitHub's dialect; headings are bold rows, the best number of a group is bold."""
    lines = [_markdown_line(list(map(escape_markdown, grid.columns)))]
    lines.append(_markdown_line(["---", *["---:"] * (len(grid.columns) - 1)]))
    for row in grid.rows:
        cells = [_markdown_cell(cell) for cell in row.cells]
        cells = [f"**{cells[0]}**"] if row.heading else cells
        lines.append(_markdown_line(cells + [""] * (len(grid.columns) - len(cells))))
    return "\n".join([*lines, *(f"\n{escape_markdown(note)}" for note in grid.notes)]) + "\n"


def latex(grid: Grid) -> str:
    """A `tabular` for booktabs; the rest of the float is the paper's own business."""
    width = len(grid.columns)
    lines = ["% needs \\usepackage{booktabs}", rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule"]
    lines += [_latex_line([escape_latex(column) for column in grid.columns]), r"\midrule"]
    for row in grid.rows:
        lines += [r"\midrule"] if row.ruled else []
        cells = [_latex_cell(cell) for cell in row.cells]
        if row.heading:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{cells[0]}}}}} \\")
        else:
            lines.append(_latex_line(cells + [""] * (width - len(cells))))
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*lines, *(f"% {_one_line(note)}" for note in grid.notes)]) + "\n"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line, inside a table."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&!])", r"\\\1", _one_line(text))


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is, on one line."""
    return "".join(_LATEX.get(character, character) for character in _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(visible(text).split())


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape_markdown(cell)
    return f"{f'**{cell.main}**' if cell.best else cell.main} {cell.aside}".rstrip()


def _latex_line(cells: Sequence[str]) -> str:
    line = " & ".join(cells) + r" \\"
    # After the line break before it, `[` would begin a length and `*` forbid a page break.
    return "{}" + line if line.startswith(("[", "*")) else line


def _latex_cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape_latex(cell)
    main, aside = (escape_latex(part).replace("-", "$-$") for part in (cell.main, cell.aside))
    main = rf"\textbf{{{main}}}" if cell.best else main
    return rf"{main} {{\scriptsize {aside}}}" if aside else main
