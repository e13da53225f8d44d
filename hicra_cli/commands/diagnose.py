"""hicra diagnose"""

from dataclasses import replace

from hicra_cli.commands.options import DryRun, Force, Knob
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import run_stage, single_app

KNOBS = (
    Knob("--training", "diagnose.trainings"),
    Knob("--evaluation", "diagnose.evaluations"),
    Knob("--gram-set", "diagnose.gram_set"),
    Knob("--window", "diagnose.window"),
    Knob("--unit", "diagnose.unit"),
    Knob("--name", "diagnose.name"),
)


def diagnose(session: Session, dry_run: DryRun = False, force: Force = False) -> Report:
    """Compute the paper's curves of one run or several side by side, and write the report.

    Reads training:NAME (by default the newest of each name), evaluations and a gram-set; writes diagnosis:NAME with
    report.html, tables and figures.

    \b
    Examples:
      hicra diagnose
      hicra diagnose --training training:grpo --training training:hicra --evaluation evaluation:final
    """
    report = run_stage(session, dry_run=dry_run, force=force)
    pages = [path for each in report.artifacts if (path := each.path / "report.html").is_file()]
    return replace(report, views=[*report.views, *(f"report: {page}" for page in pages)])


app = single_app("diagnose", diagnose, KNOBS)
