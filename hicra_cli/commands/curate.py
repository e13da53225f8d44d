"""hicra curate"""

from hicra_cli.commands.options import DryRun, Force, Knob
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import run_stage, single_app

KNOBS = (
    Knob("--annotations", "curate.annotations"),
    Knob("--decisions", "curate.decisions"),
    Knob("--interactive", "curate.interactive"),
    Knob("--min-confidence", "curate.min_confidence"),
    Knob("--min-df", "curate.min_document_frequency"),
    Knob("--nested", "curate.nested"),
    Knob("--max-grams", "curate.max_grams"),
    Knob("--name", "curate.name"),
)


def curate(session: Session, dry_run: DryRun = False, force: Force = False) -> Report:
    """Turn annotations into a gram-set: thresholds, nested grams, a person's decisions, with full history.

    Reads annotations:NAME and a decisions file, writes gram-set:NAME. --interactive asks about each gram the rules
    leave open, shows its contexts, and keeps every answer in HOME/decisions/NAME.jsonl or the --decisions file.

    \b
    Examples:
      hicra curate
      hicra curate --min-confidence 0.8 --decisions decisions.jsonl
      hicra curate --interactive
    """
    stage = None
    if session.config.curate.interactive and not dry_run:
        from hicra_cli.commands.asking import asker
        from hicra_cli.stages.curate import interactive

        stage = interactive(asker(session.output))
    return run_stage(session, stage=stage, dry_run=dry_run, force=force)


app = single_app("curate", curate, KNOBS)
