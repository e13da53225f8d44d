"""How much of rollouts a gram-set covers: the share of words, and of tokens where token ids are known."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hicra_cli.core.records import FinishReason
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import PlanningMatcher, TextMatcher
from hicra_cli.grams.rollout_file import RolloutRow
from hicra_cli.text.words import segments


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
class Coverage:
    """Shares over rollouts.

    words: of the words a gram could cover (no numbers, maths or code). pieces: of what blanks separate, maths and
    numbers included, which is nearer to tokens. tokens: of the token ids, over the rollouts that have them.
    """

    words: Share
    pieces: Share
    tokens: Share

    def to_summary(self) -> dict[str, float]:
        """The fractions that are known."""
        named = {"words": self.words, "pieces": self.pieces, "tokens": self.tokens}
        return {f"planning_{name}": share.fraction for name, share in named.items() if share.fraction is not None}


def coverage(
    gram_set: GramSet, rows: Iterable[RolloutRow], tokenizer_of: Callable[[str | None], Any | None]
) -> Coverage:
    """Count over all rows. tokenizer_of: the tokenizer of a policy's token ids, None where it cannot be had."""
    found = Coverage(Share(), Share(), Share())
    matcher = TextMatcher(gram_set)
    matchers: dict[str | None, PlanningMatcher | None] = {}
    for row in rows:
        truncated = row.finish_reason is FinishReason.LENGTH
        planning, total = _planning_words(matcher, row.text, truncated=truncated)
        found.words.add(planning, total)
        found.pieces.add(planning, len(row.text.split()))
        if row.token_ids is not None:
            if row.policy not in matchers:
                tokenizer = tokenizer_of(row.policy)
                matchers[row.policy] = None if tokenizer is None else PlanningMatcher(gram_set, tokenizer)
            if (token_matcher := matchers[row.policy]) is not None:
                mask = token_matcher.planning_mask(row.token_ids, truncated=truncated)
                found.tokens.add(int(mask.sum()), len(mask))
    return found


def _planning_words(matcher: TextMatcher, text: str, *, truncated: bool) -> tuple[int, int]:
    """Words inside any occurrence, and all words."""
    words = [word for segment in segments(text) for word in segment]
    occurrences = matcher.occurrences(text, truncated=truncated)
    planning, at, reached = 0, 0, 0
    for word in words:
        while at < len(occurrences) and occurrences[at].start <= word.start:
            reached = max(reached, occurrences[at].end)
            at += 1
        planning += word.end <= reached
    return planning, len(words)
