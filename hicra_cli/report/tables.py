"""CSV tables of a diagnosis: every curve, evaluation, gram and check, for a paper's own plots.

A cell that a spreadsheet would run as a formula gets a leading apostrophe; missing values are empty cells; numbers
have all the digits that tell them apart.
"""

import csv
import io
import math
from collections.abc import Iterable, Sequence

from hicra_cli.report.diagnosis import Diagnosis
from hicra_cli.report.visible import visible

Cell = str | int | float | None

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def tables(diagnosis: Diagnosis) -> dict[str, str]:
    """File name -> CSV text."""
    return {
        "steps.csv": _steps(diagnosis),
        "grams.csv": _grams(diagnosis),
        "evaluations.csv": _evaluations(diagnosis),
        "consistency.csv": _consistency(diagnosis),
    }


def to_csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """RFC 4180 with line feeds; texts are neutralised, nan and None are empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def _steps(diagnosis: Diagnosis) -> str:
    names = list(dict.fromkeys(name for run in diagnosis.runs for name in run.series))
    rows = [
        [run.label, step, *(run.series[name][index] if name in run.series else None for name in names)]
        for run in diagnosis.runs
        for index, step in enumerate(run.steps)
    ]
    return to_csv(["run", "step", *names], rows)


def _grams(diagnosis: Diagnosis) -> str:
    header = ["run", "gram", "move", "occurrences", "first_share", "last_share"]
    return to_csv(
        header,
        (
            [run.label, use.gram, use.move, use.occurrences, use.first_share, use.last_share]
            for run in diagnosis.runs
            for use in run.grams
        ),
    )


def _evaluations(diagnosis: Diagnosis) -> str:
    ks = sorted({k for row in diagnosis.evaluations for k in row.pass_at_k}, key=int)
    header = ["bench", "evaluation", "policy", "questions", "samples", "average", "low", "high"]
    header += [f"pass@{k}" for k in ks]
    header += ["truncated_fraction", "mean_tokens", "difference", "difference_low", "difference_high"]
    rows = []
    for row in diagnosis.evaluations:
        cells: list[Cell] = [row.bench, row.ref, row.policy, row.questions, row.samples, row.average, row.low, row.high]
        cells += [row.pass_at_k.get(k) for k in ks]
        cells += [row.truncated_fraction, row.mean_tokens, row.difference, row.difference_low, row.difference_high]
        rows.append(cells)
    return to_csv(header, rows)


def _consistency(diagnosis: Diagnosis) -> str:
    header = ["run", "number", "steps", "largest_difference", "at_step", "tolerance", "passed"]
    return to_csv(
        header,
        (
            [run.label, check.name, check.steps, check.largest, check.at_step, check.tolerance, str(check.passed)]
            for run in diagnosis.runs
            for check in run.checks
        ),
    )


def _cell(value: Cell) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        text = visible(value)
        return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
    return repr(value)
