"""hicra eval --dry-run: what would be asked, in the policy's own words, and the most it can cost."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import load_stage, open_for_plan, plan_report
from hicra_cli.core.output import Table, View

if TYPE_CHECKING:
    from hicra_cli.stages.eval_preview import BenchPreview, MeasuredSpeed

HEADER = ("benchmark", "questions x samples", "prompt tokens", "longest", "response tokens at most", "too long")


def preview_evaluation(session: Session, *, probe: bool) -> Report:
    """The plan with prompts and tokens. probe: also load the model, sample for a moment and tell the time it took."""
    from hicra_cli.stages.base import stage_key
    from hicra_cli.stages.eval_preview import measure_speed, preview

    stage = load_stage("eval")
    with open_for_plan(session.config.home) as registry:
        plan = stage.plan(session.config, registry)
        found = registry.find(stage_key(stage, plan))
    report = plan_report(stage, plan, found.ref if found is not None else None)
    policy = plan.inputs["policy"].path
    benches = preview(session.config, policy)
    speed = measure_speed(session.config, policy) if probe else None
    views: list[View] = [*report.views, _table(benches), *_examples(benches)]
    data: dict[str, Any] = {**report.data, "benchmarks": [asdict(each) for each in benches]}
    if speed is not None:
        views.append(_time(benches, speed))
        data["speed"] = {**asdict(speed), "tokens_per_s": speed.tokens_per_s}
    return Report(views, data=data, cached=report.cached)


def _table(benches: "list[BenchPreview]") -> Table:
    rows = [
        (
            each.name,
            f"{each.questions} x {each.samples}",
            f"{each.prompt_tokens:,}",
            f"{each.longest_prompt:,}",
            f"{each.response_tokens:,}",
            f"{each.too_long}",
        )
        for each in benches
    ]
    total = sum(each.questions * each.samples for each in benches)
    prompts, responses = sum(each.prompt_tokens for each in benches), sum(each.response_tokens for each in benches)
    longest = max((each.longest_prompt for each in benches), default=0)
    too_long = sum(each.too_long for each in benches)
    rows.append(("together", f"{total:,}", f"{prompts:,}", f"{longest:,}", f"{responses:,}", f"{too_long}"))
    return Table(HEADER, rows)


def _examples(benches: "list[BenchPreview]") -> list[View]:
    return [f"first prompt of {each.name}, as the policy gets it:\n{each.example}" for each in benches]


def _time(benches: "list[BenchPreview]", speed: "MeasuredSpeed") -> str:
    most = sum(each.response_tokens for each in benches)
    return (
        f"measured: {speed.tokens_per_s:,.0f} tokens/s with {speed.rows} responses together, their first "
        f"{speed.tokens:,} tokens; at this rate the most there can be takes {most / speed.tokens_per_s:,.0f} s "
        "(longer responses are slower, shorter ones end earlier)"
    )
