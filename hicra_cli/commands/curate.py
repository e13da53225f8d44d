"""hicra curate"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hicra_cli.commands.options import DryRun, Force, Knob
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import run_stage, single_app
from hicra_cli.core.output import View

if TYPE_CHECKING:
    from hicra_cli.core.registry import Artifact

KNOBS = (
    Knob("--annotations", "curate.annotations"),
    Knob("--gram-set", "curate.gram_set"),
    Knob("--candidates", "curate.candidates"),
    Knob("--decisions", "curate.decisions"),
    Knob("--interactive", "curate.interactive"),
    Knob("--import", "curate.imports"),
    Knob("--export", "curate.export"),
    Knob("--min-confidence", "curate.min_confidence"),
    Knob("--min-df", "curate.min_document_frequency"),
    Knob("--nested", "curate.nested"),
    Knob("--max-grams", "curate.max_grams"),
    Knob("--missed", "curate.missed"),
    Knob("--audit", "curate.audit"),
    Knob("--placebo", "curate.placebo"),
    Knob("--drop", "curate.drop"),
    Knob("--name", "curate.name"),
)
Show = Annotated[
    int,
    typer.Option(
        "--show", metavar="N", min=0, help="Print N sampled rollouts with the grams marked.", show_default=False
    ),
]
STDOUT = Path("-")


def curate(session: Session, show: Show = 0, dry_run: DryRun = False, force: Force = False) -> Report:
    """Turn annotations into a gram-set: thresholds, nested grams, a person's decisions, with full history.

    Reads annotations:NAME, lists of grams and a decisions file, writes gram-set:NAME with a page to look at
    (review.html). --interactive asks about each gram the rules leave open and about grams that may have been missed,
    with single keys and every context; --audit lets a person judge grams and random n-grams blindly. Every answer is
    kept at once, so that one may quit at any time and type the same command to go on. Where stdin is no terminal,
    answers are read from it, a letter a line.

    \b
    Examples:
      hicra curate
      hicra curate --interactive
      hicra curate --min-confidence 0.8 --decisions decisions.csv --show 3
      hicra curate --import mine.txt --name mine
      hicra curate --gram-set gram-set:default --audit 100
      hicra curate --gram-set gram-set:default --placebo
      hicra curate --export - | sort
    """
    options = session.config.curate
    stage = None
    if (options.interactive or options.audit) and not dry_run:
        from hicra_cli.commands.asking import asker
        from hicra_cli.stages.curate import interactive

        stage = interactive(asker(session.output))
        session.resume_hint = "Every answer is kept: type the same command to go on"
    report = run_stage(session, stage=stage, dry_run=dry_run, force=force)
    if dry_run or not report.artifacts:
        return report
    return _shown(session, _exported(session, _described(report)), show)


def _described(report: Report) -> Report:
    """The blind round in a sentence, and where the page is."""
    artifact = report.artifacts[0]
    views: list[View] = [*report.views]
    if audit := artifact.summary.get("audit"):
        views.append(audit_sentence(audit))
    if any(each.path == "review.html" for each in artifact.files):
        views.append(f"To look at in a browser: {artifact.path / 'review.html'}")
    return replace(report, views=views)


def audit_sentence(audit: dict[str, Any]) -> str:
    """What a blind round found, with its intervals."""
    named = (("precision", "of the set's grams"), ("random", "of random n-grams"))
    shares = [f"{_interval(audit, name)} {words}" for name, words in named if name in audit]
    if not shares:
        return "Nothing was judged."
    sentence = f"Judged planning: {' and '.join(shares)}"
    recall = f"; the set has about {_interval(audit, 'recall')} of all planning uses" if "recall" in audit else ""
    return f"{sentence}{recall} (95 % intervals)."


def _interval(audit: dict[str, Any], name: str) -> str:
    low, high = 100 * audit[f"{name}_low"], 100 * audit[f"{name}_high"]
    return f"{100 * audit[name]:.0f} % [{low:.0f}, {high:.0f}]"


def _exported(session: Session, report: Report) -> Report:
    """Write the list of grams; with `-` it is all that stdout gets."""
    target = session.config.curate.export
    if target is None:
        return report
    artifact = report.artifacts[0]
    if target != STDOUT:
        from hicra_cli.stages.curate import export_grams

        export_grams(artifact, target)
        return replace(report, views=[*report.views, f"The grams were written to {target}"])
    lines = _gram_list(artifact)
    return replace(report, views=[lines.removesuffix("\n")], data={**report.data, "grams": lines.splitlines()})


def _gram_list(artifact: "Artifact") -> str:
    from hicra_cli.grams.gram_set import FILE_NAME, GramSet
    from hicra_cli.grams.lists import gram_list_text

    return gram_list_text(GramSet.load(artifact.file(FILE_NAME)))


def _shown(session: Session, report: Report, size: int) -> Report:
    """Add the sampled rollouts."""
    if size == 0:
        return report
    from hicra_cli.commands.review_show import rollout_data, rollout_views, shown_rollouts

    with session.registry() as registry:
        samples = shown_rollouts(registry, report.artifacts[0], size=size, seed=session.config.seed)
    return replace(
        report,
        views=[*report.views, "", *rollout_views(samples)],
        data={**report.data, "rollouts": rollout_data(samples)},
    )


app = single_app("curate", curate, KNOBS)
