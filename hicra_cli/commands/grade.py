"""hicra grade"""

import json
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from hicra_cli.commands.grade_output import STDOUT, lines_to, refuse_overwriting
from hicra_cli.commands.options import Knob
from hicra_cli.commands.session import Report, Session
from hicra_cli.commands.stage import single_app
from hicra_cli.core.errors import RunError, UsageError

if TYPE_CHECKING:
    from hicra_cli.grading.log_reader import Entry, LogReader
    from hicra_cli.grading.log_reports import Graded
    from hicra_cli.grading.log_reports import Report as LogReport
    from hicra_cli.grading.pool import GradingPool

KNOBS = (Knob("--workers", "task.grader_workers"), Knob("--deadline", "task.grader_timeout_s"))
SHOWN_FAULTS = 3
COUNTDOWN = "countdown"

Grade = Callable[[Sequence["Entry"]], "list[Graded]"]

Jsonl = Annotated[
    str | None,
    typer.Option(
        "--jsonl",
        metavar="FILE|-",
        help="JSON lines {id, gold, response} or {id, gold, answer}, or a harness's log (.gz, .zst, .parquet too); "
        "- is stdin.",
    ),
]
Evaluation = Annotated[
    str | None,
    typer.Option("--evaluation", metavar="REF", help="Grade a published evaluation again and tell what changed."),
]
ModeOption = Annotated[
    Literal["strict", "lenient", "both"],
    typer.Option("--mode", help="strict: the last \\boxed{} only. lenient: else what looks like the answer, marked."),
]
Format = Annotated[
    Literal["auto", "hicra", "lm-eval", "lighteval", "verl"],
    typer.Option("--format", help="Whose log it is; auto looks at the first record."),
]
FieldsOption = Annotated[
    list[str],
    typer.Option(
        "--fields", metavar="ROLE=PATH", help="Where id, response, answer, gold, truncated, verdict stand; repeatable."
    ),
]
Diff = Annotated[
    str | None,
    typer.Option(
        "--diff", metavar="OLD.jsonl|input", help="Only verdicts that differ from earlier ones, or from the log's own."
    ),
]
Against = Annotated[
    Literal["math-verify", "verl", "qwen", "hendrycks"] | None,
    typer.Option("--against", help="Only what this grader judges differently, and how often both agree."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the lines to this file instead of stdout.")
]
Memory = Annotated[int, typer.Option("--memory", metavar="MIB", min=64, help="Memory a grading worker may take.")]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", metavar="FILE", help="Keep what algebra decided; several processes may share it."),
]


def grade(
    session: Session,
    jsonl: Jsonl = None,
    evaluation: Evaluation = None,
    mode: ModeOption = "strict",
    format_: Format = "auto",
    fields: FieldsOption = [],  # noqa: B006 (typer's way of a repeatable option)
    diff: Diff = None,
    against: Against = None,
    output: OutputOption = None,
    memory: Memory = 1024,
    cache: Cache = None,
) -> Report:
    """Grade answers from a file: no model, no GPU, one verdict a line.

    Each line of the input gives one JSON line {id, correct, outcome, extracted, gold_normal} in the same order, as soon
    as it is graded; a line that cannot be read gives one with the outcome "error" and a detail, and exit code 1 at the
    end. A summary goes to stderr; --json makes it the document on stdout and needs --output for the lines.

    \b
    Examples:
      hicra grade --jsonl answers.jsonl --output verdicts.jsonl
      hicra grade --jsonl - --mode both
      hicra grade --jsonl samples_aime24.jsonl --diff input
      hicra grade --jsonl answers.jsonl --against math-verify
      hicra grade --evaluation evaluation:hicra
    """
    if (jsonl is None) == (evaluation is None):
        raise UsageError("one source is needed", fix="Give --jsonl FILE, --jsonl - or --evaluation REF")
    if diff is not None and against is not None:
        raise UsageError("--diff and --against are different reports", fix="Give one of them")
    output = None if output in STDOUT else output
    if session.output.as_json and output is None:
        raise UsageError(
            "under --json stdout is one document and cannot take the lines", fix="Add --output FILE for the lines"
        )
    from hicra_cli.grading.log_reader import LogReader
    from hicra_cli.grading.log_reports import graded_entries
    from hicra_cli.grading.pool import GradingPool

    path = _source(session, jsonl, evaluation)
    refuse_overwriting(output, [path, Path(diff) if diff else None])
    session.resume_hint = "The same command starts anew" + (
        f"; {output}.unfinished has the lines so far" * bool(output)
    )
    reader = LogReader(path, format_name=format_, fields=_fields(fields))
    task = session.config.task
    with ExitStack() as stack:
        pool = stack.enter_context(
            GradingPool(workers=task.grader_workers, timeout_s=task.grader_timeout_s, memory_mib=memory, cache=cache)
        )
        report = _report(
            session, stack, mode, diff or ("input" if evaluation and not against else None), against, memory
        )
        lines = stack.enter_context(lines_to(output, session.output.results))
        tally = _Tally()

        def judge(entries: Sequence["Entry"]) -> "list[Graded]":
            return with_countdown(entries, lambda maths: graded_entries(maths, pool, mode))

        if not _stream(session, reader, judge, report, lines, tally):
            return Report()  # whoever read the lines has seen enough
        report.finish()
    return _conclude(session, tally, report, reader, pool, against)


