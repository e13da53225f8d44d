"""What the six stage commands share: plan or execute one stage, and show what came of it."""

import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

from hicra_cli.commands.options import EXIT_CODES, Knob
from hicra_cli.commands.session import Body, Report, Session, command
from hicra_cli.core.output import Table, View

if TYPE_CHECKING:
    from hicra_cli.config.launch import Launch
    from hicra_cli.config.root import HicraConfig
    from hicra_cli.core.registry import Registry
    from hicra_cli.rl.exchange import Board
    from hicra_cli.stages.base import Plan, Stage

_HELP = {"help_option_names": ["--help", "-h"]}
LAST_WORD_S = 10.0
MODULES = {
    "collect-grams": "collect_grams",
    "annotate-grams": "annotate_grams",
    "curate": "curate",
    "train": "train.run",
    "eval": "eval",
    "diagnose": "diagnose",
}


def single_app(name: str, body: Body, knobs: tuple[Knob, ...] = ()) -> typer.Typer:
    """A typer app that is one command."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, epilog=EXIT_CODES, context_settings=_HELP)(command(body, name=name, knobs=knobs))
    return app


def group_app(name: str, help_text: str, *bodies: Body) -> typer.Typer:
    """A typer app with one subcommand per body, named after it."""
    app = typer.Typer(
        name=name,
        help=help_text,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_HELP,
    )
    for body in bodies:
        word = body.__name__.rstrip("_").replace("_", "-")
        app.command(word, epilog=EXIT_CODES, context_settings=_HELP)(command(body, name=f"{name} {word}"))
    return app


def load_stage(name: str) -> "Stage":
    """The stage of a command; imports torch and all that it needs."""
    stage: Stage = import_module(f"hicra_cli.stages.{MODULES[name]}").STAGE
    return stage


def run_stage(
    session: Session, *, dry_run: bool, force: bool, resume: bool = False, stage: "Stage | None" = None
) -> Report:
    """Execute the stage of this command (or a variant of it), or say what it would do."""
    stage = stage or load_stage(session.command)
    if dry_run:
        return show_plan(stage, session.config)
    if stage.resumable:
        again = [*sys.argv[1:], *([] if resume else ["--resume"])]
        launcher = "" if session.launch is None else " the same launcher and"
        session.resume_hint = f"Go on with:{launcher} {shlex.join(['hicra', *again])}"
    if session.launch is not None and stage.follow is not None:
        return _launched(stage, session, session.launch, force=force, resume=resume)
    with session.registry(create=True) as registry:
        return executed(stage, session, registry, force=force, resume=resume)


def executed(
    stage: "Stage",
    session: Session,
    registry: "Registry",
    *,
    force: bool,
    resume: bool,
    board: "Board | None" = None,
) -> Report:
    """Run a stage and report its artifact with the numbers of its summary."""
    from hicra_cli.stages.base import execute

    result = execute(stage, session.config, registry, session.output, force=force, resume=resume, board=board)
    metrics = summary_metrics(result.artifact.summary)
    state = "already published (same settings and inputs; --force repeats it)" if result.cached else "published"
    rows = [(name, f"{value:.6g}") for name, value in metrics.items()]
    views: list[View] = [f"{result.artifact.ref}  {state}", f"{result.artifact.path}"]
    if rows:
        views.append(Table(("", ""), rows))
    return Report(views, [result.artifact], metrics, run_id=result.run_id, cached=result.cached)


def _launched(stage: "Stage", session: Session, launch: "Launch", *, force: bool, resume: bool) -> Report:
    """One of several processes: the first executes the stage and has the last word, the others work for it."""
    from hicra_cli.rl.exchange import Board

    board = Board(launch)
    if launch.is_leader:
        return _lead(stage, session, board, force=force, resume=resume)
    try:
        assert stage.follow is not None
        stage.follow(session.config, session.output, board)
    except BaseException:
        if not board.is_told(patience_s=LAST_WORD_S):
            session.output.talk = sys.stderr  # nobody else is left to say it
        raise
    finally:
        board.all_here("end", patience_s=0)
    return Report()


def _lead(stage: "Stage", session: Session, board: "Board", *, force: bool, resume: bool) -> Report:
    try:
        with session.registry(create=True) as registry:
            return executed(stage, session, registry, force=force, resume=resume, board=board)
    except BaseException as error:
        board.fail(error)
        board.tell()
        raise
    finally:
        board.assign(None)  # without work for them the others would wait
        with _signals_ignored():  # a launcher that saw one process end sends SIGTERM to the rest
            board.all_here("end", patience_s=LAST_WORD_S)  # this process may be the host of the board


@contextmanager
def _signals_ignored() -> Iterator[None]:
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def summary_metrics(summary: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of an artifact's summary, nested ones by `a/b`."""
    numbers: dict[str, float] = {}
    for name, value in summary.items():
        if isinstance(value, Mapping):
            if name != "external_inputs":
                numbers.update(summary_metrics(value, f"{prefix}{name}/"))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers[prefix + name] = value
    return numbers


def show_plan(stage: "Stage", config: "HicraConfig") -> Report:
    """What would run; nothing is written."""
    from hicra_cli.stages.base import stage_key

    with open_for_plan(config.home) as registry:
        plan = stage.plan(config, registry)
        found = registry.find(stage_key(stage, plan))
    return plan_report(stage, plan, found.ref if found is not None else None)


@contextmanager
def open_for_plan(home: Path) -> Iterator["Registry"]:
    """The registry to plan with; where there is none an empty one in a temporary folder, so that no home is made."""
    from hicra_cli.core.registry import Registry

    with TemporaryDirectory(prefix="hicra-plan-") as empty:
        there = (home / "registry.db").is_file()
        with Registry.open(home if there else Path(empty) / "home", create=not there) as registry:
            yield registry


def plan_report(stage: "Stage", plan: "Plan", found: str | None) -> Report:
    """A plan for people and as data."""
    inputs = [(role, each.ref, each.digest[:16]) for role, each in plan.inputs.items()]
    settings = list(_lines(plan.settings))
    views: list[View] = [
        f"{stage.name} would publish {stage.kind}:{plan.name}" if found is None else f"cached: {found}",
        Table(("input", "reference", "digest"), inputs),
        Table(("setting", "value"), settings),
        Table(("detail", ""), list(plan.details.items())),
    ]
    data = {
        "stage": stage.name,
        "output": f"{stage.kind}:{plan.name}",
        "cached": found,
        "inputs": {role: {"ref": each.ref, "digest": each.digest} for role, each in plan.inputs.items()},
        "settings": dict(plan.settings),
        "details": dict(plan.details),
    }
    shown = [view for view in views if isinstance(view, str) or view.rows]
    return Report(shown, data=data, cached=found is not None)


def _lines(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings one by one, those of a section as `section.name`; what is not set is left out."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{prefix}{name}.")
        elif value not in (None, [], ""):
            yield prefix + str(name), ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
