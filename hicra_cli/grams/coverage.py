"""How much of rollouts a gram-set covers: per rollout, move, gram and checkpoint, and whether HICRA can work with it.

Three units: *words* that a gram could cover (no numbers, maths or code); *pieces*, what blanks separate, maths and
numbers included, which is nearer to tokens; *tokens*, where token ids and their tokenizer are known. A rollout's share
is in tokens where they are known, else in pieces; everything per move and checkpoint is in that unit too.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.train import CoverageConfig
from hicra_cli.core.records import FinishReason, StrategicGram
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import Occurrence, PlanningMatcher, TextMatcher
from hicra_cli.grams.rollout_file import RolloutRow
from hicra_cli.grams.word_counts import Span, WordCounter, union

QUARTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
NO_MOVE = "none"
ROWS_AT_ONCE = 256

TokenizerOf = Callable[[str | None], Any | None]
"""The tokenizer of a policy's token ids; None where it cannot be had."""


@dataclass(slots=True)
class Share:
    """`planning` of `total` units lie inside strategic grams."""

    planning: int = 0
    total: int = 0

    def add(self, planning: int, total: int) -> None:
        """Count one more rollout."""
        self.planning += planning
        self.total += total

    @property
    def fraction(self) -> float | None:
        """None where there is nothing to cover."""
        return self.planning / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class GramUse:
    """occurrences: all of them, nested and overlapping ones too; rollouts: that hold any."""

    gram: StrategicGram
    occurrences: int
    rollouts: int


@dataclass(slots=True)
class MoveUse:
    """A move's occurrences, the rollouts that make it, and its share of the units; moves may overlap."""

    occurrences: int = 0
    rollouts: int = 0
    share: Share = field(default_factory=Share)


