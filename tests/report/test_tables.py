"""CSV tables: complete, exact, and harmless in a spreadsheet."""

import csv
import io
import math

from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.report.tables import tables, to_csv
from tests.report.example import example


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_every_curve_of_every_run_is_in_the_table():
    diagnosis = example(steps=3)
    header, *body = rows(tables(diagnosis)["steps.csv"])
    assert header[:3] == ["run", "step", "reward/mean"]
    assert [row[:2] for row in body] == [
        ["grpo", "1"],
        ["grpo", "2"],
        ["grpo", "3"],
        ["hicra", "1"],
        ["hicra", "2"],
        ["hicra", "3"],
    ]
    assert float(body[0][2]) == diagnosis.runs[0].series["reward/mean"][0]


def test_missing_values_are_empty_and_numbers_exact():
    assert to_csv(["a", "b", "c"], [[math.nan, None, 0.1 + 0.2]]) == "a,b,c\n,,0.30000000000000004\n"


def test_formulas_are_neutralised():
    assert rows(to_csv(["a"], [["=cmd()"], ["+1"], ["-1"], ["@x"], ["\t=1"], ["ok"]])) == [
        ["a"], ["'=cmd()"], ["'+1"], ["'-1"], ["'@x"], ["'\t=1"], ["ok"],
    ]  # fmt: skip


@given(st.text())
def test_any_text_is_one_cell(text):
    assert len(rows(to_csv(["a", "b"], [[text, 1]]))[1]) == 2
