"""collect-grams: sample policies or read rollouts, count the n-grams of successful solutions, rank them.

The rollouts become an artifact of their own (see `rollouts.py`), cached by itself: counting again with other settings
samples nothing again; a rollouts artifact that is named is used as it is. They are read row by row and never held:
once for the names in the problems, once for counting, once more for the contexts of the candidates that were kept.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hicra_cli.config.collect import CollectConfig
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import RunError
from hicra_cli.core.progress import Advance, Progress
from hicra_cli.core.records import FinishReason, Outcome
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.candidate_file import write_candidates
from hicra_cli.grams.candidates import Candidate, Counts
from hicra_cli.grams.contexts import choose_contexts
from hicra_cli.grams.counting import Solution, count_grams
from hicra_cli.grams.names import NameFinder
from hicra_cli.grams.ranking import Ranked, rank
from hicra_cli.grams.rollout_file import FILE_NAME, RolloutRow, read_rollouts

from . import rollouts
from .base import Plan, Stage, Work, Workspace, execute, stage_key
from .rollout_sources import single_artifact

# What can change a candidate; memory and workers cannot.
COUNTING_FIELDS = (
    "successful_only",
    "unknown_is_success",
    "ngram_min",
    "ngram_max",
    "min_document_frequency",
    "document",
    "drop_names",
    "merge_phrases",
    "rank_by",
    "balance",
    "max_candidates",
    "contexts",
)
SCRATCH = "scratch"
MOST_GROUPS = 16
"""Policies and steps that the summary lists; a file may hold thousands."""


def run(config: HicraConfig, registry: Registry, progress: Progress) -> Artifact:
    """Collect candidates and return their artifact; an equal run before is not repeated."""
    return execute(STAGE, config, registry, progress).artifact


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """Where solutions come from, and on top of it the settings of counting and ranking."""
    settings: dict[str, Any] = {name: getattr(config.collect, name) for name in COUNTING_FIELDS}
    settings["seed"] = config.seed
    given = single_artifact(config.collect, registry)
    if given is not None:
        return Plan(config.collect.name, {"rollouts": given}, settings, {"reads": given.ref})
    source = rollouts.plan(config, registry)
    settings["rollouts_key"] = stage_key(rollouts.STAGE, source)
    return Plan(config.collect.name, {}, settings, source.details)


def work(space: Workspace) -> Work:
    """Write `candidates.parquet` and `counts.json`; the summary says what was counted and what was left out."""
    found = space.artifact("rollouts") if "rollouts" in space.plan.inputs else _rollouts(space)
    corpus = _Corpus(found, space)
    with _scratch(space.folder) as scratch:
        counts = corpus.counted(scratch)
    if not counts.solutions:
        raise _nothing_successful(corpus.tally)
    ranked = rank(counts, space.config.collect)
    if not ranked.candidates:
        raise _nothing_frequent(counts, space.config.collect)
    candidates = corpus.with_contexts(ranked.candidates)
    summary = _summary(counts, ranked, corpus.tally)
    write_candidates(space.folder, candidates, summary)
    return Work(summary, inputs=[] if "rollouts" in space.plan.inputs else [(found, "rollouts")])


STAGE = Stage("collect-grams", "candidates", "2", plan, work, resumable=True)


def _rollouts(space: Workspace) -> Artifact:
    """The rollouts artifact; what an earlier attempt has sampled of it is taken over. Reading leaves nothing behind."""
    key = str(space.plan.settings["rollouts_key"])
    waiting = bool(space.registry.unfinished("rollouts", key))
    stage = replace(rollouts.STAGE, resumable=not space.config.collect.rollouts)
    return execute(stage, space.config, space.registry, space.progress, resume=waiting).artifact


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder for counting, gone afterwards; one that a killed run has left is emptied."""
    scratch = folder / SCRATCH
    if scratch.exists():
        shutil.rmtree(scratch)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)


class _Tally:
    """What was read: rollouts, and why some are not counted, in all and by (policy, step)."""

    def __init__(self) -> None:
        self.rollouts = 0
        self.left_out: Counter[str] = Counter()
        self.by_group: dict[tuple[str, int | None], Counter[str]] = {}

    def add(self, row: RolloutRow, *, counted: bool) -> None:
        self.rollouts += 1
        group = self.by_group.setdefault((row.policy or "", row.step), Counter())
        group["rollouts"] += 1
        group["counted"] += counted
        if not counted:
            self.left_out["unknown" if row.outcome is None else row.outcome.value] += 1


