"""hicra eval --compare A B: the difference of two evaluations, paired by question."""

from pathlib import Path
from typing import TYPE_CHECKING

from hicra_cli.commands.eval_table import layout_of, table_text, write_table
from hicra_cli.commands.session import Report, Session

if TYPE_CHECKING:
    from hicra_cli.core.output import View
    from hicra_cli.report.layouts import Layout


def compare_evaluations(
    session: Session, first: str, second: str, *, layout: "Layout", output: Path | None = None
) -> Report:
    """B - A for every benchmark both have, on stdout or in `output`. Warns of what else than the policy differs."""
    from hicra_cli.report.comparison import compare, csv_rows, document, grid
    from hicra_cli.report.layouts import views
    from hicra_cli.report.tables import to_csv
    from hicra_cli.stages.evaluations import find_evaluation, registry_for

    with registry_for(session.registry, [first, second]) as registry:
        (one, _), (other, _) = (find_evaluation(reference, registry) for reference in (first, second))
    comparison = compare(one, other, seed=session.config.seed)
    for warning in comparison.warnings:
        session.output.warn(warning)
    chosen = layout if output is None else layout_of(output, layout)
    csv = to_csv(*csv_rows(comparison)) if chosen == "csv" else None
    if output is not None:
        write_table(output, csv or table_text(grid(comparison), chosen))
        shown: list[View] = [str(output)]
    else:
        shown = [csv.rstrip("\n")] if csv is not None else views(grid(comparison), chosen)
    metrics = {f"{each.bench}/difference": each.pair.interval.mean for each in comparison.benches}
    if comparison.mean is not None:
        metrics["mean/difference"] = comparison.mean.difference.mean
    return Report(shown, metrics=metrics, data=document(comparison))