@dataclass(slots=True)
class Checkpoint:
    """The rollouts of one policy at one step."""

    rollouts: int = 0
    without: int = 0
    share: Share = field(default_factory=Share)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares over all rollouts and by part. rollout_shares: (B,) float64, of the rollouts that have any unit.

    unit: `tokens`, `pieces`, or `mixed` where only some rollouts have token ids. without: rollouts without any
    planning unit.
    """

    words: Share
    pieces: Share
    tokens: Share
    unit: Literal["tokens", "pieces", "mixed"]
    rollouts: int
    without: int
    rollout_shares: NDArray[np.float64]
    moves: dict[str, MoveUse]
    grams: tuple[GramUse, ...]
    checkpoints: dict[tuple[str | None, int | None], Checkpoint]

    @property
    def share(self) -> Share:
        """In the best unit there is: tokens where every rollout has them, else pieces."""
        return self.tokens if self.unit == "tokens" else self.pieces

    @property
    def never_matched(self) -> list[str]:
        """The grams that occur nowhere."""
        return [use.gram.text for use in self.grams if not use.occurrences]

    def quartiles(self) -> dict[str, float]:
        """Least, quartiles and largest share of a rollout; empty without rollouts."""
        if not self.rollout_shares.size:
            return {}
        values = np.quantile(self.rollout_shares, list(QUARTILES.values()))
        return {name: float(value) for name, value in zip(QUARTILES, values, strict=True)}

    def to_summary(self) -> dict[str, Any]:
        """The key figures."""
        named = {"words": self.words, "pieces": self.pieces, "tokens": self.tokens}
        figures: dict[str, Any] = {
            f"planning_{name}": share.fraction for name, share in named.items() if share.fraction is not None
        }
        if self.rollouts:
            figures["rollouts_without"] = self.without / self.rollouts
            figures["rollout_median"] = self.quartiles().get("median")
        figures["grams_never_matched"] = len(self.never_matched)
        return {name: value for name, value in figures.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """`coverage.json`: everything, the most used grams first."""
        grams = sorted(self.grams, key=lambda use: (-use.occurrences, use.gram.words))
        return {
            "unit": self.unit,
            "planning": {
                name: {"planning": share.planning, "total": share.total, "fraction": share.fraction}
                for name, share in (("words", self.words), ("pieces", self.pieces), ("tokens", self.tokens))
                if share.total
            },
            "rollouts": {
                "number": self.rollouts,
                "without": self.without,
                "without_fraction": self.without / self.rollouts if self.rollouts else None,
                "share": self.quartiles(),
            },
            "moves": {
                name: {
                    "occurrences": use.occurrences,
                    "rollouts": use.rollouts,
                    "planning_fraction": use.share.fraction,
                }
                for name, use in sorted(self.moves.items())
            },
            "checkpoints": [
                {
                    "policy": policy,
                    "step": step,
                    "rollouts": each.rollouts,
                    "without": each.without,
                    "planning_fraction": each.share.fraction,
                }
                for (policy, step), each in self.checkpoints.items()
            ],
            "grams": [
                {
                    "gram": use.gram.text,
                    "move": use.gram.move.value if use.gram.move else None,
                    "occurrences": use.occurrences,
                    "rollouts": use.rollouts,
                }
                for use in grams
            ],
            "never_matched": self.never_matched,
        }


def coverage(gram_set: GramSet, rows: Iterable[RolloutRow], tokenizer_of: TokenizerOf) -> Coverage:
    """Measure over all rows in one pass; a rollout is looked at as text, and by its token ids where it has any."""
    meter = CoverageMeter(gram_set, tokenizer_of)
    for row in rows:
        meter.add(row)
    return meter.measured()


def coverage_verdict(measured: Coverage, bounds: CoverageConfig) -> tuple[Literal["ok", "low", "high", "none"], str]:
    """Whether HICRA can work with this (DESIGN section 3): `none` is refused, `low` and `high` are warned about.

    With the sentence that says so, empty for `ok`. Without rollouts everything is `ok`.
    """
    share = measured.share
    if share.fraction is None or bounds.low <= share.fraction <= bounds.high:
        return "ok", ""
    what = f"{share.fraction:.2%} of the {share.total} {measured.unit if measured.unit != 'mixed' else 'pieces'}"
    if not share.planning:
        return "none", (
            f"none of the {share.total} words in {measured.rollouts} rollouts lies inside a gram of the set, so HICRA "
            "would be plain GRPO"
        )
    outside = f"outside {bounds.low:.1%} to {bounds.high:.1%} (train.coverage)"
    if share.fraction < bounds.low:
        return "low", f"{what} are inside grams, {outside}: HICRA would hardly differ from GRPO"
    return "high", f"{what} are inside grams, {outside}: grams as common as these do not single strategy out"


class CoverageMeter:
    """The counters of one pass, for who reads the rows for something else too: `add` each row, then `measured`."""

    def __init__(self, gram_set: GramSet, tokenizer_of: TokenizerOf) -> None:
        self._gram_set = gram_set
        self._tokenizer_of = tokenizer_of
        self._known_moves = sorted({_move(gram) for gram in gram_set.grams})
        self._text = TextMatcher(gram_set)
        self._counter = WordCounter()
        self._by_tokens: dict[str | None, PlanningMatcher | None] = {}
        self._words, self._pieces, self._tokens = Share(), Share(), Share()
        self._shares: list[float] = []
        self._number, self._without, self._with_tokens = 0, 0, 0
        self._moves: defaultdict[str, MoveUse] = defaultdict(MoveUse)
        self._occurrences: Counter[str] = Counter()
        self._rollouts: Counter[str] = Counter()
        self._checkpoints: defaultdict[tuple[str | None, int | None], Checkpoint] = defaultdict(Checkpoint)
        self._waiting: list[RolloutRow] = []

    def add(self, row: RolloutRow) -> None:
        """Count one rollout."""
        self._waiting.append(row)
        if len(self._waiting) == ROWS_AT_ONCE:
            self._count_waiting()

    def measured(self) -> Coverage:
        """The figures of the rows so far."""
        self._count_waiting()
        unit: Literal["tokens", "pieces", "mixed"] = "mixed" if self._with_tokens else "pieces"
        return Coverage(
            words=self._words,
            pieces=self._pieces,
            tokens=self._tokens,
            unit="tokens" if self._with_tokens and self._with_tokens == self._number else unit,
            rollouts=self._number,
            without=self._without,
            rollout_shares=np.array(self._shares, dtype=np.float64),
            moves=dict(self._moves),
            grams=tuple(
                GramUse(gram, self._occurrences[gram.text], self._rollouts[gram.text]) for gram in self._gram_set.grams
            ),
            checkpoints=dict(sorted(self._checkpoints.items(), key=_checkpoint_order)),
        )

    def _count_waiting(self) -> None:
        """Token ids are looked at in batches, which costs a fraction of one call per rollout."""
        rows, self._waiting = self._waiting, []
        by_tokens: dict[int, tuple[list[Occurrence], NDArray[np.bool_]]] = {}
        for matcher, places in self._with_matchers(rows).items():
            token_ids = [ids for at in places if (ids := rows[at].token_ids) is not None]
            cut = [rows[at].finish_reason is FinishReason.LENGTH for at in places]
            spans = matcher.batch_spans(token_ids, truncated=cut)
            masks = matcher.planning_masks(token_ids, truncated=cut)
            by_tokens.update(zip(places, zip(spans, masks, strict=True), strict=True))
        for at, row in enumerate(rows):
            self._count_row(row, by_tokens.get(at))

    def _with_matchers(self, rows: Sequence[RolloutRow]) -> dict[PlanningMatcher, list[int]]:
        """The rows whose token ids can be read, by the matcher of their policy's tokenizer."""
        places: defaultdict[PlanningMatcher, list[int]] = defaultdict(list)
        for at, row in enumerate(rows):
            if (matcher := self._matcher(row)) is not None:
                places[matcher].append(at)
        return places

    def _count_row(self, row: RolloutRow, by_tokens: tuple[list[Occurrence], NDArray[np.bool_]] | None) -> None:
        truncated = row.finish_reason is FinishReason.LENGTH
        occurrences = self._text.occurrences(row.text, truncated=truncated)
        spans = [(each.start, each.end) for each in occurrences]
        moves = [_move(each.gram) for each in occurrences]
        pieces = Share(self._counter.words_inside(row.text, spans), len(row.text.split()))
        self._words.add(pieces.planning, self._counter.words(row.text))
        self._pieces.add(pieces.planning, pieces.total)
        texts = Counter(each.gram.text for each in occurrences)
        self._occurrences.update(texts)
        self._rollouts.update(texts.keys())

        if by_tokens is not None:
            found, mask = by_tokens
            spans = [(each.first_token, each.end_token) for each in found]
            moves = [_move(each.gram) for each in found]
            self._tokens.add(int(mask.sum()), len(mask))
            self._with_tokens += 1
            self._count(row, Share(int(mask.sum()), len(mask)), spans, moves, _length)
        else:
            self._count(row, pieces, spans, moves, partial(self._counter.words_inside, row.text))

    def _count(
        self,
        row: RolloutRow,
        share: Share,
        spans: Sequence[Span],
        moves: Sequence[str],
        units: Callable[[Sequence[Span]], int],
    ) -> None:
        """One rollout's share, by move and by checkpoint."""
        self._number += 1
        self._without += not share.planning
        if share.fraction is not None:
            self._shares.append(share.fraction)
        for move in self._known_moves:
            own = [span for span, other in zip(spans, moves, strict=True) if other == move]
            use = self._moves[move]
            use.occurrences += len(own)
            use.rollouts += bool(own)
            use.share.add(units(own), share.total)
        checkpoint = self._checkpoints[row.policy, row.step]
        checkpoint.rollouts += 1
        checkpoint.without += not share.planning
        checkpoint.share.add(share.planning, share.total)

    def _matcher(self, row: RolloutRow) -> PlanningMatcher | None:
        if row.token_ids is None:
            return None
        if row.policy not in self._by_tokens:
            tokenizer = self._tokenizer_of(row.policy)
            self._by_tokens[row.policy] = None if tokenizer is None else PlanningMatcher(self._gram_set, tokenizer)
        return self._by_tokens[row.policy]


def _move(gram: StrategicGram) -> str:
    return gram.move.value if gram.move else NO_MOVE


def _length(spans: Iterable[Span]) -> int:
    """Units inside any of the spans, which are sorted by start."""
    return sum(end - start for start, end in union(spans))


def _checkpoint_order(item: tuple[tuple[str | None, int | None], Checkpoint]) -> tuple[str, int]:
    (policy, step), _ = item
    return policy or "", -1 if step is None else step
