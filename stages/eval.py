"""eval: sample a policy on benchmarks, grade strictly, and say how sure the numbers are.

Writes `samples.jsonl` (a row per sample: bench, question, sample, reward, outcome, answer, detail, num_tokens,
finish_reason, planning_tokens where a gram-set is given, text, gold) and `summary.json`. A question that does not fit
into the model's context is a row of its own with outcome `error`: counted, never dropped.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.artifact import Artifact
from hicra_cli.core.errors import ConfigError
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import FinishReason, Outcome, Prompt, Rollout
from hicra_cli.core.registry import Registry
from hicra_cli.grading import GRADER_VERSION
from hicra_cli.tasks.benchmarks import Benchmark, load_benchmark
from hicra_cli.tasks.prompts import render, template_text

from .base import Input, Plan, Stage, Work, Workspace, execute
from .eval_grading import NOT_SAMPLED, graded_rows
from .eval_summary import bench_summary, text_digest
from .gram_sets import load_gram_set, resolve_gram_set
from .policies import resolve_policy
from .samples import Row, SampledFile, write_samples

SUMMARY = "summary.json"


def run(config: HicraConfig, registry: Registry, progress: Progress) -> Artifact:
    """Evaluate a policy, or return the evaluation that equal settings and inputs have given."""
    return execute(STAGE, config, registry, progress).artifact


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """The policy, the gram-set, and which questions are asked how often."""
    inputs: dict[str, Input] = {"policy": resolve_policy(config.eval.policy, registry)}
    if config.eval.gram_set is not None:
        inputs["gram-set"] = resolve_gram_set(config.eval.gram_set, registry)
    benches = _benchmarks(config)
    counts = {bench.name: _samples(bench, config) for bench in benches}
    task = config.task.model_dump(
        mode="json", include={"system_prompt", "instruction", "chat_template", "template_options", "grader_timeout_s"}
    )
    settings = {
        "bench": {
            bench.name: {"sha256": bench.sha256, "questions": len(bench.prompts), "samples": counts[bench.name]}
            for bench in benches
        },
        "sampling": config.eval.sampling.model_dump(mode="json"),
        "pass_k": config.eval.pass_k,
        "task": task,
        "engine": {"name": config.engine.name, "dtype": config.engine.dtype},
        "grader": GRADER_VERSION,
        "seed": config.seed,
    }
    total = sum(len(bench.prompts) * counts[bench.name] for bench in benches)
    details = {
        f"bench {bench.name}": f"{len(bench.prompts)} x {counts[bench.name]}: {bench.source}" for bench in benches
    }
    return Plan(_name(config, benches), inputs, settings, {**details, "samples": f"{total}"})


def work(space: Workspace) -> Work:
    """Sample what is missing, grade everything, write samples and summary."""
    benches = _benchmarks(space.config)
    for warning in (warning for bench in benches for warning in bench.warnings):
        space.progress.warn(warning)
    with SampledFile(space.folder) as sampled:
        _report_found(sampled, space)
        _sample(space, benches, sampled)
        ordered = [sampled.rows[key] for key in _keys(benches, space.config)]
    rows = graded_rows(ordered, benches, space.config.task, space.progress)
    summary = _summary(space, benches, rows)
    (space.folder / SUMMARY).write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_samples(space.folder, rows)
    _warn_of_trouble(summary, space.progress)
    return Work({name: _headline(bench) for name, bench in summary["bench"].items()})


STAGE = Stage("eval", "evaluation", "1", plan, work, resumable=True)


def _benchmarks(config: HicraConfig) -> list[Benchmark]:
    if not config.eval.bench:
        raise ConfigError("no benchmark is given", where="eval.bench", fix="hicra eval --bench aime24")
    benches = [
        load_benchmark(
            name,
            data_dir=config.data_dir,
            limit=config.eval.limit,
            countdown_questions=config.eval.countdown_questions,
            countdown_numbers=config.task.numbers,
        )
        for name in config.eval.bench
    ]
    names = [bench.name for bench in benches]
    if len(set(names)) < len(names):
        raise ConfigError(f"two benchmarks have the same name: {', '.join(names)}", where="eval.bench")
    for bench in benches:
        too_many = [k for k in config.eval.pass_k if k > _samples(bench, config)]
        if too_many or any(k < 1 for k in config.eval.pass_k):
            raise ConfigError(
                f"pass@{max(too_many, default=0)} cannot be estimated from {_samples(bench, config)} samples of "
                f"{bench.name}",
                where="eval.pass_k",
                fix="Raise --samples",
            )
    return benches


def _samples(bench: Benchmark, config: HicraConfig) -> int:
    return config.eval.samples if config.eval.samples is not None else bench.default_samples


def _name(config: HicraConfig, benches: Sequence[Benchmark]) -> str:
    """The configured name, or one made of policy and benchmarks."""
    if config.eval.name is not None:
        return config.eval.name
    policy = config.eval.policy.removeprefix("policy:").rstrip("/").rpartition("/")[2]
    text = "-".join([policy, *(bench.name for bench in benches)]).lower()
    return re.sub(r"[^a-z0-9._-]+", "-", text).strip("-._")[:64] or "evaluation"


def _keys(benches: Sequence[Benchmark], config: HicraConfig) -> list[tuple[str, str, int]]:
    """Every sample of this evaluation in its canonical order."""
    return [
        (bench.name, prompt.id, sample)
        for bench in benches
        for prompt in bench.prompts
        for sample in range(_samples(bench, config))
    ]


def _report_found(sampled: SampledFile, space: Workspace) -> None:
    if sampled.torn:
        space.progress.warn("the last sample of the interrupted run was cut off in the middle; it is drawn again")
    if sampled.rows:
        space.progress.note(f"{len(sampled.rows)} samples of the interrupted run are kept")


@dataclass(frozen=True, slots=True)
class _Question:
    """A benchmark's prompt with its token ids (P,), or the reason why it cannot be asked."""

    prompt: Prompt
    token_ids: NDArray[Any]
    missing: tuple[int, ...]
    obstacle: str = ""


