"""From kept samples and verdicts to the published files: `samples.jsonl` row by row, `summary.json` from its rows.

The summary is computed from the published file and from nothing else, so it can be recomputed by anyone; what it says
besides figures (`Provenance`) is what a reader needs to repeat the run. It knows no clock and no folder of the machine.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import RunError
from hicra_cli.core.filesystem import storage_errors, write_durably
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import Outcome
from hicra_cli.grading import GRADER_VERSION
from hicra_cli.tasks.benchmarks import Benchmark
from hicra_cli.tasks.prompts import template_text

from .base import Workspace
from .eval_questions import Exam
from .eval_sampling import bench_task
from .eval_summary import BenchScores, mean_summary, text_digest
from .kept_lines import KeptLines, Row
from .samples import SAMPLES, Key, read_samples, write_samples

SUMMARY = "summary.json"
SHARD = "shard"
MEAN = "mean"
ABOUT_BENCH = ("source", "revision", "licence", "data_sha256", "rows_sha256", "template_sha256")
ENGINE_NOTE = "another version, precision or batch of the engine may round otherwise and sample other responses"
_PACKAGES = {"transformers": ("transformers", "torch"), "vllm": ("vllm", "torch")}


def publish_rows(folder: Path, keys: Sequence[Key], sampled: KeptLines[Key], verdicts: KeptLines[Key]) -> None:
    """Write `samples.jsonl` in the order of `keys`. RunError where a sample or a verdict is missing: none is padded."""
    missing = [key for key in keys if key not in sampled or key not in verdicts]
    if missing:
        bench, question, sample = missing[0]
        raise RunError(
            f"{len(missing)} of {len(keys)} samples are missing, the first is sample {sample} of {bench} {question}",
            fix="Go on with --resume",
        )
    rows = zip(sampled.read(keys), verdicts.read(keys), strict=True)
    write_samples(folder, (_published(row, verdict) for row, verdict in rows))


def write_summary(
    folder: Path, about: Mapping[str, Any], benches: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """`summary.json`: provenance, for each benchmark its figures and what is known of it (`benches`), their mean.

    settings: of the plan: which pass@k are asked for and which golds are in doubt.
    """
    scores = {name: BenchScores(doubtful=settings["bench"][name]["doubtful"]) for name in benches}
    for row in read_samples(folder / SAMPLES):
        scores[row["bench"]].add(row)
    figures = {name: {**scores[name].figures(settings["pass_k"]), **benches[name]} for name in benches}
    summary = {**about, "bench": figures, MEAN: mean_summary(figures)}
    text = json.dumps(summary, indent=1, allow_nan=False) + "\n"
    with storage_errors("writing the summary", folder):
        write_durably(folder / SUMMARY, text.encode())
    return summary


def provenance(space: Workspace, exam: Exam) -> dict[str, Any]:
    """What made the samples. A shard also says which part it is, and of what."""
    from hicra_cli.engine.policy import load_tokenizer

    config, policy = space.config, space.plan.inputs["policy"]
    gram_set = space.plan.inputs.get("gram-set")
    about: dict[str, Any] = {
        "policy": policy.ref,
        "policy_digest": policy.digest,
        "gram_set": None if gram_set is None else gram_set.ref,
        "hicra": metadata.version("hicra"),
        "seed": config.seed,
        "sampling": config.eval.sampling.model_dump(mode="json"),
        "engine": _engine(space),
        "grader": {
            "version": GRADER_VERSION,
            "math_verify": metadata.version("math-verify"),
            "timeout_s": config.task.grader_timeout_s,
        },
        "prompt_template_sha256": text_digest(template_text(load_tokenizer(policy.path), config.task)),
        "template_options": dict(sorted(config.task.template_options.items())),
    }
    if exam.shard is not None:
        settings = {name: value for name, value in space.plan.settings.items() if name != SHARD}
        about[SHARD] = {"number": exam.shard.number, "count": exam.shard.count, "settings": settings}
    return about


def about_benches(benches: Iterable[Benchmark], space: Workspace) -> dict[str, dict[str, Any]]:
    """What is known of each benchmark besides its scores."""
    from hicra_cli.engine.policy import load_tokenizer

    tokenizer = load_tokenizer(space.plan.inputs["policy"].path)
    return {
        bench.name: {
            "source": bench.label,
            "revision": bench.revision,
            "licence": bench.licence,
            "data_sha256": bench.sha256,
            "rows_sha256": bench.rows_sha256,
            "template_sha256": text_digest(template_text(tokenizer, bench_task(bench, space.config.task))),
        }
        for bench in benches
    }


def headline(bench: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a benchmark that the command line shows."""
    shown = ("questions", "samples", "average", "low", "high", "truncated_fraction", "mean_tokens", "planning_fraction")
    figures = {name: bench[name] for name in shown if bench.get(name) is not None}
    passed = {f"pass@{k}": value for k, value in bench["pass_at_k"].items() if value is not None}
    return {**figures, **passed, "outcomes": bench["outcomes"]}


def warn_of_trouble(summary: Mapping[str, Any], progress: Progress) -> None:
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
                progress.warn(f"{name}: {count} answers could not be compared ({outcome.value}); see {SAMPLES}")


def _published(row: Row, verdict: Row) -> Row:
    """Sample, verdict, and last what is long: prompt and text."""
    return {
        **{name: value for name, value in row.items() if name not in ("prompt", "text", "obstacle")},
        **{name: value for name, value in verdict.items() if name not in row},
        "prompt": row["prompt"],
        "text": row["text"],
    }


def _engine(space: Workspace) -> dict[str, Any]:
    """Which engine, in which precision, with which settings that decide its batches."""
    from hicra_cli.engine.factory import resolve_device, resolve_dtype

    config = space.config
    if config.engine.name == "openai":
        # Version, precision and batches of a server are its own; what it does not say is not made up.
        return {**config.engine.identity, "dtype": None, "version": None, "note": ENGINE_NOTE}
    device = resolve_device(config)
    batch = config.engine.model_dump(
        mode="json", include={"max_rows", "max_model_len", "enforce_eager", "tensor_parallel"}
    )
    return {
        "name": config.engine.name,
        "version": _version(config.engine.name),
        "packages": {name: _version(name) for name in _PACKAGES.get(config.engine.name, ())},
        "device": device.type,
        "dtype": str(resolve_dtype(config, device)).removeprefix("torch."),
        "batch": batch,
        "note": ENGINE_NOTE,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
