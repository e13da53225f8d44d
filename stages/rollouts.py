"""The first half of collect-grams: graded rollouts as an artifact of their own, sampled here or imported from files.

Sampling is kept in chunks, so that a killed run goes on where it was; a rollout does not depend on its chunk.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hicra_cli.config.collect import CollectConfig
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, DataError
from hicra_cli.core.records import Outcome, Prompt
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.rollout_file import FILE_NAME, RolloutRow, read_rollouts, row_of, write_rollouts
from hicra_cli.grams.sources import read_rows
from hicra_cli.tasks.base import Task

from .base import External, Input, Plan, Stage, Work, Workspace, build_task
from .policies import resolve_policy

PROMPTS_PER_CHUNK = 256
ROWS_PER_GRADING = 512


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """Files to import, or policies to sample with the settings that can change a rollout."""
    collect = config.collect
    if collect.rollouts:
        inputs: dict[str, Input] = {f"file-{at:03d}": _file(path) for at, path in enumerate(collect.rollouts)}
        settings: dict[str, Any] = {"fields": collect.fields.model_dump(mode="json")}
        return Plan(collect.name, inputs, settings, {"reads": ", ".join(str(path) for path in collect.rollouts)})
    inputs, steps = _policies(collect, registry)
    settings = {
        "task": config.task.model_dump(mode="json", exclude={"grader_workers"}),
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
    _drop_parts(space.folder)
    if number == 0:
        raise DataError("there is no rollout in the files given", where=space.plan.details.get("reads"))
    return Work({"rollouts": number, "outcomes": dict(sorted(outcomes.items()))})


STAGE = Stage("collect-rollouts", "rollouts", "1", plan, work, resumable=True)


def _file(path: Path) -> External:
    try:
        with path.open("rb") as stream:
            return External(str(path), hashlib.file_digest(stream, "sha256").hexdigest(), path)
    except OSError as error:
        raise DataError(
            f"rollouts cannot be read: {error.strerror}", where=str(path), fix="Check --rollouts"
        ) from error


def _policies(collect: CollectConfig, registry: Registry) -> tuple[dict[str, Input], dict[str, int | None]]:
    """The policies to sample by role, the training they come from, and each one's RL step where it is known."""
    if collect.training is None:
        inputs = {f"policy-{at:03d}": resolve_policy(each, registry) for at, each in enumerate(collect.policies)}
        return inputs, dict.fromkeys(inputs, None)
    training = registry.resolve(collect.training)
    chosen = spread(_checkpoints(training), collect.points)
    inputs = {f"policy-{at:03d}": resolve_policy(ref, registry) for at, (_, ref) in enumerate(chosen)}
    steps: dict[str, int | None] = {f"policy-{at:03d}": step for at, (step, _) in enumerate(chosen)}
    return {"training": training, **inputs}, steps


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
    """The rows of all files; what has a gold answer and no verdict is graded strictly."""
    from hicra_cli.grading import GradingPool

    collect, task = space.config.collect, space.config.task
    with (
        GradingPool(workers=task.grader_workers, timeout_s=task.grader_timeout_s) as pool,
        space.progress.phase("read rollouts") as advance,
    ):
        for path in collect.rollouts:
            waiting: list[RolloutRow] = []
            for row in read_rows(path, collect.fields):
                waiting.append(row)
                if len(waiting) == ROWS_PER_GRADING:
                    yield from _graded(waiting, pool)
                    advance(len(waiting))
                    waiting = []
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
    """Sample what is not there yet, then read everything in the order of policies, prompts and samples."""
    (space.folder / "parts").mkdir(exist_ok=True)
    steps: Mapping[str, int | None] = space.plan.settings["steps"]
    with build_task(space.config) as task:
        prompts = task.stream(0, space.config.collect.num_prompts, seed=space.config.seed)
        for role, step in steps.items():
            _sample_policy(space, task, prompts, role, step)
    for role in steps:
        for path in _parts(space, role, len(prompts)):
            yield from read_rollouts(path)


def _parts(space: Workspace, role: str, num_prompts: int) -> list[Path]:
    return [space.folder / "parts" / f"{role}-{at:09d}.parquet" for at in range(0, num_prompts, PROMPTS_PER_CHUNK)]


def _sample_policy(space: Workspace, task: Task, prompts: Sequence[Prompt], role: str, step: int | None) -> None:
    """Sample one policy chunk by chunk; chunks that an earlier attempt has finished are left as they are."""
    parts = _parts(space, role, len(prompts))
    missing = [at for at, path in enumerate(parts) if not path.exists()]
    if not missing:
        return
    from hicra_cli.engine.base import Draws, Request
    from hicra_cli.tasks.prompts import render

    config, policy = space.config, space.plan.inputs[role]
    sampling, samples = config.collect.sampling, tuple(range(config.collect.samples))
    with ExitStack() as stack:
        tokenizer, build = _loaded(config, policy.path)
        requests = [Request(each, render(each, tokenizer, config.task), samples) for each in prompts]
        engine = stack.enter_context(build(longest_prompt=max(len(each.token_ids) for each in requests)))
        chunks = {at: requests[at * PROMPTS_PER_CHUNK : (at + 1) * PROMPTS_PER_CHUNK] for at in missing}
        total = sum(map(len, chunks.values())) * len(samples)
        advance = stack.enter_context(space.progress.phase(f"sample {policy.ref}", total))
        for at, chunk in chunks.items():
            draws = Draws(config.seed, "collect")
            rollouts = engine.generate(chunk, sampling, draws, on_rollout=lambda _: advance())
            graded = zip(rollouts, task.verdicts(rollouts), strict=True)
            unfinished = parts[at].with_suffix(".unfinished")
            write_rollouts(
                unfinished, (row_of(each, verdict, policy=policy.ref, step=step) for each, verdict in graded)
            )
            os.replace(unfinished, parts[at])


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


def _drop_parts(folder: Path) -> None:
    parts = folder / "parts"
    if parts.is_dir():
        for path in parts.iterdir():
            path.unlink()
        parts.rmdir()


def is_success(row: RolloutRow, collect: CollectConfig) -> bool:
    """Whether a rollout's grams are counted under the paper's rule, as configured."""
    if not collect.successful_only:
        return True
    return collect.unknown_is_success if row.outcome is None else row.outcome is Outcome.CORRECT