def _sample(space: Workspace, benches: Sequence[Benchmark], sampled: SampledFile) -> None:
    """Draw every sample that is not there yet; one benchmark after the other, one queue for each."""
    if all(key in sampled.rows for key in _keys(benches, space.config)):
        return
    from hicra_cli.engine.base import Draws, Request
    from hicra_cli.engine.factory import build_engine, set_threads
    from hicra_cli.engine.policy import load_tokenizer

    config, path = space.config, space.plan.inputs["policy"].path
    set_threads(config)
    tokenizer = load_tokenizer(path)
    questions = {bench.name: _questions(bench, tokenizer, path, sampled, config) for bench in benches}
    planning = _planning_counter(space, tokenizer)
    longest = max(
        (len(each.token_ids) for group in questions.values() for each in group if not each.obstacle), default=0
    )
    with build_engine(config, path, sampling=config.eval.sampling, longest_prompt=longest) as engine:
        for bench in benches:
            for each in questions[bench.name]:
                _keep_obstacle(each, bench, sampled)
            requests = [
                Request(each.prompt, each.token_ids, each.missing)
                for each in questions[bench.name]
                if each.missing and not each.obstacle
            ]
            total = sum(len(request.samples) for request in requests)
            if not total:
                continue
            with space.progress.phase(f"sample {bench.name}", total) as advance:

                def keep(rollout: Rollout, name: str = bench.name, advance: Any = advance) -> None:
                    sampled.add(_row(rollout, name, planning))
                    advance()

                engine.generate(requests, config.eval.sampling, Draws(config.seed, "eval"), on_rollout=keep)


def _questions(
    bench: Benchmark, tokenizer: Any, policy: Path, sampled: SampledFile, config: HicraConfig
) -> list[_Question]:
    """The benchmark's prompts, templated, each with the samples that are still to be drawn."""
    context = _context(policy, config)
    questions = []
    for prompt in bench.prompts:
        wanted = range(_samples(bench, config))
        missing = tuple(sample for sample in wanted if (bench.name, prompt.id, sample) not in sampled.rows)
        token_ids = render(prompt, tokenizer, config.task, instruct=bench.kind == "maths")
        length = len(token_ids)
        obstacle = f"the prompt has {length} tokens, the context {context}" if length >= context else ""
        questions.append(_Question(prompt, token_ids, missing, obstacle))
    return questions


