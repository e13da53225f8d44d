"""The first half of collect-grams: graded rollouts as an artifact of their own, sampled here or imported.

Each policy draws the same samples of the same prompts, so the rollouts are balanced over checkpoints; how many of them
succeed is the policy's business, and what ranking makes of that is `collect.balance`.

A rollout is kept as soon as it is finished: a killed run, resumed, draws what is missing and nothing else. Tokens are a
function of seed, prompt and sample; in a batch of another height their log-probs are rounded otherwise (up to 1e-5).
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from hicra_cli.config.collect import CollectConfig
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, DataError
from hicra_cli.core.records import Outcome, Prompt, Rollout
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.rollout_file import FILE_NAME, RolloutRow, row_of, write_rollouts
from hicra_cli.tasks.sources import content_digests

from .base import Input, Plan, Stage, Work, Workspace, build_task
from .policies import resolve_policy
from .rollout_sources import read_sources, resolve_sources
from .sampled_rollouts import SampledRollouts

# An engine returns a whole call: this bounds the memory it takes, and is enough to keep its batch full.
PROMPTS_PER_CALL = 256
ROWS_PER_GRADING = 512
SAMPLED_FOLDER = "sampled"


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """Files to import, or policies to sample with the settings that can change a rollout."""
    collect = config.collect
    if collect.rollouts:
        settings: dict[str, Any] = {"fields": collect.fields.model_dump(mode="json")}
        reads = ", ".join(str(path) for path in collect.rollouts)
        return Plan(collect.name, resolve_sources(collect, registry), settings, {"reads": reads})
    inputs, steps = _policies(collect, registry)
    settings = {
        "task": config.task.model_dump(mode="json", exclude={"grader_workers"}),
        **content_digests(config.task),
        "sampling": collect.sampling.model_dump(mode="json"),
        "engine": {"name": config.engine.name, "dtype": config.engine.dtype},
        "seed": config.seed,
        "num_prompts": collect.num_prompts,
        "samples": collect.samples,
        "steps": steps,
    }
    count = f"{collect.num_prompts} problems x {collect.samples} samples x {len(steps)} policies"
    refs = ", ".join(inputs[role].ref for role in steps)
    return Plan(collect.name, inputs, settings, {"samples": count, "policies": refs})


def work(space: Workspace) -> Work:
    """Write `rollouts.parquet`; the summary counts outcomes."""
    rows = _imported(space) if space.config.collect.rollouts else _sampled(space)
    outcomes: dict[str, int] = {}
    number = write_rollouts(space.folder / FILE_NAME, _counted(rows, outcomes))
    if number == 0:
        raise DataError("there is no rollout in what was given", where=space.plan.details.get("reads"))
    if not space.config.collect.rollouts:
        shutil.rmtree(space.folder / SAMPLED_FOLDER)
    return Work({"rollouts": number, "outcomes": dict(sorted(outcomes.items()))})


STAGE = Stage("collect-rollouts", "rollouts", "2", plan, work, resumable=True)


def _policies(collect: CollectConfig, registry: Registry) -> tuple[dict[str, Input], dict[str, int | None]]:
    """The policies to sample by role, the training they come from, and each one's RL step where it is known."""
    if collect.training is None:
        inputs = {f"policy-{at:03d}": resolve_policy(each, registry) for at, each in enumerate(collect.policies)}
        return inputs, {role: _step_of(each) for role, each in inputs.items()}
    training = registry.resolve(collect.training)
    chosen = spread(_checkpoints(training), collect.points)
    inputs = {f"policy-{at:03d}": resolve_policy(ref, registry) for at, (_, ref) in enumerate(chosen)}
    steps: dict[str, int | None] = {f"policy-{at:03d}": step for at, (step, _) in enumerate(chosen)}
    return {"training": training, **inputs}, steps


def _step_of(policy: Input) -> int | None:
    """The RL step that a trained policy names in its summary."""
    step = policy.summary.get("step") if isinstance(policy, Artifact) else None
    return step if isinstance(step, int) else None


def _checkpoints(training: Artifact) -> list[tuple[int, str]]:
    path = training.file("policies.json")
    try:
        found = sorted((int(each["step"]), str(each["policy"])) for each in json.loads(path.read_text()))
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{training.ref} has a malformed policies.json", where=str(path), fix="Name policies with --policy"
        ) from error
    if not found:
        raise ArtifactError(f"{training.ref} kept no checkpoint", fix="Train with a smaller train.save_every")
    return found


def spread(checkpoints: Sequence[tuple[int, str]], points: int) -> list[tuple[int, str]]:
    """At most `points` checkpoints, spread evenly over the run: the last one always, the first one from two on."""
    if points >= len(checkpoints):
        return list(checkpoints)
    if points == 1:
        return [checkpoints[-1]]
    last = len(checkpoints) - 1
    return [checkpoints[round(at * last / (points - 1))] for at in range(points)]


def _counted(rows: Iterator[RolloutRow], outcomes: dict[str, int]) -> Iterator[RolloutRow]:
    for row in rows:
        name = row.outcome.value if row.outcome is not None else "unknown"
        outcomes[name] = outcomes.get(name, 0) + 1
        yield row


