"""`review.html` of a gram-set: its grams in context and who decided them, what they cover, highlighted rollouts.

One page that needs nothing else. Its only script sorts and searches the table; the content security policy names that
script by its hash and forbids all others, and without scripts the page still shows everything and filters by move.
"""

import math
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hicra_cli.core.records import FinishReason
from hicra_cli.core.seeds import seed_for
from hicra_cli.grams.audit import PAPER_RANDOM, PAPER_STRATEGIC, AuditResult
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.highlights import gram_spans
from hicra_cli.grams.matcher import TextMatcher
from hicra_cli.grams.rollout_file import RolloutRow
from hicra_cli.report.diagnosis import Mark
from hicra_cli.report.gram_histogram import histogram
from hicra_cli.report.pages import page_environment
from hicra_cli.report.scale import number
from hicra_cli.report.svg import figure_css
from hicra_cli.report.visible import Piece, pieces, visible

FILE_NAME = "review.html"
MOVES = ("deduction", "branching", "backtracing", "none")
CONTEXTS_SHOWN = 4
REJECTED_SHOWN = 300
SAMPLE_CHARACTERS = 8000


@dataclass(frozen=True, slots=True)
class GramFacts:
    """A gram as the page shows it. by: who or what decided (`rule`, `person`, `import:FILE` …), rule and reason: why.

    move: None is no move. judge: annotator and model. occurrences: in the rollouts of the coverage, None: not counted.
    """

    gram: str
    move: str | None
    by: str
    rule: str
    reason: str
    count: int
    document_frequency: int
    judge: str = ""
    confidence: float | None = None
    cluster: int | None = None
    occurrences: int | None = None
    contexts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The rollouts of one policy at one step: how many, and their share of planning."""

    policy: str | None
    step: int | None
    rollouts: int
    planning_fraction: float


@dataclass(frozen=True, slots=True)
class CoverageFacts:
    """Shares of planning over rollouts. unit: what was counted (`tokens` or `words`).

    per_rollout: the share in each rollout. moves: share of all units, by move (`none`: no move given).
    """

    unit: str
    planning_fraction: float
    per_rollout: Sequence[float]
    moves: Mapping[str, float] = field(default_factory=dict)
    checkpoints: Sequence[Checkpoint] = ()
    never_matched: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SampledRollout:
    """A rollout with its grams marked. planning_fraction: share of its characters, blanks left out, inside grams."""

    prompt_id: str
    sample: int
    text: str
    marks: tuple[Mark, ...]
    planning_fraction: float
    problem: str | None = None
    outcome: str | None = None
    policy: str | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class GramReview:
    """All that the page shows. sources: lines about what the set was made from. missed: proposals, with the reason.

    gate: the share of planning tokens outside of which training warns.
    """

    title: str
    accepted: Sequence[GramFacts]
    rejected: Sequence[GramFacts] = ()
    missed: Sequence[GramFacts] = ()
    coverage: CoverageFacts | None = None
    audit: AuditResult | None = None
    samples: Sequence[SampledRollout] = ()
    sources: Sequence[str] = ()
    warnings: Sequence[str] = ()
    gate: tuple[float, float] = (0.005, 0.15)


def write_gram_review(path: Path, review: GramReview) -> None:
    """Write the page; equal reviews are equal bytes."""
    path.write_text(render_gram_review(review), encoding="utf-8", errors="replace", newline="\n")


def render_gram_review(review: GramReview) -> str:
    """The page as text."""
    environment = page_environment(number=number, percent=_percent, visible=visible)
    script = environment.get_template("gram_review.js").render()
    sheets = [environment.get_template(name).render() for name in ("report.css", "gram_review.css")]
    decided = Counter(each.by for each in [*review.accepted, *review.rejected])
    return environment.get_template("gram_review.html.j2").render(
        review=review,
        css=Markup(figure_css() + "".join(sheets)),
        script=Markup(script),
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        moves=_moves(review.accepted),
        decided=decided.most_common(),
        figures=_figures(review),
        coverage_moves=_coverage_moves(review.coverage),
        histogram=Markup(
            histogram(review.coverage.per_rollout, mean=review.coverage.planning_fraction, unit=review.coverage.unit)
        )
        if review.coverage and review.coverage.per_rollout
        else None,
        gate=review.gate,
        rules=Counter(each.rule for each in review.rejected).most_common(),
        rejected=review.rejected[:REJECTED_SHOWN],
        contexts=_contexts,
        pieces=lambda sample: pieces(sample.text, sample.marks, limit=SAMPLE_CHARACTERS),
        sample_characters=SAMPLE_CHARACTERS,
        paper=(PAPER_STRATEGIC, PAPER_RANDOM),
        isfinite=math.isfinite,
        hicra_version=version("hicra"),
    )


def facts_of_history(row: Mapping[str, Any], contexts: Sequence[str] = (), **more: Any) -> GramFacts:
    """The facts in a line of `history.jsonl`; `more` are further fields of `GramFacts`."""
    return GramFacts(
        gram=row["gram"],
        move=row.get("move"),
        by=str(row.get("by") or ""),
        rule=str(row.get("rule") or ""),
        reason=str(row.get("reason") or ""),
        count=int(row.get("count") or 0),
        document_frequency=int(row.get("document_frequency") or 0),
        judge=" ".join(str(row[name]) for name in ("annotator", "model") if row.get(name)),
        confidence=row.get("confidence"),
        contexts=tuple(contexts),
        **more,
    )


def sample_rollouts(gram_set: GramSet, rows: Iterable[RolloutRow], *, size: int, seed: int) -> list[SampledRollout]:
    """`size` rollouts drawn by a hash of prompt, sample and checkpoint, not by what they hold, in the hash's order.

    One pass; memory holds `size` rows. The draw does not depend on the order of the rows.
    """
    kept: list[tuple[int, int, RolloutRow]] = []
    for at, row in enumerate(rows):
        place = f"{row.prompt_id}\n{row.policy}\n{row.text[:200]}"
        kept.append((seed_for(seed, "review", step=row.step or 0, prompt=place, sample=row.sample), at, row))
        if len(kept) >= 4 * size + 64:
            kept = sorted(kept, key=lambda each: each[:2])[:size]
    chosen = [row for _, _, row in sorted(kept, key=lambda each: each[:2])[:size]]
    matcher = TextMatcher(gram_set)
    return [_sampled(row, matcher) for row in chosen]


def _sampled(row: RolloutRow, matcher: TextMatcher) -> SampledRollout:
    found = matcher.occurrences(row.text, truncated=row.finish_reason is FinishReason.LENGTH)
    marks = tuple(Mark(each.start, each.end, each.gram.text, str(each.gram.move or "")) for each in found)
    inside, reach = 0, 0
    for mark in marks:
        inside += _letters(row.text[max(mark.start, reach) : mark.end])
        reach = max(reach, mark.end)
    return SampledRollout(
        prompt_id=row.prompt_id,
        sample=row.sample,
        text=row.text,
        marks=marks,
        planning_fraction=inside / max(1, _letters(row.text)),
        problem=row.problem,
        outcome=None if row.outcome is None else str(row.outcome),
        policy=row.policy,
        step=row.step,
    )


def _letters(text: str) -> int:
    return sum(map(len, text.split()))


def _moves(grams: Sequence[GramFacts]) -> list[tuple[str, int]]:
    counted = Counter(each.move or "none" for each in grams)
    return [(move, counted[move]) for move in MOVES if counted[move]]


def _coverage_moves(facts: CoverageFacts | None) -> list[tuple[str, float]]:
    """(move, share), in the order of the moves."""
    return [] if facts is None else [(move, facts.moves[move]) for move in MOVES if move in facts.moves]


def _contexts(facts: GramFacts) -> list[list[Piece]]:
    """Each context in pieces, the gram marked."""
    shown = []
    for context in facts.contexts[:CONTEXTS_SHOWN]:
        marks = [Mark(start, end, facts.gram, facts.move or "") for start, end in gram_spans(context, facts.gram)]
        shown.append(pieces(context, marks, limit=len(context)))
    return shown


def _figures(review: GramReview) -> list[tuple[str, str, str]]:
    """(name, value, remark) of the figures at the top of the coverage."""
    facts = review.coverage
    if facts is None:
        return []
    shares = sorted(facts.per_rollout)
    low, high = review.gate
    inside = "within" if low <= facts.planning_fraction <= high else "outside"
    remark = f"{inside} {_percent(low)} to {_percent(high, 0)} %, the range training accepts"
    rows = [(f"of all {facts.unit} plan", f"{_percent(facts.planning_fraction, 2)} %", remark)]
    if shares:
        median = shares[len(shares) // 2] if len(shares) % 2 else sum(shares[len(shares) // 2 - 1 :][:2]) / 2
        empty = sum(each == 0 for each in shares)
        rows.append(("in the median rollout", f"{_percent(median, 2)} %", f"of {len(shares):,} rollouts"))
        rows.append(
            (
                "of rollouts have none",
                f"{_percent(empty / len(shares))} %",
                f"{empty:,} rollout{'s' if empty != 1 else ''}",
            )
        )
    if facts.never_matched:
        used = len(review.accepted) - len(facts.never_matched)
        rows.append(("grams are used", f"{used:,}", f"{len(facts.never_matched):,} never occur in these rollouts"))
    return rows


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}" if math.isfinite(value) else "–"
