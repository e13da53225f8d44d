"""The table of models by benchmarks as people and programs read it: a grid in percent, records with all digits.

A score is avg@k with its 95 % interval by question, and beside it the share of responses that the token limit cut.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hicra_cli.core.records import Outcome
from hicra_cli.metrics.intervals import Interval
from hicra_cli.report.comparison import MEAN, difference_figure, p_text, share_figure
from hicra_cli.report.layouts import Cell, Figure, Grid, GridRow
from hicra_cli.report.score_table import Difference, DifferenceRow, Row, Score, ScoreRow, ScoreTable

NOTES = ("avg@k in percent with its 95 % interval by question; cut: responses that the token limit ended.",)
DIFFERENCE_NOTE = "Differences in points, paired by question; p: sign-flip test by question, Holm over the row."
FIELDS = (
    "kind", "base", "model", "reference", "bench", "questions", "samples", "average", "low", "high",
    "truncated_fraction", "p", "p_holm", "evaluation", *(outcome.value for outcome in Outcome),
)  # fmt: skip


def grid(table: ScoreTable) -> Grid:
    """The table for people. The mean stands last where there are several benchmarks."""
    with_mean = len(table.benches) > 1
    columns = ["model"]
    for bench in table.benches:
        k = table.samples[bench]
        columns += [bench if k is None else f"{bench} avg@{k}", "cut"]
    columns += [MEAN] if with_mean else []
    rows: list[GridRow] = []
    for place, (base, members) in enumerate(table.groups):
        if base:
            rows.append(GridRow([base], heading=True, ruled=place > 0))
        best = _best(members, table.benches)
        rows += [GridRow(_cells(each, table.benches, best, with_mean=with_mean)) for each in members]
    has_difference = any(isinstance(each, DifferenceRow) for _, members in table.groups for each in members)
    return Grid(columns, rows, (*NOTES, DIFFERENCE_NOTE) if has_difference else NOTES)


def records(table: ScoreTable) -> list[dict[str, Any]]:
    """One record per cell with all digits: for CSV and --json."""
    found: list[dict[str, Any]] = []
    for _, members in table.groups:
        for row in members:
            for bench in table.benches:
                if bench in row.cells:
                    found.append(_record(row, bench, row.cells[bench]))
            if row.mean is not None:
                found.append(_record(row, MEAN, row.mean))
    return found


def _best(members: Sequence[Row], benches: Sequence[str]) -> dict[str, float]:
    """The highest score of each column, as it is shown, where there are two rows to choose from."""
    rows = [each for each in members if isinstance(each, ScoreRow)]
    best = {}
    for bench in benches:
        scores = [_shown(each.cells[bench].interval.mean) for each in rows if bench in each.cells]
        if len(scores) > 1:
            best[bench] = max(scores)
    means = [_shown(each.mean.mean) for each in rows if each.mean is not None]
    return best | ({"": max(means)} if len(means) > 1 else {})


def _shown(share: float) -> float:
    return round(100 * share, 1)


def _cells(row: Row, benches: Sequence[str], best: Mapping[str, float], *, with_mean: bool) -> list[Cell]:
    if isinstance(row, DifferenceRow):
        cells: list[Cell] = [f"({row.label} - {row.reference})"]
        for bench in benches:
            cells += [_difference_cell(row.cells.get(bench)), ""]
        return [*cells, _difference_cell(row.mean)] if with_mean else cells
    cells = [row.label]
    for bench in benches:
        score = row.cells.get(bench)
        if score is None:
            cells += ["", ""]
        else:
            is_best = best.get(bench) == _shown(score.interval.mean)
            cells += [share_figure(score.interval, best=is_best), Figure(f"{100 * score.truncated:.1f}%")]
    if not with_mean:
        return cells
    if row.mean is None:
        return [*cells, ""]
    return [*cells, share_figure(row.mean, best=best.get("") == _shown(row.mean.mean))]


def _difference_cell(difference: Difference | None) -> Cell:
    if difference is None:
        return ""
    figure = difference_figure(difference.interval)
    return Figure(figure.main, f"{figure.aside} p {p_text(difference.p_holm)}".strip())


def _record(row: Row, bench: str, cell: Score | Difference | Interval) -> dict[str, Any]:
    found = _head(row, bench, cell if isinstance(cell, Interval) else cell.interval)
    if isinstance(cell, Difference):
        return {**found, "p": cell.p, "p_holm": cell.p_holm}
    if isinstance(cell, Interval):
        return found
    told = {"samples": cell.samples, "truncated_fraction": cell.truncated, "evaluation": cell.ref}
    return {**found, **told, **cell.outcomes}


def _head(row: Row, bench: str, interval: Interval) -> dict[str, Any]:
    is_difference = isinstance(row, DifferenceRow)
    return {
        **dict.fromkeys(FIELDS),
        "kind": "difference" if is_difference else "score",
        "base": row.base,
        "model": row.label,
        "reference": row.reference if isinstance(row, DifferenceRow) else None,
        "bench": bench,
        "questions": interval.num_questions,
        "average": interval.mean,
        "low": None if math.isnan(interval.low) else interval.low,
        "high": None if math.isnan(interval.high) else interval.high,
    }
