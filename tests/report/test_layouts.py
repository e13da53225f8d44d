"""One table in several layouts; hostile texts stay texts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core.output import Table
from hicra_cli.report.layouts import Figure, Grid, GridRow, escape_latex, escape_markdown, latex, markdown, views

GRID = Grid(
    ("model", "aime24 avg@32", "cut"),
    (
        GridRow(["Qwen3-4B_Base"], heading=True),
        GridRow(["GRPO", Figure("24.9", "[12.0, 44.1]"), Figure("3.1%")]),
        GridRow(["(HICRA - GRPO)", Figure("-6.1", "[-9.0, 1.2]", best=True), ""], ruled=True),
    ),
    ("cut: at 100 % of the limit",),
)


def test_markdown_as_it_is_written():
    assert markdown(GRID) == (
        "| model | aime24 avg@32 | cut |\n"
        "| --- | ---: | ---: |\n"
        "| **Qwen3-4B\\_Base** |  |  |\n"
        "| GRPO | 24.9 [12.0, 44.1] | 3.1% |\n"
        "| (HICRA - GRPO) | **-6.1** [-9.0, 1.2] |  |\n"
        "\ncut: at 100 % of the limit\n"
    )


def test_latex_as_it_is_written():
    assert latex(GRID) == (
        "% needs \\usepackage{booktabs}\n"
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        "model & aime24 avg@32 & cut \\\\\n"
        "\\midrule\n"
        "\\multicolumn{3}{l}{\\textit{Qwen3-4B\\_Base}} \\\\\n"
        "GRPO & 24.9 {\\scriptsize [12.0, 44.1]} & 3.1\\% \\\\\n"
        "\\midrule\n"
        "(HICRA - GRPO) & \\textbf{$-$6.1} {\\scriptsize [$-$9.0, 1.2]} &  \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "% cut: at 100 % of the limit\n"
    )


def test_the_terminal_shows_plain_rows_and_notes():
    table, note = views(GRID, "terminal")
    assert isinstance(table, Table)
    assert table.rows[0] == ["Qwen3-4B_Base", "", ""]
    assert table.rows[1] == ["GRPO", "24.9 [12.0, 44.1]", "3.1%"]
    assert note == GRID.notes[0]


def test_specials_are_escaped():
    assert escape_latex(r"50%_a&b#{c}~^\x$") == (
        r"50\%\_a\&b\#\{c\}\textasciitilde{}\textasciicircum{}\textbackslash{}x\$"
    )
    assert escape_markdown("a|b*c_[d](e)<f>`") == r"a\|b\*c\_\[d\](e)\<f\>\`"


def test_a_row_that_starts_with_a_bracket_is_no_length_of_the_line_break_before():
    lines = latex(Grid(("model", "x"), (GridRow(["[2em]", "b"]), GridRow(["*", "b"])))).splitlines()
    assert lines[5:7] == [r"{}[2em] & b \\", r"{}* & b \\"]


@given(st.text())
def test_no_text_breaks_a_table(text):
    for layout in (markdown, latex):
        plain = layout(Grid(("model", "x"), (GridRow(["a", "b"]),)))
        assert layout(Grid(("model", "x"), (GridRow([text, "b"]),))).count("\n") == plain.count("\n")
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", escape_markdown(text))
    bare = re.sub(r"\\(?:text[a-z]+\{\}|[{}$&#%_])", "", escape_latex(text))
    assert not set(bare) & set("\\{}$&#%_~^")


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\u202eb", "line\nbreak"])
def test_what_would_steer_is_shown_instead(text):
    for escaped in (escape_markdown(text), escape_latex(text)):
        assert "\x1b" not in escaped
        assert "\u202e" not in escaped
        assert "\n" not in escaped
