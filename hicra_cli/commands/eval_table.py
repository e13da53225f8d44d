"""hicra eval --table REF …: models by benchmarks, from any number of evaluations."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hicra_cli.commands.session import Report, Session

if TYPE_CHECKING:
    from hicra_cli.report.layouts import Grid, Layout
    from hicra_cli.report.score_table import Entry, ScoreTable

_LABELLED = re.compile(r"(?P<label>[^=/\\]{1,80})=(?P<reference>.+)", re.DOTALL)


def tabulate_evaluations(session: Session, refs: Sequence[str], *, layout: "Layout", output: Path | None) -> Report:
    """The table on stdout, or in `output`, whose suffix .md, .tex or .csv tells the layout where none is given.

    refs: `evaluation:NAME`, a folder with samples.jsonl, or LABEL=either, where LABEL names the row.
    """
    from hicra_cli.report.layouts import views
    from hicra_cli.report.score_layout import grid, records
    from hicra_cli.report.score_table import score_table

    table = score_table(_entries(session, refs), seed=session.config.seed)
    for warning in table.warnings:
        session.output.warn(warning)
    data = {"benchmarks": list(table.benches), "rows": records(table)}
    if output is None:
        return Report([_csv(table).rstrip("\n")] if layout == "csv" else views(grid(table), layout), data=data)
    chosen = layout_of(output, layout)
    write_table(output, _csv(table) if chosen == "csv" else table_text(grid(table), chosen))
    return Report([str(output)], data={**data, "output": str(output)})


def layout_of(output: Path, layout: "Layout") -> "Layout":
    """What the file's suffix tells, where no layout was asked for."""
    from hicra_cli.report.layouts import SUFFIXES

    return SUFFIXES.get(output.suffix.lower(), layout) if layout == "terminal" else layout


def write_table(output: Path, text: str) -> None:
    """The file, whole or not at all. Raises RunError."""
    from hicra_cli.core.filesystem import storage_errors, write_durably

    with storage_errors("writing the table", output.parent):
        write_durably(output, text.encode())


def table_text(grid: "Grid", layout: "Layout") -> str:
    """What a file holds; a terminal table is as on the screen."""
    from hicra_cli.core.output import Table, table_lines
    from hicra_cli.report.layouts import views

    lines = [
        line for view in views(grid, layout) for line in (table_lines(view) if isinstance(view, Table) else [view])
    ]
    return "\n".join(lines) + "\n"


def _entries(session: Session, refs: Sequence[str]) -> "list[Entry]":
    from hicra_cli.report.score_table import Entry
    from hicra_cli.stages.evaluations import find_evaluation, origin_of, registry_for, short_names

    labelled = [None if Path(each).is_dir() else _LABELLED.fullmatch(each) for each in refs]
    references = [match["reference"] if match else each for match, each in zip(labelled, refs, strict=True)]
    entries = []
    with registry_for(session.registry, references) as registry:
        for match, reference in zip(labelled, references, strict=True):
            scores, artifact = find_evaluation(reference, registry)
            origin = origin_of(scores, artifact, registry)
            # A folder tells no lineage: under a label of its own it stands with the others that have one.
            base = "" if match and artifact is None else origin.base
            entries.append(Entry(base, match["label"].strip() if match else origin.method, origin.policy, scores))
    names = short_names(list(dict.fromkeys(each.base for each in entries)))
    return [replace(each, base=names[each.base]) for each in entries]


def _csv(table: "ScoreTable") -> str:
    from hicra_cli.report.score_layout import FIELDS, records
    from hicra_cli.report.tables import to_csv

    return to_csv(FIELDS, [[record[name] for name in FIELDS] for record in records(table)])
