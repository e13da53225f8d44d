"""The paper's table from evaluations made by hand, in every layout."""

import csv
import io

import pytest

from hicra_cli.core.errors import UsageError
from hicra_cli.core.output import Table, table_lines
from hicra_cli.report.layouts import latex, markdown, terminal
from hicra_cli.report.score_layout import FIELDS, grid, records
from hicra_cli.report.score_table import DifferenceRow, Entry, ScoreRow, score_table
from hicra_cli.report.scored import read_scored
from hicra_cli.report.tables import to_csv
from tests.report.evaluated import write_evaluation


def rewards(*rows, bench="aime24"):
    """One string of 0 and 1 per question."""
    return {bench: {f"q{place}": [int(each) for each in row] for place, row in enumerate(rows)}}


@pytest.fixture
def entry(tmp_path):
    def make(method, found, *, base="Qwen3-4B-Base", policy="", name=None, **about):
        name = name or f"evaluation:{method.lower()}@v1"
        folder = write_evaluation(tmp_path / name.replace(":", "-"), found, **about)
        return Entry(base, method, policy or f"policy:{method.lower()}@v1", read_scored(name, folder))

    return make


@pytest.fixture
def table(entry):
    return score_table(
        [
            entry("HICRA", rewards("11", "10", "11", "01")),
            entry("Base", rewards("00", "10", "00", "00"), cut=2),
            entry("GRPO", rewards("10", "10", "00", "01")),
        ]
    )


def test_rows_stand_as_in_the_paper(table):
    ((base, rows),) = table.groups
    assert base == "Qwen3-4B-Base"
    assert [each.label for each in rows] == ["Base", "GRPO", "HICRA", "HICRA"]
    assert (table.benches, dict(table.samples)) == (("aime24",), {"aime24": 2})
    difference = rows[-1]
    assert isinstance(difference, DifferenceRow)
    # HICRA 1 1/2 1 1/2, GRPO 1/2 1/2 0 1/2: differences 1/2 0 1 0; of the sums ±1/2 ±1 two of four reach 3/2
    assert (difference.reference, difference.cells["aime24"].interval.mean) == ("GRPO", 0.375)
    assert difference.cells["aime24"].p == 0.5


def test_the_terminal_table(table):
    made = terminal(grid(table))
    assert isinstance(made, Table)
    lines = table_lines(made)
    assert lines[0].split() == ["model", "aime24", "avg@2", "cut"]
    assert lines[1] == "Qwen3-4B-Base"
    assert [line.split()[0] for line in lines[2:]] == ["Base", "GRPO", "HICRA", "(HICRA"]
    assert "12.5 [" in lines[2]
    assert lines[2].rstrip().endswith("25.0%")
    assert "+37.5 [" in lines[5]
    assert lines[5].rstrip().endswith("p 0.50")


def test_the_best_is_bold_in_markdown_and_latex(table):
    assert [line for line in markdown(grid(table)).splitlines() if "**" in line][1].startswith("| HICRA | **75.0** [")
    (bold,) = [line for line in latex(grid(table)).splitlines() if "textbf" in line]
    assert bold.startswith(r"HICRA & \textbf{75.0} {\scriptsize [")
    assert r"\multicolumn{3}{l}{\textit{Qwen3-4B-Base}} \\" in latex(grid(table))


