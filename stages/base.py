"""What happens around every stage: resolve inputs → cached? → work in a draft → publish, with a row in `runs`.

A stage is a `Stage`: `plan` resolves its inputs and says which settings matter (reading only), `work` writes the
artifact's files into a folder and returns its summary and lineage. Everything else is here, once.
"""

import platform
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.cache import cache_key
from hicra_cli.core.errors import Interrupted
from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.tasks.base import Task

from .unfinished import remember_plan, require_same_settings

if TYPE_CHECKING:
    from hicra_cli.rl.exchange import Board


@dataclass(frozen=True, slots=True)
class External:
    """An input that is no artifact: the embedded model, a user's folder or file. `digest` names its content."""

    ref: str
    digest: str
    path: Path


Input = Artifact | External


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stage will do, decided before it starts.

    name: of the artifact. inputs: by role. settings: the resolved configuration that can change the bytes; with the
    inputs' digests and the stage's code version it is the cache key. details: lines for `--dry-run`.
    """

    name: str
    inputs: Mapping[str, Input]
    settings: Mapping[str, Any]
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workspace:
    """What `work` gets: where to write, what to read, whom to tell. board: of a launch of several processes."""

    config: HicraConfig
    opened: Registry | None
    progress: Progress
    plan: Plan
    folder: Path
    run_id: str
    key: str
    resumed: bool
    board: "Board | None" = None

    @property
    def registry(self) -> Registry:
        """The registry to publish in; a TypeError here is a bug: only the first process of a launch has it open."""
        if self.opened is None:
            raise TypeError("this process of the launch publishes nothing")
        return self.opened

    @property
    def leads(self) -> bool:
        """Whether this process writes and publishes; with several processes only the first does."""
        return self.board is None or self.board.rank == 0

    def artifact(self, role: str) -> Artifact:
        """The input artifact of a role; a KeyError or TypeError here is a bug of the stage."""
        found = self.plan.inputs[role]
        if not isinstance(found, Artifact):
            raise TypeError(f"input {role} of this stage is external: {found.ref}")
        return found


@dataclass(frozen=True, slots=True)
class Work:
    """What `work` gives back: the artifact's summary, and artifacts made on the way that belong to its lineage."""

    summary: Mapping[str, Any]
    inputs: Sequence[tuple[Artifact, str]] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the pipeline. `code_version` grows when equal settings and inputs mean other bytes than before.

    follow: what the other processes of a launch do while the first one executes the stage; None: nothing.
    """

    name: str
    kind: str
    code_version: str
    plan: Callable[[HicraConfig, Registry], Plan]
    work: Callable[[Workspace], Work]
    resumable: bool = False
    follow: "Callable[[HicraConfig, Progress, Board], None] | None" = None


@dataclass(frozen=True, slots=True)
class StageResult:
    """An executed or cached stage, as the command line reports it."""

    artifact: Artifact
    cached: bool
    run_id: str | None
    seconds: float


def execute(
    stage: Stage,
    config: HicraConfig,
    registry: Registry,
    progress: Progress,
    *,
    force: bool = False,
    resume: bool = False,
    board: "Board | None" = None,
) -> StageResult:
    """Run a stage, or return the artifact that an equal run has published before (unless `force`).

    A resumable stage keeps its draft when it fails; `resume` goes on with it where there is one. board: the first
    process of a launch gives it, to work with the others, which call the stage's `follow`.
    """
    started = time.monotonic()
    plan = stage.plan(config, registry)
    key = stage_key(stage, plan)
    if not force and (found := registry.find(key)) is not None:
        return StageResult(found, cached=True, run_id=found.run_id, seconds=time.monotonic() - started)

    waiting = registry.unfinished(stage.kind, key) if stage.resumable else []
    if waiting and not resume:
        progress.note(f"an unfinished {stage.name} run with these settings exists; --resume would continue it")
    if resume and not waiting and stage.resumable and not force:
        require_same_settings(stage, plan, registry)
    if resume and not waiting:
        progress.note(f"no unfinished {stage.name} run with these settings: starting from the beginning")
    run_id = registry.start_run(stage.name, sys.argv, config.model_dump(mode="json"), environment())
    try:
        draft = registry.begin(stage.kind, plan.name, key=key, run_id=run_id, resume=resume and stage.resumable)
        try:
            remember_plan(stage, plan, draft.path)
            workspace = Workspace(
                config, registry, progress, plan, draft.path, run_id, key, resumed=resume and bool(waiting), board=board
            )
            work = stage.work(workspace)
            inputs = [(each, role) for role, each in plan.inputs.items() if isinstance(each, Artifact)]
            summary = {**work.summary, "external_inputs": _externals(plan)}
            artifact = draft.publish(inputs=[*inputs, *work.inputs], summary=summary)
        except BaseException:
            if stage.resumable:
                draft.release()
            else:
                draft.discard()
            raise
    except BaseException as error:
        interrupted = isinstance(error, (KeyboardInterrupt, Interrupted))
        registry.finish_run(
            run_id,
            status="interrupted" if interrupted else "failed",
            seconds=time.monotonic() - started,
            error="".join(traceback.format_exception(error)),
        )
        raise
    seconds = time.monotonic() - started
    registry.finish_run(run_id, status="ok", seconds=seconds)
    return StageResult(artifact, cached=False, run_id=run_id, seconds=seconds)


def stage_key(stage: Stage, plan: Plan) -> str:
    """The cache key: stage, code version, settings that matter, digests of the inputs by role."""
    digests = [f"{role}={each.digest}" for role, each in sorted(plan.inputs.items())]
    return cache_key(stage.name, stage.code_version, {"name": plan.name, **plan.settings}, digests)


def build_task(config: HicraConfig) -> Task:
    """The configured task, not yet entered: use it as a context manager. With `task.reward` that function grades."""
    task = _problems(config)
    if config.task.reward is None:
        return task
    from hicra_cli.tasks.rewarded import RewardedTask

    return RewardedTask(task, config.task)


def _problems(config: HicraConfig) -> Task:
    if config.task.kind == "countdown":
        from hicra_cli.tasks.countdown import CountdownTask

        return CountdownTask(numbers=config.task.numbers)
    from hicra_cli.tasks.maths import MathsTask

    return MathsTask(config.task)


def environment() -> dict[str, str]:
    """Versions and hardware that a reader needs to repeat a run."""
    versions = {name: _version(name) for name in ("hicra", "torch", "transformers", "accelerate", "numpy", "vllm")}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": shlex.join(sys.argv),
        **{name: version for name, version in versions.items() if version},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _externals(plan: Plan) -> dict[str, dict[str, str]]:
    return {
        role: {"ref": each.ref, "digest": each.digest}
        for role, each in plan.inputs.items()
        if isinstance(each, External)
    }