def with_countdown(entries: Sequence["Entry"], grade_maths: Grade) -> "list[Graded]":
    """Samples of the built-in task are graded by its own rule, all others by `grade_maths`; in order."""
    from hicra_cli.grading.log_layouts import Sample
    from hicra_cli.grading.log_reports import Graded
    from hicra_cli.tasks.countdown import grade_countdown

    graded: dict[int, Graded] = {}
    for place, entry in enumerate(entries):
        sample = entry.content
        if isinstance(sample, Sample) and sample.place.get("bench") == COUNTDOWN:
            verdict = grade_countdown(sample.text, sample.golds[0], truncated=sample.truncated)
            graded[place] = Graded(entry, verdict, verdict)
    rest = [place for place in range(len(entries)) if place not in graded]
    graded.update(zip(rest, grade_maths([entries[place] for place in rest]), strict=True))
    return [graded[place] for place in range(len(entries))]


class _Tally:
    """Counts of a whole log. faults: the first few lines that cannot be graded."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.faults: list[str] = []
        self.num_faults = 0
        self.started = time.monotonic()

    def add(self, batch: "Sequence[Graded]") -> None:
        from hicra_cli.grading.log_reader import Fault

        for graded in batch:
            self.outcomes[graded.verdict.outcome.value] += 1
            if isinstance(graded.entry.content, Fault):
                self.num_faults += 1
                if len(self.faults) < SHOWN_FAULTS:
                    self.faults.append(f"line {graded.entry.line}: {graded.entry.content.detail}")

    @property
    def total(self) -> int:
        return self.outcomes.total()


def _source(session: Session, jsonl: str | None, evaluation: str | None) -> Path | None:
    if jsonl is not None:
        return None if jsonl == "-" else Path(jsonl)
    assert evaluation is not None
    reference = evaluation if ":" in evaluation else f"evaluation:{evaluation}"
    with session.registry() as registry:
        return registry.resolve(reference).file("samples.jsonl")


def _fields(given: Sequence[str]) -> dict[str, str]:
    """`--fields response=text,gold=answer --fields id=uid` is three."""
    pairs = [part.partition("=") for value in given for part in value.split(",")]
    for role, equals, path in pairs:
        if not (role and equals and path):
            raise UsageError(
                f"--fields {shlex.quote(role + equals + path)} is no ROLE=PATH", fix="--fields response=text"
            )
    return {role.strip(): path.strip() for role, _, path in pairs}


def _report(
    session: Session, stack: ExitStack, mode: Any, diff: str | None, against: str | None, memory: int
) -> "LogReport":
    from hicra_cli.grading.log_reports import Agreement, Changes, EveryVerdict

    if against is not None:
        from hicra_cli.grading.policy_pool import PolicyPool

        task = session.config.task
        policies = PolicyPool(against, workers=task.grader_workers, timeout_s=task.grader_timeout_s, memory_mib=memory)
        return Agreement(stack.enter_context(policies))
    if diff is not None:
        return Changes(None if diff == "input" else Path(diff))
    return EveryVerdict(mode)


def _stream(
    session: Session, reader: "LogReader", judge: Grade, report: "LogReport", lines: TextIO, tally: _Tally
) -> bool:
    """Grade and write batch by batch; False where the reader of stdout went away."""
    try:
        for entries in reader.batches():
            batch = judge(entries)
            tally.add(batch)
            lines.writelines(json.dumps(row, allow_nan=False) + "\n" for row in report.rows(batch))
            lines.flush()
    except BrokenPipeError:
        session.output.abandon_results()
        return False
    return True


def _conclude(
    session: Session,
    tally: _Tally,
    report: "LogReport",
    reader: "LogReader",
    pool: "GradingPool",
    against: str | None,
) -> Report:
    """The summary on stderr and for the document; a failure where lines could not be read."""
    seconds = time.monotonic() - tally.started
    outcomes = dict(tally.outcomes.most_common())
    counts = report.counts()
    told = ", ".join(f"{count} {name}" for name, count in outcomes.items()) or "nothing to grade"
    session.output.note(f"{tally.total} graded in {seconds:.1f} s ({tally.total / max(seconds, 1e-9):,.0f}/s): {told}")
    if counts:
        about = f"against {against}: " if against else ""
        session.output.note(about + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))
    if pool.cache_fault is not None:
        session.output.warn(f"the cache was not used to the end: {pool.cache_fault}")
    data = {"format": reader.layout.name if reader.layout else None, "outcomes": outcomes, "counts": counts}
    failure = None
    if tally.num_faults:
        failure = RunError(
            f"{tally.num_faults} of {tally.total} could not be graded ({'; '.join(tally.faults)})",
            fix="Every other line has its verdict; correct these, or name the fields with --fields",
        )
    correct = outcomes.get("correct", 0)
    metrics = {"graded": tally.total, "correct": correct, "faults": tally.num_faults}
    return Report(metrics=metrics, data=data, failure=failure)


app = single_app("grade", grade, KNOBS)
