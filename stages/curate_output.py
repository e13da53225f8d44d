"""What curate measures and shows about a gram-set: its coverage of the rollouts, and the page for a reader."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import ArtifactError, DataError, UsageError
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.audit import AuditResult
from hicra_cli.grams.coverage import Coverage, CoverageMeter, coverage_verdict
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.rollout_file import FILE_NAME as ROLLOUTS_NAME
from hicra_cli.grams.rollout_file import RolloutRow, read_rollouts
from hicra_cli.report.gram_review import (
    FILE_NAME as REVIEW_NAME,
)
from hicra_cli.report.gram_review import (
    Checkpoint,
    CoverageFacts,
    GramFacts,
    GramReview,
    SampledRollout,
    facts_of_history,
    sample_rollouts,
    write_gram_review,
)

from .base import Workspace
from .curate_inputs import has_own_candidates, input_of
from .policies import resolve_policy

COVERAGE_NAME = "coverage.json"
SAMPLES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Measured:
    """The coverage, the warning it calls for (empty for none), and rollouts to look at."""

    coverage: Coverage
    warning: str
    samples: list[SampledRollout]


def measure(space: Workspace, candidates: Artifact | None, gram_set: GramSet) -> Measured | None:
    """Coverage of the rollouts the candidates come from, in one pass, written as `coverage.json`; None without any.

    Warns outside the bounds that training has (`train.coverage`). Raises DataError where no word of them is inside a
    gram; rollouts that have nothing to do with the set (see `has_own_candidates`) only call for a warning.
    """
    rows = rollout_rows(space, candidates, "measure coverage")
    if rows is None:
        return None
    meter = CoverageMeter(gram_set, lru_cache(maxsize=8)(partial(_tokenizer, space.registry)))

    def metered() -> Iterator[RolloutRow]:
        for row in rows:
            meter.add(row)
            yield row

    samples = sample_rollouts(gram_set, metered(), size=SAMPLES_SHOWN, seed=space.config.seed)
    measured = meter.measured()
    verdict, sentence = coverage_verdict(measured, space.config.train.coverage)
    if verdict == "none" and has_own_candidates(space):
        raise DataError(sentence, fix="Curate grams of these rollouts, or name others with --candidates")
    if sentence:
        space.progress.warn(sentence)
    text = json.dumps({"verdict": verdict, **measured.to_json()}, indent=1, ensure_ascii=False, allow_nan=False)
    (space.folder / COVERAGE_NAME).write_text(text + "\n", encoding="utf-8")
    return Measured(measured, sentence, samples)


def write_review(
    space: Workspace,
    history: Sequence[Mapping[str, Any]],
    contexts: Mapping[str, Sequence[str]],
    *,
    missed: Sequence[GramFacts] = (),
    measured: Measured | None = None,
    audit: AuditResult | None = None,
) -> None:
    """`review.html` of the set whose history rows these are."""
    uses = {use.gram.text: use.occurrences for use in measured.coverage.grams} if measured else {}
    facts = {
        verdict: [
            _facts(row, contexts.get(row["gram"], ()), uses.get(row["gram"]))
            for row in history
            if row["verdict"] == verdict
        ]
        for verdict in ("accept", "reject")
    }
    review = GramReview(
        title=f"gram-set:{space.plan.name}",
        accepted=facts["accept"],
        rejected=facts["reject"],
        missed=missed,
        coverage=_coverage_facts(measured.coverage) if measured else None,
        audit=audit,
        samples=measured.samples if measured else (),
        sources=[f"{role}: {each.ref}" for role, each in space.plan.inputs.items()],
        warnings=[measured.warning] if measured and measured.warning else (),
        gate=(space.config.train.coverage.low, space.config.train.coverage.high),
    )
    write_gram_review(space.folder / REVIEW_NAME, review)


def rollout_rows(space: Workspace, candidates: Artifact | None, label: str) -> Iterator[RolloutRow] | None:
    """The rollouts the candidates come from, with progress; None, with a note, where they are gone."""
    try:
        if candidates is None:
            raise ArtifactError("there are no candidates, so there are no rollouts")
        rollouts = input_of(space.registry, candidates, "rollouts")
        path = rollouts.file(ROLLOUTS_NAME)
    except ArtifactError as error:
        space.progress.note(f"could not {label}: {error.what}")
        return None
    return _counted(space, path, label, rollouts.summary.get("rollouts"))


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """JSON lines."""
    with path.open("w", encoding="utf-8", newline="\n", errors="replace") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _facts(row: Mapping[str, Any], contexts: Sequence[str], occurrences: int | None) -> GramFacts:
    """A history row for the page, which names the annotator once."""
    facts = facts_of_history(row, contexts, cluster=row["cluster"], occurrences=occurrences)
    return replace(facts, judge="") if row["by"].partition(":")[0] == row["annotator"] else facts


def _counted(space: Workspace, path: Path, label: str, total: int | None) -> Iterator[RolloutRow]:
    with space.progress.phase(label, total) as advance:
        for row in read_rollouts(path):
            yield row
            advance()


def _tokenizer(registry: Registry, policy: str | None) -> Any | None:
    """The tokenizer of a sampled policy, where its folder can still be reached."""
    if policy is None:
        return None
    from hicra_cli.engine.policy import load_tokenizer

    try:
        return load_tokenizer(resolve_policy(policy, registry).path)
    except (ArtifactError, UsageError):
        return None


def _coverage_facts(coverage: Coverage) -> CoverageFacts:
    return CoverageFacts(
        unit="tokens" if coverage.unit == "tokens" else "pieces",
        planning_fraction=coverage.share.fraction or 0.0,
        per_rollout=coverage.rollout_shares.tolist(),
        moves={name: use.share.fraction or 0.0 for name, use in coverage.moves.items()},
        checkpoints=[
            Checkpoint(policy, step, each.rollouts, each.share.fraction or 0.0)
            for (policy, step), each in coverage.checkpoints.items()
        ],
        never_matched=coverage.never_matched,
    )