class _Corpus:
    """The solutions of a rollouts file, streamed as often as they are asked for. `tally` is filled by counting."""

    def __init__(self, source: Artifact, space: Workspace) -> None:
        self._path = source.file(FILE_NAME)
        self._rollouts: int | None = source.summary.get("rollouts")
        self._collect = space.config.collect
        self._seed = space.config.seed
        self._progress = space.progress
        self.tally = _Tally()

    def counted(self, scratch: Path) -> Counts:
        """One pass for the names where they are dropped, one for the counts."""
        names = self._names() if self._collect.drop_names else frozenset()
        with self._progress.phase("count grams", self._rollouts) as advance:
            solutions = self._solutions(advance, self.tally)
            return count_grams(solutions, self._collect, scratch=scratch, names=names)

    def with_contexts(self, candidates: tuple[Candidate, ...]) -> list[Candidate]:
        """The candidates with example surroundings from the successful solutions."""
        if not self._collect.contexts:
            return list(candidates)
        grams = [each.gram for each in candidates]
        with self._progress.phase("find contexts", self._rollouts) as advance:
            chosen = choose_contexts(self._solutions(advance), grams, limit=self._collect.contexts, seed=self._seed)
        return [replace(each, contexts=contexts) for each, contexts in zip(candidates, chosen, strict=True)]

    def _names(self) -> frozenset[str]:
        finder = NameFinder()
        with self._progress.phase("find names in the problems", self._rollouts) as advance:
            for row in read_rollouts(self._path, with_tokens=False):
                finder.add(row.problem, row.text)
                advance()
        return finder.names()

    def _solutions(self, advance: Advance, tally: _Tally | None = None) -> Iterator[Solution]:
        for row in read_rollouts(self._path, with_tokens=False):
            advance()
            counted = rollouts.is_success(row, self._collect)
            if tally is not None:
                tally.add(row, counted=counted)
            if counted or row.outcome in _FAILURES:
                truncated = row.finish_reason is FinishReason.LENGTH
                yield Solution(row.prompt_id, row.text, row.policy, row.step, truncated, successful=counted)


_FAILURES = (Outcome.WRONG, Outcome.NO_ANSWER, Outcome.UNCLOSED, Outcome.TRUNCATED, Outcome.UNPARSABLE)
"""What successes are compared with. Where the grader failed, nobody knows."""


def _nothing_successful(tally: _Tally) -> RunError:
    reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(tally.left_out.items()))
    return RunError(
        f"none of {tally.rollouts} rollouts is a successful solution ({reasons})",
        fix="Sample a stronger policy or more problems, or count others too with "
        "--set collect.unknown_is_success=true or --set collect.successful_only=false",
    )


def _nothing_frequent(counts: Counts, collect: CollectConfig) -> RunError:
    unit, number = ("problems", counts.problems) if collect.document == "problem" else ("solutions", counts.solutions)
    return RunError(
        f"no gram of {collect.ngram_min} to {collect.ngram_max} words is used in {collect.min_document_frequency} "
        f"of {number} {unit}",
        fix="Give more problems, or a smaller --set collect.min_document_frequency",
    )


def _summary(counts: Counts, ranked: Ranked, tally: _Tally) -> dict[str, Any]:
    return {
        "rollouts": tally.rollouts,
        "left_out": dict(sorted(tally.left_out.items())),
        "solutions": counts.solutions,
        "failures": counts.failures,
        "problems": counts.problems,
        "words": counts.words,
        "distinct_grams": counts.distinct_grams,
        "dropped": {**counts.dropped, **ranked.dropped},
        "candidates": len(ranked.candidates),
        "groups": _groups(tally),
    }


def _groups(tally: _Tally) -> dict[str, Mapping[str, int]]:
    """Rollouts and counted solutions of each policy and step, by step, where there are several: the largest ones."""
    if len(tally.by_group) < 2:
        return {}
    named = {
        (policy or "unnamed") + ("" if step is None else f", step {step}"): dict(group)
        for (policy, step), group in sorted(tally.by_group.items(), key=lambda each: (each[0][1] or 0, each[0][0]))
    }
    largest = sorted(named, key=lambda name: (-named[name]["rollouts"], name))[:MOST_GROUPS]
    return {name: group for name, group in named.items() if name in largest}
