"""hicra eval"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hicra_cli.commands.options import COMPUTE_KNOBS, DryRun, Force, Knob, Resume
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import run_stage, single_app
from hicra_cli.core.errors import UsageError

KNOBS = (
    Knob("--bench", "eval.bench"),
    Knob("--policy", "eval.policy"),
    Knob("--samples", "eval.samples"),
    Knob("--pass-k", "eval.pass_k"),
    Knob("--limit", "eval.limit"),
    Knob("--shard", "eval.shard"),
    Knob("--data-dir", "data_dir"),
    Knob("--temperature", "eval.sampling.temperature"),
    Knob("--top-p", "eval.sampling.top_p"),
    Knob("--max-new-tokens", "eval.sampling.max_new_tokens"),
    Knob(
        "--thinking",
        "task.template_options",
        entry="enable_thinking",
        about="Thinking of models whose chat template has the switch (Qwen3); by default what the template does.",
    ),
    Knob("--gram-set", "eval.gram_set"),
    Knob("--name", "eval.name"),
    *COMPUTE_KNOBS,
)
WRITING = ("--compare", "--table", "--read", "--check-overlap", "--probe-contamination")
Layout = Literal["terminal", "markdown", "latex", "csv"]

Probe = Annotated[bool, typer.Option("--probe", help="--dry-run: also sample for a moment to estimate the time.")]
Compare = Annotated[
    tuple[str, str] | None,
    typer.Option("--compare", metavar="A B", help="Instead of sampling: the difference B - A, paired by question."),
]
Tabulate = Annotated[
    list[str],
    typer.Option("--table", metavar="EVALUATION", help="Instead of sampling: models x benchmarks; repeatable."),
]
Merge = Annotated[
    list[str],
    typer.Option("--merge", metavar="EVALUATION", help="Instead of sampling: join the shards into one; repeatable."),
]
CheckOverlap = Annotated[
    list[str],
    typer.Option("--check-overlap", metavar="TRAIN", help="Instead of sampling: benchmark questions in training data."),
]
Contamination = Annotated[
    bool,
    typer.Option("--probe-contamination", help="Instead of sampling: how well the policy completes cut questions."),
]
Read = Annotated[
    str | None,
    typer.Option("--read", metavar="EVALUATION", help="Instead of sampling: questions, answers and verdicts to read."),
]
Failures = Annotated[bool, typer.Option("--failures", help="--read: only questions with a wrong answer, worst first.")]
LayoutOption = Annotated[Layout, typer.Option("--layout", help="--table, --compare: how the table is written.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", help="--compare, --table, --read, --check-overlap, --probe-contamination: write to this file."
    ),
]


def evaluate(
    session: Session,
    dry_run: DryRun = False,
    force: Force = False,
    resume: Resume = False,
    probe: Probe = False,
    compare: Compare = None,
    table: Tabulate = [],  # noqa: B006 (typer's way of a repeatable option)
    merge: Merge = [],  # noqa: B006
    check_overlap: CheckOverlap = [],  # noqa: B006
    probe_contamination: Contamination = False,
    read: Read = None,
    failures: Failures = False,
    layout: LayoutOption = "terminal",
    output: Output = None,
) -> Report:
    """Grade a policy on benchmarks: avg@k and pass@k with 95 % intervals, strict boxed answers.

    Reads a policy and benchmarks (countdown is built in; others come from --data-dir, HICRA_DATA_DIR or the hub),
    writes evaluation:NAME with one record per sample.

    \b
    Examples:
      hicra eval
      hicra eval --bench aime24,amc23 --data-dir data --policy ./model
      hicra eval --bench my-questions.jsonl --samples 8
      hicra eval --bench aime24 --shard 2/8
      hicra eval --bench paper-text --policy ./model --dry-run --probe
      hicra eval --compare evaluation:grpo evaluation:hicra
      hicra eval --table evaluation:base --table evaluation:grpo --table evaluation:hicra --layout latex
      hicra eval --bench paper-text --check-overlap train.jsonl
      hicra eval --read evaluation:grpo --failures --output failures.html
    """
    wanted = {
        "--compare": compare,
        "--table": table,
        "--merge": merge,
        "--check-overlap": check_overlap,
        "--probe-contamination": probe_contamination,
        "--read": read,
    }
    asked = [flag for flag, value in wanted.items() if value]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} are different tasks", fix="Give one of them")
    _refuse_idle(asked, failures=failures, layout=layout, output=output)
    if compare is not None:
        from hicra_cli.commands.eval_compare import compare_evaluations

        return compare_evaluations(session, *compare, layout=layout, output=output)
    if table:
        from hicra_cli.commands.eval_table import tabulate_evaluations

        return tabulate_evaluations(session, listed(table), layout=layout, output=output)
    if merge:
        from hicra_cli.commands.eval_merge import merge_evaluations

        return merge_evaluations(session, listed(merge), force=force, dry_run=dry_run)
    if check_overlap:
        from hicra_cli.commands.eval_overlap import check_training_data

        return check_training_data(session, listed(check_overlap), output=output)
    if probe_contamination:
        from hicra_cli.commands.eval_contamination import probe_policy

        return probe_policy(session, output=output)
    if read is not None:
        from hicra_cli.commands.eval_read import read_evaluation

        return read_evaluation(session, read, failures=failures, output=output)
    if probe and not dry_run:
        raise UsageError("--probe measures for a plan", fix="Give it with --dry-run")
    if dry_run:
        from hicra_cli.commands.eval_plan import preview_evaluation

        return preview_evaluation(session, probe=probe)
    return run_stage(session, dry_run=False, force=force, resume=resume)


def _refuse_idle(asked: list[str], *, failures: bool, layout: Layout, output: Path | None) -> None:
    """Refuse what would do nothing, before hours of sampling instead of after them."""
    idle = (
        (output is not None, "--output", WRITING),
        (layout != "terminal", "--layout", ("--compare", "--table")),
        (failures, "--failures", ("--read",)),
    )
    for given, flag, used_by in idle:
        if given and not set(asked) & set(used_by):
            raise UsageError(f"{flag} would do nothing here", fix=f"It belongs to {', '.join(used_by)}")
    if output is not None and not output.parent.is_dir():
        raise UsageError("there is no such folder", where=str(output.parent), fix="Check --output")


def listed(values: list[str]) -> list[str]:
    """`--table a,b --table c` is three references."""
    return [part for value in values for part in value.split(",") if part]


app = single_app("eval", evaluate, KNOBS)
