"""Around every command: configuration, output, log, signals; and from any failure to one paragraph and an exit code."""

import inspect
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from hicra_cli.commands.failures import SCHEMA, bug_report, error_document, failure_of
from hicra_cli.commands.options import COMMON_NAMES, ROOT_KNOBS, Knob, common_parameters
from hicra_cli.config.launch import Launch, read_launch
from hicra_cli.core.errors import HicraError, Interrupted
from hicra_cli.core.output import Output, View, claim_stdout, json_line
from hicra_cli.core.runlog import RunLog, capture_libraries

if TYPE_CHECKING:
    from hicra_cli.config.load import ResolvedConfig
    from hicra_cli.config.root import HicraConfig
    from hicra_cli.core.registry import Artifact, Registry

LAUNCHED = ("train",)  # commands that use several processes of one launch
KEY_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "WANDB_API_KEY")


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a command. `views` is for people, the rest for the JSON document.

    failure: the command has a result and yet fails (`artifacts verify` with findings).
    """

    views: Sequence[View] = ()
    artifacts: Sequence["Artifact"] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    cached: bool | None = None
    failure: HicraError | None = None


@dataclass(slots=True)
class Session:
    """What a command's body works with. launch: where several processes run this command, which of them this is.
    resume_hint: shown when the user interrupts.
    """

    command: str
    resolved: "ResolvedConfig"
    files: Sequence[str]
    settings: Sequence[str]
    options: Sequence[tuple[str, Any, str]]
    output: Output
    log: RunLog
    launch: Launch | None = None
    resume_hint: str = "Type the same command again: finished stages are not repeated"

    @property
    def config(self) -> "HicraConfig":
        return self.resolved.config

    @contextmanager
    def registry(self, *, create: bool = False) -> Iterator["Registry"]:
        """The registry of the configured home; `create` makes it and starts the log file."""
        from hicra_cli.core.filesystem import network_filesystem_warning
        from hicra_cli.core.registry import Registry

        if create and (warning := network_filesystem_warning(self.config.home)):
            self.output.warn(warning)
        with Registry.open(self.config.home, create=create) as registry:
            if create:
                self.log.open()
            yield registry


Body = Callable[..., Report]


def command(body: Body, *, name: str, knobs: Sequence[Knob] = ()) -> Callable[..., None]:
    """A typer callback: the body's own parameters, one per knob, and those that every command has."""
    all_knobs = (*knobs, *ROOT_KNOBS)

    def call(**given: Any) -> None:
        common = {each: given.pop(each) for each in COMMON_NAMES}
        options = [setting for knob in all_knobs for setting in knob.settings(given.pop(knob.name))]
        raise typer.Exit(_conduct(name, body, common, options, given))

    own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
    own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    parameters = [*own, *(knob.parameter() for knob in all_knobs), *common_parameters()]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__doc__ = body.__doc__
    return call


def describe(artifact: "Artifact") -> dict[str, Any]:
    """An artifact in a JSON document."""
    fields = ("id", "kind", "name", "version", "digest", "created", "bytes")
    return {"ref": artifact.ref, **{each: getattr(artifact, each) for each in fields}, "path": str(artifact.path)}


def _conduct(
    name: str, body: Body, common: Mapping[str, Any], options: Sequence[tuple[str, Any, str]], own: Mapping[str, Any]
) -> int:
    """Run one command; returns its exit code."""
    started = time.monotonic()
    output = Output(
        results=claim_stdout(),
        talk=sys.stderr,
        as_json=common["json"],
        quiet=common["quiet"],
        verbose=common["verbose"],
    )
    log: RunLog | None = None
    session: Session | None = None
    report = Report()
    try:
        with _stoppable():
            launch = read_launch()
            if launch is not None and not launch.is_leader:
                if name not in LAUNCHED or own.get("dry_run"):
                    return 0
                _silence(output)
            session = _open_session(name, common, options, output, launch)
            log = session.log
            report = body(session, **own)
        failure = report.failure
    except BaseException as error:
        if isinstance(error, (SystemExit, GeneratorExit)):
            raise
        trace = "".join(traceback.format_exception(error))
        if log is not None:
            log.write(trace)
            if not own.get("dry_run"):
                log.open()
        if common["debug"]:
            output.trace(trace)
        log_path = str(log.path) if log is not None and log.path.is_file() else ""
        failure = failure_of(error, resume_hint=session.resume_hint if session else "") or bug_report(error, log_path)
    return _deliver(name, output, report, failure, seconds=time.monotonic() - started)


def _open_session(
    name: str,
    common: Mapping[str, Any],
    options: Sequence[tuple[str, Any, str]],
    output: Output,
    launch: Launch | None,
) -> Session:
    from hicra_cli.config.keys import service_key
    from hicra_cli.config.load import flat, load_config

    resolved = load_config(common["config"], settings=common["set"], options=options)
    secrets = [key.secret for variable in KEY_VARIABLES if (key := service_key(variable))]
    log = RunLog(resolved.config.home, name, secrets=secrets)
    log.write(f"$ {shlex.join(sys.argv)}")
    log.write(json_line({"config": flat(resolved.config), "origins": resolved.origins}))
    _hush_libraries()
    capture_libraries(log)
    if launch is not None and name not in LAUNCHED:
        output.warn(f"{name} is the work of one process; the other {launch.size - 1} have ended")
    return Session(name, resolved, common["config"], common["set"], options, output, log, launch)


def _silence(output: Output) -> None:
    """The first process of a launch has the word; this one would say the same again."""
    output.quiet = True
    output.results = output.talk = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the process ends)


def _hush_libraries() -> None:
    """Progress bars and advice of libraries are not part of our talk; a user's own setting stays."""
    for variable, value in {
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }.items():
        os.environ.setdefault(variable, value)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGINT and SIGTERM become KeyboardInterrupt; a second one ends the process at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: os._exit(Interrupted.exit_code))
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _deliver(name: str, output: Output, report: Report, failure: HicraError | None, *, seconds: float) -> int:
    """Write the result; a reader that went away (`| head -1`) is no failure."""
    document = {
        "artifacts": [describe(each) for each in report.artifacts],
        "metrics": dict(report.metrics),
        "warnings": output.warnings,
        "run_id": report.run_id,
        "seconds": round(seconds, 3),
        "cached": report.cached,
        **({"data": report.data} if report.data else {}),
    }
    try:
        if output.as_json and failure is not None:
            output.document(error_document(name, failure, **document))
        elif output.as_json:
            output.document({"schema": SCHEMA, "command": name, "status": "ok", **document})
        else:
            output.show(report.views)
    except BrokenPipeError:
        output.abandon_results()
    if failure is not None:
        output.error(str(failure))
        return failure.exit_code
    return 0
