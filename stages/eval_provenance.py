"""What made an evaluation's samples: all a reader needs to repeat the run. It knows no clock and no folder.

A run that is resumed with another engine, version or precision is still one evaluation, but a mixed one: the draft
remembers the engines it was sampled with (`engines.json`), and the summary names the earlier ones.
"""

import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.filesystem import storage_errors, write_durably
from hicra_cli.grading import GRADER_VERSION
from hicra_cli.tasks.benchmarks import Benchmark
from hicra_cli.tasks.prompts import template_text

from .base import Workspace
from .eval_questions import Exam
from .eval_sampling import bench_task
from .eval_summary import text_digest
from .samples import ENGINES

SHARD = "shard"
ABOUT_BENCH = ("source", "revision", "licence", "data_sha256", "rows_sha256", "template_sha256")
ENGINE_NOTE = "another version, precision or batch of the engine may round otherwise and sample other responses"
_PACKAGES = {"transformers": ("transformers", "torch"), "vllm": ("vllm", "torch")}


def remember_engine(space: Workspace) -> None:
    """Note in the draft what samples now; warn where an earlier part of the run was sampled by something else."""
    engine = _engine(space.config)
    before = _remembered(space.folder)
    if before and before[-1] != engine:
        changed = sorted(name for name in {*before[-1], *engine} if before[-1].get(name) != engine.get(name))
        space.progress.warn(
            f"the interrupted run was sampled with another engine ({', '.join(changed)}); the summary names both"
        )
    if not before or before[-1] != engine:
        with storage_errors("starting an evaluation", space.folder):
            write_durably(space.folder / ENGINES, json.dumps([*before, engine]).encode())


def provenance(space: Workspace, exam: Exam) -> dict[str, Any]:
    """What made the samples. A shard also says which part it is, and of what."""
    from hicra_cli.engine.policy import load_tokenizer

    config, policy = space.config, space.plan.inputs["policy"]
    gram_set = space.plan.inputs.get("gram-set")
    about: dict[str, Any] = {
        "policy": policy.ref,
        "policy_digest": policy.digest,
        "gram_set": None if gram_set is None else gram_set.ref,
        "gram_set_digest": None if gram_set is None else gram_set.digest,
        "hicra": metadata.version("hicra"),
        "seed": config.seed,
        "sampling": config.eval.sampling.model_dump(mode="json"),
        **_engines(space.folder, _engine(config)),
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


def _engines(folder: Path, now: dict[str, Any]) -> dict[str, Any]:
    """The engine that sampled last and, where there were several, the earlier ones."""
    *earlier, last = _remembered(folder) or [now]
    return {"engine": last, "earlier_engines": earlier} if earlier else {"engine": last}


def _remembered(folder: Path) -> list[dict[str, Any]]:
    path = folder / ENGINES
    if not path.exists():
        return []
    engines: list[dict[str, Any]] = json.loads(path.read_bytes())
    return engines


def _engine(config: HicraConfig) -> dict[str, Any]:
    """Which engine, in which precision, with which settings that decide its batches."""
    from hicra_cli.engine.factory import resolve_device, resolve_dtype

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
