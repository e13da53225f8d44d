"""collect-grams: sample policies or read rollouts, keep the successful solutions, count their n-grams.

The rollouts become an artifact of their own (see `rollouts.py`), cached by itself: counting again with other settings
samples nothing again.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hicra_cli.config.collect import CollectConfig
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import RunError
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import FinishReason
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.candidate_file import write_candidates
from hicra_cli.grams.candidates import Counts
from hicra_cli.grams.counting import Solution, count_grams
from hicra_cli.grams.rollout_file import FILE_NAME, RolloutRow, read_rollouts

from . import rollouts
from .base import Plan, Stage, Work, Workspace, execute, stage_key

COUNTING_FIELDS = (
    "successful_only",
    "unknown_is_success",
    "ngram_min",
    "ngram_max",
    "min_document_frequency",
    "max_candidates",
    "contexts",
)


def run(config: HicraConfig, registry: Registry, progress: Progress) -> Artifact:
    """Collect candidates and return their artifact; an equal run before is not repeated."""
    return execute(STAGE, config, registry, progress).artifact


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """The rollouts' plan decides where solutions come from; the counting settings come on top."""
    source = rollouts.plan(config, registry)
    settings: dict[str, Any] = {name: getattr(config.collect, name) for name in COUNTING_FIELDS}
    settings["seed"] = config.seed
    settings["rollouts_key"] = stage_key(rollouts.STAGE, source)
    return Plan(config.collect.name, {}, settings, source.details)


def work(space: Workspace) -> Work:
    """Publish the rollouts (or find them published), then write `candidates.parquet` and `counts.json`."""
    found = _rollouts(space)
    rows = list(read_rollouts(found.file(FILE_NAME)))
    collect = space.config.collect
    counted = [row for row in rows if rollouts.is_success(row, collect)]
    left_out = _left_out(rows, collect)
    if not counted:
        raise RunError(
            f"none of {len(rows)} rollouts is a successful solution ({_words(left_out)})",
            fix="Sample a stronger policy or more problems, or count others too with "
            "--set collect.unknown_is_success=true or --set collect.successful_only=false",
        )
    with space.progress.phase("count grams", len(counted)) as advance:
        counts = count_grams([_solution(row) for row in counted], collect, seed=space.config.seed, on_solution=advance)
    if not counts.candidates:
        raise RunError(
            f"no gram of {collect.ngram_min} to {collect.ngram_max} words is used in {collect.min_document_frequency} "
            f"of {counts.problems} problems",
            fix="Give more problems, or a smaller --set collect.min_document_frequency",
        )
    summary = _summary(counts, rows=len(rows), left_out=left_out)
    write_candidates(space.folder, counts.candidates, summary)
    return Work(summary, inputs=[(found, "rollouts")])


STAGE = Stage("collect-grams", "candidates", "1", plan, work, resumable=True)


def _rollouts(space: Workspace) -> Artifact:
    """The rollouts artifact; what an earlier attempt has sampled of it is taken over."""
    key = str(space.plan.settings["rollouts_key"])
    waiting = bool(space.registry.unfinished("rollouts", key))
    return execute(rollouts.STAGE, space.config, space.registry, space.progress, resume=waiting).artifact


def _left_out(rows: list[RolloutRow], collect: CollectConfig) -> dict[str, int]:
    reasons = Counter(
        row.outcome.value if row.outcome is not None else "unknown"
        for row in rows
        if not rollouts.is_success(row, collect)
    )
    return dict(sorted(reasons.items()))


def _solution(row: RolloutRow) -> Solution:
    return Solution(row.prompt_id, row.text, row.policy, row.step, row.finish_reason is FinishReason.LENGTH)


def _summary(counts: Counts, *, rows: int, left_out: Mapping[str, int]) -> dict[str, Any]:
    return {
        "rollouts": rows,
        "left_out": dict(left_out),
        "solutions": counts.solutions,
        "problems": counts.problems,
        "words": counts.words,
        "distinct_grams": counts.distinct_grams,
        "dropped": counts.dropped,
        "candidates": len(counts.candidates),
    }


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items())
