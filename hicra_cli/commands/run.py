"""hicra run"""

from typing import TYPE_CHECKING, Annotated

import typer

from hicra_cli.commands.options import DryRun, Force
from hicra_cli.commands.pipeline import (
    Pipeline,
    Step,
    StepPlan,
    plan_pipeline,
    read_pipeline,
    resolve_step,
    run_pipeline,
)
from hicra_cli.commands.session import Report, Session, describe
from hicra_cli.commands.stage import open_for_plan, single_app, summary_metrics
from hicra_cli.config.layers import Layer, file_layer
from hicra_cli.config.load import override_layers
from hicra_cli.core.output import Table

if TYPE_CHECKING:
    from hicra_cli.stages.base import StageResult

Results = list[tuple[Step, "StageResult"]]


def run(
    session: Session,
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="A YAML file, or `quickstart`.")],
    dry_run: DryRun = False,
    force: Force = False,
) -> Report:
    """Run several stages from a pipeline file; what is unchanged is not repeated.

    The file lists steps with their settings; a step may use what an earlier one made: ${steps.NAME}, and
    ${steps.NAME.policy} for the last policy of a training. Variables, --set and options override every step.

    \b
    Examples:
      hicra run pipeline.yaml
      hicra run pipeline.yaml --set train.steps=10 --json
    """
    found = read_pipeline(pipeline)
    if dry_run:
        return plan_report(session, found)
    return results_report(run_all(session, found, force=force))


def run_all(session: Session, pipeline: Pipeline, *, force: bool) -> Results:
    """Check every step's configuration, then run them all."""
    overrides = session_layers(session)
    for step in pipeline.steps:
        resolve_step(step, overrides, {}, None)
    with session.registry(create=True) as registry:
        return list(run_pipeline(pipeline, overrides, registry, session.output, force=force))


def session_layers(session: Session) -> list[Layer]:
    """What the command line says about every step: `--config`, the environment, `--set`, options."""
    return [*map(file_layer, session.files), *override_layers(session.settings, options=session.options)]


def results_report(results: Results) -> Report:
    """All steps: for people a table, as data a list in order."""
    rows = [
        (step.name, each.artifact.ref, "cached" if each.cached else f"{each.seconds:.1f} s") for step, each in results
    ]
    metrics = {
        f"{step.name}/{name}": value
        for step, each in results
        for name, value in summary_metrics(each.artifact.summary).items()
    }
    steps = [
        {
            "name": step.name,
            "stage": step.stage,
            "artifact": describe(each.artifact),
            "cached": each.cached,
            "run_id": each.run_id,
            "seconds": round(each.seconds, 3),
        }
        for step, each in results
    ]
    return Report(
        [Table(("step", "artifact", "time"), rows)],
        [each.artifact for _, each in results],
        metrics,
        data={"steps": steps},
        cached=all(each.cached for _, each in results),
    )


def plan_report(session: Session, pipeline: Pipeline) -> Report:
    """What would run; nothing is written."""
    overrides = session_layers(session)
    for step in pipeline.steps:
        resolve_step(step, overrides, {}, None)
    with open_for_plan(session.config.home) as registry:
        plans = list(plan_pipeline(pipeline, overrides, registry))
    rows = [(each.step.name, each.step.stage, _state(each)) for each in plans]
    data = [{"name": name, "stage": stage, "state": state} for name, stage, state in rows]
    return Report([Table(("step", "stage", "would"), rows)], data={"steps": data})


def _state(plan: StepPlan) -> str:
    if plan.found is not None:
        return f"reuse {plan.found.ref}"
    return "run after the steps before it" if plan.output is None else f"run and publish {plan.output}"


app = single_app("run", run)