def _imported(space: Workspace) -> Iterator[RolloutRow]:
    """The rows of all sources; what has a gold answer and no verdict is graded strictly."""
    from hicra_cli.grading import GradingPool

    collect, task = space.config.collect, space.config.task
    with (
        GradingPool(workers=task.grader_workers, timeout_s=task.grader_timeout_s) as pool,
        space.progress.phase("read rollouts") as advance,
    ):
        rows = read_sources({**space.plan.inputs}, collect.fields)
        while waiting := list(islice(rows, ROWS_PER_GRADING)):
            yield from _graded(waiting, pool)
            advance(len(waiting))


def _graded(rows: Sequence[RolloutRow], pool: Any) -> list[RolloutRow]:
    open_rows = [at for at, row in enumerate(rows) if row.outcome is None and row.gold is not None]
    verdicts = pool.grade_many([(rows[at].text, rows[at].gold or "", False) for at in open_rows])
    graded = list(rows)
    for at, verdict in zip(open_rows, verdicts, strict=True):
        graded[at] = replace(rows[at], outcome=verdict.outcome, reward=verdict.reward)
    return graded


def _sampled(space: Workspace) -> Iterator[RolloutRow]:
    """Policy after policy: sample what is not there yet, then grade everything in the order of prompts and samples."""
    folder = space.folder / SAMPLED_FOLDER
    folder.mkdir(exist_ok=True)
    collect = space.config.collect
    with build_task(space.config) as task:
        prompts = _distinct(task.stream(0, collect.num_prompts, seed=space.config.seed), space)
        for role, step in space.plan.settings["steps"].items():
            with SampledRollouts(folder / f"{role}.jsonl") as kept:
                _sample_policy(space, prompts, kept, role)
                rollouts = kept.read(prompts, range(collect.samples))
                while waiting := list(islice(rollouts, ROWS_PER_GRADING)):
                    for rollout, verdict in zip(waiting, task.verdicts(waiting), strict=True):
                        row = row_of(rollout, verdict, policy=space.plan.inputs[role].ref, step=step)
                        # Log-probs differ in the last bits with who shared the batch, which a resumed run cannot
                        # repeat; nothing reads them, and equal settings give equal bytes.
                        yield replace(row, sampler_logprobs=None)


def _distinct(prompts: Sequence[Prompt], space: Workspace) -> list[Prompt]:
    """Each prompt once: a second epoch would draw the same samples again."""
    distinct = list({each.id: each for each in prompts}.values())
    if len(distinct) < len(prompts):
        space.progress.warn(f"the task has {len(distinct)} training problems, fewer than collect.num_prompts")
    return distinct


def _sample_policy(space: Workspace, prompts: Sequence[Prompt], kept: SampledRollouts, role: str) -> None:
    """Draw the samples of one policy that are not kept yet."""
    samples = range(space.config.collect.samples)
    missing = {each.id: kept.missing(each.id, samples) for each in prompts}
    total = sum(map(len, missing.values()))
    if len(kept):
        space.progress.note(f"{len(kept)} rollouts of {space.plan.inputs[role].ref} are kept, {total} are missing")
    if total == 0:
        return
    from hicra_cli.engine.base import Draws, Request
    from hicra_cli.tasks.prompts import render

    config, policy = space.config, space.plan.inputs[role]
    with ExitStack() as stack:
        tokenizer, build = _loaded(config, policy.path)
        requests = [
            Request(each, render(each, tokenizer, config.task), missing[each.id])
            for each in prompts
            if missing[each.id]
        ]
        engine = stack.enter_context(build(longest_prompt=max(len(each.token_ids) for each in requests)))
        advance = stack.enter_context(space.progress.phase(f"sample {policy.ref}", total))

        def keep(rollout: Rollout) -> None:
            kept.add(rollout)
            advance()

        for start in range(0, len(requests), PROMPTS_PER_CALL):
            call = requests[start : start + PROMPTS_PER_CALL]
            engine.generate(call, config.collect.sampling, Draws(config.seed, "collect"), on_rollout=keep)


def _loaded(config: HicraConfig, path: Path) -> tuple[Any, Callable[..., AbstractContextManager[Any]]]:
    """The policy's tokenizer, and what builds the engine around it; vLLM reads the weights itself."""
    from hicra_cli.engine.factory import build_engine, resolve_device, resolve_dtype, set_threads
    from hicra_cli.engine.policy import load_policy, load_tokenizer

    set_threads(config)
    if config.engine.name == "vllm":
        return load_tokenizer(path), partial(build_engine, config, path, sampling=config.collect.sampling)
    device = resolve_device(config)
    loaded = load_policy(path, dtype=resolve_dtype(config, device), device=device)
    return loaded.tokenizer, partial(build_engine, config, loaded, sampling=config.collect.sampling)


def is_success(row: RolloutRow, collect: CollectConfig) -> bool:
    """Whether a rollout's grams are counted under the paper's rule, as configured."""
    if not collect.successful_only:
        return True
    return collect.unknown_is_success if row.outcome is None else row.outcome is Outcome.CORRECT