def _context(policy: Path, config: HicraConfig) -> int:
    """Tokens that prompt and response together may have."""
    from transformers import AutoConfig

    model = AutoConfig.from_pretrained(policy, local_files_only=True, trust_remote_code=False)
    limit = getattr(model.get_text_config(decoder=True), "max_position_embeddings", None) or 1 << 30
    return min(int(limit), config.engine.max_model_len or 1 << 30) if config.engine.name == "vllm" else int(limit)


def _planning_counter(space: Workspace, tokenizer: Any) -> Callable[[Rollout], int] | None:
    """Counts the planning tokens of a rollout under the gram-set, where one is given."""
    if "gram-set" not in space.plan.inputs:
        return None
    from hicra_cli.grams.matcher import PlanningMatcher

    matcher = PlanningMatcher(load_gram_set(space.plan.inputs["gram-set"]), tokenizer)
    return lambda rollout: int(
        matcher.planning_mask(rollout.token_ids, truncated=rollout.finish_reason is FinishReason.LENGTH).sum()
    )


def _row(rollout: Rollout, bench: str, planning: Callable[[Rollout], int] | None) -> Row:
    row: Row = {
        "bench": bench,
        "question": rollout.prompt.id,
        "sample": rollout.sample,
        "num_tokens": len(rollout.token_ids),
        "finish_reason": rollout.finish_reason.value,
        "text": rollout.text,
    }
    return row if planning is None else {**row, "planning_tokens": planning(rollout)}


def _keep_obstacle(question: _Question, bench: Benchmark, sampled: SampledFile) -> None:
    if question.obstacle:
        for sample in question.missing:
            sampled.add(
                {
                    "bench": bench.name,
                    "question": question.prompt.id,
                    "sample": sample,
                    "num_tokens": 0,
                    "finish_reason": NOT_SAMPLED,
                    "text": "",
                    "obstacle": question.obstacle,
                }
            )


def _summary(space: Workspace, benches: Sequence[Benchmark], rows: Sequence[Row]) -> dict[str, Any]:
    from hicra_cli.engine.policy import load_tokenizer

    config, policy = space.config, space.plan.inputs["policy"]
    prompts = template_text(load_tokenizer(policy.path), config.task)
    gram_set = space.plan.inputs.get("gram-set")
    return {
        "policy": policy.ref,
        "policy_digest": policy.digest,
        "gram_set": None if gram_set is None else gram_set.ref,
        "sampling": config.eval.sampling.model_dump(mode="json"),
        "seed": config.seed,
        "engine": {"name": config.engine.name, "version": metadata.version(config.engine.name)},
        "grader": {"version": GRADER_VERSION, "math_verify": metadata.version("math-verify")},
        "prompt_template_sha256": text_digest(prompts),
        "bench": {
            bench.name: {
                **bench_summary([row for row in rows if row["bench"] == bench.name], ks=config.eval.pass_k),
                "source": bench.label,
                "data_sha256": bench.sha256,
            }
            for bench in benches
        },
    }


def _headline(bench: dict[str, Any]) -> dict[str, Any]:
    """The figures of a benchmark that the command line shows."""
    shown = ("questions", "samples", "average", "low", "high", "truncated_fraction", "mean_tokens", "planning_fraction")
    figures = {name: bench[name] for name in shown if bench.get(name) is not None}
    passed = {f"pass@{k}": value for k, value in bench["pass_at_k"].items()}
    return {**figures, **passed, "outcomes": bench["outcomes"]}


def _warn_of_trouble(summary: dict[str, Any], progress: Progress) -> None:
    """Say what makes a score doubtful."""
    for name, bench in summary["bench"].items():
        if bench["prompts_too_long"]:
            progress.warn(f"{name}: {bench['prompts_too_long']} questions do not fit into the model's context")
        if bench["truncated_fraction"] > 0.05:
            share = bench["truncated_fraction"]
            progress.warn(f"{name}: {share:.0%} of the responses were cut at the token limit (--max-new-tokens)")
        for outcome in (Outcome.TIMEOUT, Outcome.ERROR):
            count = bench["outcomes"][outcome.value] - (
                bench["prompts_too_long_samples"] if outcome is Outcome.ERROR else 0
            )
            if count:
                progress.warn(f"{name}: {count} answers could not be compared ({outcome.value}); see samples.jsonl")
