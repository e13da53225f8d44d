"""The train stage: plan, and the loop around `train_step` with checkpoints, records and evaluation.

A run's folder holds `steps.jsonl`, `rollouts/`, `policies.json`, and while it goes on `checkpoints/`. Killed at any
moment and resumed, it ends with the bytes of a run that was never stopped (on CPU; timings and memory aside).
"""

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, HicraError
from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.engine.policy import LoadedPolicy
from hicra_cli.grams.builtin import DEFAULT, builtin_names
from hicra_cli.rl.exchange import Board
from hicra_cli.tasks.sources import content_digests

from ..base import Input, Plan, Stage, Work, Workspace, execute
from ..gram_sets import EMBEDDED, load_gram_set, resolve_gram_set
from ..policies import resolve_policy
from .company import assign, assigned, company, save_after_failure
from .coverage import coverage_warning
from .credit import GRAM_ALGOS
from .evaluate import evaluate
from .plan import describe_memory
from .policies import publish_policy
from .record import StepData
from .setup import build_run, probe_engine
from .state import TrainState
from .step import train_step
from .stop import StopSignal, stop_signal
from .store import append_policy, append_step, read_policies, read_steps, rewind, write_rollouts
from .tools import StepTools

CHECKPOINTS = "checkpoints"
SLOW_FOR_NANO = 1e-5


def run(config: HicraConfig, registry: Registry, progress: Progress) -> Artifact:
    """Train a policy (arXiv 2509.03646v3, section 3) and publish kind `training` and its policies."""
    return execute(STAGE, config, registry, progress).artifact


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """Resolve policy and gram-set; what a different value of could change the result is in the settings."""
    train = config.train
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
        "train": train.model_dump(mode="json", exclude={"name", "policy", "gram_set", "reference", "worker_timeout_s"}),
    }
    return Plan(train.name or train.algo, inputs, settings, describe_memory(policy.path, config))


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
    _alias_best(workspace.registry, policies, read_steps(folder))
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
        if state.restore(folder / CHECKPOINTS, tools.workers):
            tools.publish(state.policy, state.step)
            workspace.progress.note(f"resumed after step {state.step}")
        if workspace.leads:
            rewind(folder, state.step)
        with stop.shared(tools.workers, workspace.board):
            _loop(workspace, state, tools, source, stop)


def _loop(workspace: Workspace, state: TrainState, tools: StepTools, source: LoadedPolicy, stop: StopSignal) -> None:
    train, checkpoints = workspace.config.train, workspace.folder / CHECKPOINTS
    warned = False
    with workspace.progress.phase(f"train {workspace.plan.name}", train.steps) as advance:
        advance(state.step)
        try:
            while state.step < train.steps:
                with stop.deferred():
                    data = train_step(state, tools, train, stop)
                    _record(workspace, state, tools, source, data, stop)
                advance(1, status=_status(data.record))
                if tools.matcher and not warned:
                    warning = coverage_warning(data.record["hicra/planning_fraction"], train)
                    warned = warning is not None
                    if warning:
                        workspace.progress.warn(f"step {state.step}: {warning}")
        except HicraError:
            save_after_failure(state, checkpoints, tools.workers, workspace.board, keep=train.keep_checkpoints)
            raise


def _record(
    workspace: Workspace, state: TrainState, tools: StepTools, source: LoadedPolicy, data: StepData, stop: StopSignal
) -> None:
    """Everything a finished step leaves behind, in an order that a crash cannot confuse: the checkpoint is last."""
    train, folder, record = workspace.config.train, workspace.folder, data.record
    record["policy/probe_nats"] = probe_engine(tools.engine, state, tools, workspace.config)
    if train.eval_every and state.step % train.eval_every == 0:
        record |= evaluate(state.step, tools, train, stop)
    if workspace.leads:
        if train.save_rollouts_every and state.step % train.save_rollouts_every == 0:
            write_rollouts(folder, data, workspace.plan.inputs["policy"].ref)
        append_step(folder, record)
    state.torn = False
    if state.step % train.save_every == 0 or state.step == train.steps:
        published = publish_policy(workspace, state, source, tools.workers)
        if published is not None:
            append_policy(folder, state.step, published.ref)
        state.save(folder / CHECKPOINTS, tools.workers, keep=train.keep_checkpoints)


def _alias_best(registry: Registry, policies: list[tuple[Artifact, int]], steps: list[dict[str, Any]]) -> None:
    """`best` is the published policy with the highest accuracy of the evaluation inside the run, where it ran."""
    accuracy = {record["step"]: record["eval/accuracy"] for record in steps if "eval/accuracy" in record}
    evaluated = [(accuracy[step], -step, policy) for policy, step in policies if step in accuracy]
    if evaluated:
        registry.set_alias(max(evaluated, key=lambda each: each[:2])[2], "best")


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


def _status(record: dict[str, Any]) -> str:
    return (
        f"reward {record['reward/mean']:.3f} · {record['response/length_mean_tokens']:.0f} tokens · "
        f"planning {record['hicra/planning_fraction']:.1%} · {record['time/step_s']:.1f} s/step"
    )


STAGE = Stage("train", kind="training", code_version="1", plan=plan, work=work, resumable=True, follow=follow)
