"""The train stage: plan, and the loop around `train_step` with checkpoints, records and evaluation.

A run's folder holds `steps.jsonl`, `rollouts/`, `policies.json`, and while it goes on `checkpoints/`. Killed at any
moment and resumed, it ends with the bytes of a run that was never stopped (on CPU; timings and memory aside).
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hicra_cli.config.load import flat
from hicra_cli.config.root import HicraConfig
from hicra_cli.config.train import GRAM_ALGOS, TrainConfig
from hicra_cli.core.errors import ArtifactError, HicraError, RunError
from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.engine.policy import LoadedPolicy
from hicra_cli.grading.rewards import failure_summary
from hicra_cli.grams.builtin import DEFAULT, builtin_names
from hicra_cli.rl.exchange import Board
from hicra_cli.tasks.sources import content_digests

from ..base import Input, Plan, Stage, Work, Workspace, execute
from ..gram_sets import EMBEDDED, load_gram_set, resolve_gram_set
from ..policies import resolve_policy
from .best import alias_best
from .company import assign, assigned, company, save_after_failure
from .disk import checkpoint_bytes, policy_bytes, require_room, writing
from .evaluate import evaluate
from .live import LiveView
from .plan import MemoryLines, measured_memory
from .policies import publish_policy
from .record import StepData
from .resume import compare_machine, restore
from .setup import build_run, probe_engine
from .state import TrainState
from .step import train_step
from .stop import StopSignal, stop_signal
from .store import append_policy, append_step, read_policies, read_steps, rewind, write_rollouts
from .tools import StepTools
from .trackers import TrackedRun, Trackers, require_trackers, tracking
from .watch import StepWarnings, finite_record, non_finite_weight, require_finite_weights

CHECKPOINTS = "checkpoints"
SLOW_FOR_NANO = 1e-5
# Inputs, which count by their digests; and what only listens: a bound that stopped a run may be raised to resume it.
UNESSENTIAL = {"name", "policy", "gram_set", "reference", "trackers", "watch", "worker_timeout_s"}


def run(config: HicraConfig, registry: Registry, progress: Progress) -> Artifact:
    """Train a policy (arXiv 2509.03646v3, section 3) and publish kind `training` and its policies."""
    return execute(STAGE, config, registry, progress).artifact


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """Resolve policy and gram-set; what a different value of could change the result is in the settings."""
    train = config.train
    require_trackers(train.trackers)
    policy = resolve_policy(train.policy, registry)
    grams = resolve_grams(config, registry)
    inputs: dict[str, Input] = {"policy": policy} | ({} if grams is None else {"gram_set": grams})
    if train.kl_beta > 0:
        inputs["reference"] = policy if train.reference is None else resolve_policy(train.reference, registry)
    settings = {
        "seed": config.seed,
        "task": config.task.model_dump(mode="json"),
        "engine": config.engine.model_dump(mode="json"),
        "device": config.device,
        **content_digests(config.task),
        "train": train.model_dump(mode="json", exclude=UNESSENTIAL),
    }
    return Plan(train.name or train.algo, inputs, settings, MemoryLines(policy.path, config))


def resolve_grams(config: HicraConfig, registry: Registry) -> Input | None:
    """The configured gram-set, else the newest, else the one that ships for the task. Only HICRA insists on one.

    The placebo insists on a placebo set: with strategic grams it would be HICRA.
    """
    if config.train.gram_set is not None:
        return resolve_gram_set(config.train.gram_set, registry)
    if config.train.algo == "placebo":
        placebos = (each for each in registry.list("gram-set") if _is_placebo(each))
        if (found := next(placebos, None)) is None:
            raise ArtifactError(
                "there is no placebo gram-set in the registry",
                fix="Draw one with `hicra curate --placebo`, or pass --gram-set",
            )
        return found
    # Placebos and thinned sets are trained with when they are named, never by accident.
    proper = (each for each in registry.list("gram-set") if "control" not in each.summary)
    if (newest := next(proper, None)) is not None:
        return newest
    shipped = EMBEDDED if config.task.kind == "countdown" else DEFAULT
    if shipped == EMBEDDED or shipped in builtin_names():
        return resolve_gram_set(shipped, registry)
    if config.train.algo in GRAM_ALGOS:
        raise ArtifactError(
            "there is no gram-set in the registry, and HICRA needs one",
            fix="Make one with `hicra collect-grams`, `hicra annotate-grams` and `hicra curate`, or pass --gram-set",
        )
    return None


def _is_placebo(grams: Artifact) -> bool:
    control = grams.summary.get("control")
    return isinstance(control, dict) and control.get("kind") == "placebo"


def work(workspace: Workspace) -> Work:
    """Build the run, go back to its newest checkpoint, train, publish."""
    folder = workspace.folder
    if workspace.plan.inputs["policy"].ref == "nano" and workspace.config.train.lr < SLOW_FOR_NANO:
        workspace.progress.note(
            f"train.lr {workspace.config.train.lr:g} suits models of billions of parameters; the built-in nano hardly "
            "moves with it: `-c quickstart` has settings that train it"
        )
    with company(workspace.board):
        assign(workspace)
        _train(workspace)
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    policies = [(workspace.registry.resolve(each["policy"]), each["step"]) for each in read_policies(folder)]
    metric = workspace.config.train.best_metric
    alias_best(workspace.registry, policies, read_steps(folder), metric=metric, progress=workspace.progress)
    return Work(_summary(folder), [(policy, f"step-{step}") for policy, step in policies])


def follow(config: HicraConfig, progress: Progress, board: Board) -> None:
    """The other processes of a launch: work with the first one, publish nothing, end as it does."""
    with company(board):
        workspace = assigned(config, progress, board)
        if workspace is not None:
            _train(workspace)


def _train(workspace: Workspace) -> None:
    """Build the run, go back to its newest checkpoint, and take its steps."""
    folder, inputs = workspace.folder, workspace.plan.inputs
    grams = inputs.get("gram_set")
    gram_set = None if grams is None else load_gram_set(grams)
    with stop_signal() as stop, ExitStack() as stack:
        reference = inputs["reference"].path if "reference" in inputs else None
        state, tools, source = build_run(
            workspace.config, inputs["policy"].path, reference, gram_set, workspace.progress, stack, workspace.board
        )
        if restore(state, folder / CHECKPOINTS, tools.workers, workspace.progress):
            tools.publish(state.policy, state.step)
            workspace.progress.note(f"resumed after step {state.step}")
        if workspace.leads:
            with writing("going back to a checkpoint", folder):
                rewind(folder, state.step, recorded=state.recorded_step)
                compare_machine(folder / CHECKPOINTS, workspace.progress)
        with stop.shared(tools.workers, workspace.board):
            _publish_if_missing(workspace, state, tools, source)
            _loop(workspace, state, tools, source, stop)


def _loop(workspace: Workspace, state: TrainState, tools: StepTools, source: LoadedPolicy, stop: StopSignal) -> None:
    train, progress = workspace.config.train, workspace.progress
    records = read_steps(workspace.folder) if workspace.leads else []
    label, first = f"train {workspace.plan.name}", state.step + 1
    with (
        progress.dashboard(label, train.steps, done=state.recorded_step) as board,
        _trackers(workspace, records) as trackers,
    ):
        tools = replace(tools, view=LiveView(board, records))
        warnings = StepWarnings(train, with_grams=tools.matcher is not None, records=records)
        failures_told, failures = False, None
        try:
            while state.step < train.steps or state.unrecorded is not None:
                with stop.deferred():
                    if state.unrecorded is None:
                        data = train_step(state, tools, train, stop)
                        _hold(workspace, state, tools, data)
                        failures = None if failures_told else failure_summary(data.sampled.verdicts)
                    record = _record(workspace, state, tools, source, stop)
                    trackers.log(record)
                tools.view.see(record)
                if state.step == first:
                    progress.note(measured_memory(record["memory/peak_bytes"], tools.predicted_bytes))
                if failures is not None:
                    failures_told = True
                    progress.warn(f"step {state.step}: {failures}")
                for warning in warnings.of(record):
                    progress.warn(f"step {state.step}: {warning}")
        except HicraError:
            with stop.ignored():
                _keep_after_failure(workspace, state, tools)
            raise


def _hold(workspace: Workspace, state: TrainState, tools: StepTools, data: StepData) -> None:
    """Store the rollouts of a finished step and keep its record in the state, until it is complete and written."""
    train, folder = workspace.config.train, workspace.folder
    require_finite_weights(state.model, workers=tools.workers, step=state.step)
    tools.view.tell("record")
    record = data.record | {
        "policy/probe_nats": probe_engine(tools.engine, state, tools, workspace.config),
        "memory/predicted_bytes": tools.predicted_bytes,
    }
    if workspace.leads and train.save_rollouts_every and state.step % train.save_rollouts_every == 0:
        with writing(f"recording step {state.step}", folder):
            write_rollouts(folder, data, workspace.plan.inputs["policy"].ref)
    state.unrecorded, state.torn = finite_record(record), False


def _record(
    workspace: Workspace, state: TrainState, tools: StepTools, source: LoadedPolicy, stop: StopSignal
) -> dict[str, Any]:
    """Everything else a finished step leaves behind, in an order that a crash cannot confuse: the checkpoint is last.

    Interrupted in its evaluation, a step is done all the same: its record waits in the state for the run to go on.
    """
    train, folder = workspace.config.train, workspace.folder
    record = dict(state.unrecorded or {})
    if train.eval_every and state.step % train.eval_every == 0:
        record = finite_record(record | evaluate(state.step, tools, train, stop))
    if workspace.leads:
        with writing(f"recording step {state.step}", folder):
            append_step(folder, record)
    state.unrecorded = None
    if _is_published(state, train):
        tools.view.tell("save")
        needed = policy_bytes(state) + checkpoint_bytes(state)
        require_room(f"saving step {state.step}", folder, needed_bytes=needed)
        _publish(workspace, state, tools, source)
        with writing(f"writing the checkpoint of step {state.step}", folder):
            state.save(folder / CHECKPOINTS, tools.workers, keep=train.keep_checkpoints)
    return record


def _is_published(state: TrainState, train: TrainConfig) -> bool:
    return state.step % train.save_every == 0 or state.step == train.steps


def _publish(workspace: Workspace, state: TrainState, tools: StepTools, source: LoadedPolicy) -> None:
    with writing(f"publishing the policy of step {state.step}", workspace.folder):
        published = publish_policy(workspace, state, source, tools.workers)
        if published is not None:
            append_policy(workspace.folder, state.step, published.ref)


def _publish_if_missing(workspace: Workspace, state: TrainState, tools: StepTools, source: LoadedPolicy) -> None:
    """A step whose publication failed, for want of room say, has a checkpoint but no policy yet."""
    if state.unrecorded is not None:  # published when its record is complete
        return
    published = [each["step"] for each in read_policies(workspace.folder)]
    if state.step and _is_published(state, workspace.config.train) and state.step not in published:
        _publish(workspace, state, tools, source)


def _keep_after_failure(workspace: Workspace, state: TrainState, tools: StepTools) -> None:
    """Save what is worth it; what stands in the way is warned of, because the failure itself is what ends the run."""
    folder, keep = workspace.folder / CHECKPOINTS, workspace.config.train.keep_checkpoints
    if state.torn or (folder / f"step-{state.step:06d}").exists():
        return
    if (name := non_finite_weight(state.model)) is not None:
        workspace.progress.warn(f"the weights are not saved: {name} is not finite")
        return
    try:
        with writing(f"writing the checkpoint of step {state.step}", folder):
            if workspace.leads:
                require_room(f"saving step {state.step}", folder, needed_bytes=checkpoint_bytes(state))
            save_after_failure(state, folder, tools.workers, workspace.board, keep=keep)
    except RunError as error:
        workspace.progress.warn(f"step {state.step} has no checkpoint, the one before stays the newest: {error.what}")


@contextmanager
def _trackers(workspace: Workspace, records: Sequence[Mapping[str, Any]]) -> Iterator[Trackers]:
    """The configured trackers, in the first process. Their run is named after the draft, which outlives interruptions
    and becomes the artifact.
    """
    names = workspace.config.train.trackers if workspace.leads else []
    if not names:
        yield Trackers([])
        return
    name = f"{workspace.plan.name}-{workspace.folder.parent.name}"
    run = TrackedRun(name, workspace.registry.home / "trackers" / name, flat(workspace.config))
    with tracking(names, run, records, workspace.progress) as trackers:
        yield trackers


def _summary(folder: Path) -> dict[str, Any]:
    """First and last figures of the run: what `artifacts list` and the command line show."""
    steps = read_steps(folder)
    shown = ("reward/accuracy", "response/length_mean_tokens", "hicra/planning_fraction", "eval/accuracy")
    figures = {
        f"{place}/{name}": record[name]
        for place, record in (("first", steps[0]), ("last", steps[-1]))
        for name in shown
        if name in record
    }
    return {"steps": len(steps), **figures, "policies": read_policies(folder)}


STAGE = Stage("train", kind="training", code_version="1", plan=plan, work=work, resumable=True, follow=follow)