def test_csv_has_all_digits(table):
    text = to_csv(FIELDS, [[record[name] for name in FIELDS] for record in records(table)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["kind"] for row in rows] == ["score", "score", "score", "difference"]
    assert (rows[0]["model"], rows[0]["average"], rows[0]["truncated_fraction"]) == ("Base", "0.125", "0.25")
    assert (rows[0]["questions"], rows[0]["samples"], rows[0]["evaluation"]) == ("4", "2", "evaluation:base@v1")
    assert float(rows[3]["low"]) == table.groups[0][1][3].cells["aime24"].interval.low
    assert (rows[0]["correct"], rows[0]["wrong"], rows[0]["timeout"], rows[3]["correct"]) == ("1", "7", "0", "")
    assert (rows[3]["reference"], rows[3]["p"], rows[3]["samples"]) == ("GRPO", "0.5", "")


def test_benchmarks_stand_in_the_papers_order_with_a_mean(entry):
    both = {**rewards("1", bench="gsm8k"), **rewards("1", "0", bench="math500"), **rewards("0", bench="aime25")}
    made = score_table([entry("Base", both), entry("GRPO", rewards("1", bench="aime25"))])
    assert made.benches == ("aime25", "math500", "gsm8k")
    base, grpo, difference = made.groups[0][1]
    assert isinstance(base, ScoreRow)
    assert base.mean is not None
    assert base.mean.mean == 0.5
    assert grpo.mean is None
    assert (difference.label, list(difference.cells)) == ("GRPO", ["aime25"])
    assert grid(made).columns[-1] == "mean"
    assert {record["bench"] for record in records(made)} == {"aime25", "math500", "gsm8k", "mean"}


def test_evaluations_of_one_policy_share_a_row(entry):
    made = score_table(
        [
            entry("GRPO", rewards("1"), name="evaluation:one@v1"),
            entry("GRPO", rewards("0", bench="amc23"), name="evaluation:two@v1"),
        ]
    )
    ((_, rows),) = made.groups
    assert [(each.label, sorted(each.cells)) for each in rows] == [("GRPO", ["aime24", "amc23"])]


def test_equal_methods_are_told_apart(entry):
    again = entry("GRPO", rewards("0"), policy="policy:grpo@v2", name="evaluation:b@v1")
    labels = [each.label for each in score_table([entry("GRPO", rewards("1")), again]).groups[0][1]]
    assert labels == ["GRPO (policy:grpo@v1)", "GRPO (policy:grpo@v2)"]
    same = entry("GRPO", rewards("0"), name="evaluation:c@v1")
    labels = [each.label for each in score_table([entry("GRPO", rewards("1")), same]).groups[0][1]]
    assert labels == ["GRPO (evaluation:grpo@v1)", "GRPO (evaluation:c@v1)"]


def test_without_grpo_the_base_is_the_reference(entry):
    rows = score_table([entry("Base", rewards("0", "1")), entry("HICRA", rewards("1", "1"))]).groups[0][1]
    assert isinstance(rows[-1], DifferenceRow)
    assert (rows[-1].label, rows[-1].reference) == ("HICRA", "Base")
    alone = score_table([entry("Base", rewards("0"))]).groups[0][1]
    assert [type(each) for each in alone] == [ScoreRow]


def test_every_base_model_has_its_group(entry):
    made = score_table(
        [
            entry("Base", rewards("0"), base="one"),
            entry("Base", rewards("1"), base="two", name="evaluation:d@v1"),
        ]
    )
    assert [base for base, _ in made.groups] == ["one", "two"]
    assert [row.heading for row in grid(made).rows] == [True, False, True, False]


def test_rows_that_were_made_differently_are_told_of(entry):
    other = entry("GRPO", rewards("1"), summary={"sampling": {"temperature": 1.0}})
    made = score_table([entry("Base", rewards("1")), other])
    assert made.warnings == ("aime24: the sampling differs: max_new_tokens 64, temperature 0.6 and temperature 1.0",)


def test_fewer_questions_and_shards_are_told_of(entry):
    shard = {"shard": {"number": 1, "count": 3}}
    made = score_table([entry("Base", rewards("1", "0")), entry("GRPO", rewards("1"), summary=shard)])
    assert made.warnings == (
        "evaluation:grpo@v1 is one shard of 3: merge them first",
        "aime24: the rows are not over the same questions (1 and 2)",
    )


def test_the_difference_of_the_means_is_tested_too(entry):
    before = {**rewards("0", "0"), **rewards("0", "0", "0", bench="amc23")}
    after = {**rewards("1", "1"), **rewards("1", "1", "1", bench="amc23")}
    row = score_table([entry("Base", before), entry("HICRA", after)]).groups[0][1][-1]
    assert isinstance(row, DifferenceRow)
    assert row.mean is not None
    # five of five in one direction: 2 / 2^5
    assert (row.mean.interval.mean, row.mean.p) == (1.0, 0.0625)
    assert str(grid(score_table([entry("Base", before), entry("HICRA", after)])).rows[-1].cells[-1]).endswith("p 0.062")


def test_other_questions_are_refused(entry):
    with pytest.raises(UsageError, match="other gold answers"):
        score_table([entry("Base", rewards("1")), entry("GRPO", rewards("1"), golds={"q0": "7"})])
    with pytest.raises(UsageError, match="needs an evaluation"):
        score_table([])
