"""From sampled rows to published ones: a verdict for each, whatever its response holds."""

from collections.abc import Sequence

from hicra_cli.config.task import TaskConfig
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import FinishReason, Outcome, Prompt, Verdict
from hicra_cli.grading import GradingPool
from hicra_cli.tasks.benchmarks import Benchmark
from hicra_cli.tasks.countdown import grade_countdown
from hicra_cli.tasks.problems import golds

from .samples import Row

ROWS_PER_GRADING = 256
NOT_SAMPLED = "none"  # finish_reason of a question that was never given to the model


def graded_rows(rows: Sequence[Row], benches: Sequence[Benchmark], task: TaskConfig, progress: Progress) -> list[Row]:
    """The published rows: sample, verdict, text and gold."""
    prompts = {(bench.name, prompt.id): (bench, prompt) for bench in benches for prompt in bench.prompts}
    graded: list[Row] = []
    with (
        GradingPool(workers=task.grader_workers, timeout_s=task.grader_timeout_s) as pool,
        progress.phase("grade", len(rows)) as advance,
    ):
        for start in range(0, len(rows), ROWS_PER_GRADING):
            chunk = rows[start : start + ROWS_PER_GRADING]
            asked = [prompts[row["bench"], row["question"]] for row in chunk]
            verdicts = _verdicts(chunk, asked, pool)
            graded += [
                _published(row, verdict, prompt)
                for row, verdict, (_, prompt) in zip(chunk, verdicts, asked, strict=True)
            ]
            advance(len(chunk))
    return graded


def _verdicts(rows: Sequence[Row], asked: Sequence[tuple[Benchmark, Prompt]], pool: GradingPool) -> list[Verdict]:
    """One per row, in order. Maths goes through the pool as one list, so that its workers share the work."""
    verdicts: list[Verdict | None] = [None] * len(rows)
    for place, (row, (bench, prompt)) in enumerate(zip(rows, asked, strict=True)):
        if "obstacle" in row:
            verdicts[place] = Verdict(0.0, Outcome.ERROR, detail=row["obstacle"])
        elif bench.kind == "countdown":
            verdicts[place] = grade_countdown(row["text"], prompt.answer, truncated=_is_cut(row))
    open_places = [place for place, verdict in enumerate(verdicts) if verdict is None]
    items = [(rows[place]["text"], golds(asked[place][1]), _is_cut(rows[place])) for place in open_places]
    for place, verdict in zip(open_places, pool.grade_many(items), strict=True):
        verdicts[place] = verdict
    return [verdict for verdict in verdicts if verdict is not None]


def _is_cut(row: Row) -> bool:
    return bool(row["finish_reason"] == FinishReason.LENGTH.value)


def _published(row: Row, verdict: Verdict, prompt: Prompt) -> Row:
    kept = {name: value for name, value in row.items() if name not in ("text", "obstacle")}
    judged = {
        "reward": verdict.reward,
        "outcome": verdict.outcome.value,
        "answer": verdict.answer,
        "detail": verdict.detail,
    }
    return {**kept, **judged, "gold": prompt.answer, "text": row["text"]}
