"""From one step's rollouts to its numbers: token classes, counts of strategic grams, accuracy and length.

Only what can be computed from a single step stands here; what compares steps or runs (relative perplexity,
rarefaction, windows) is in `series`.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.records import FinishReason, Outcome
from hicra_cli.grams.matcher import PlanningMatcher, TextMatcher
from hicra_cli.metrics.entropy import ClassMeans, class_means
from hicra_cli.report.following import count_pairs, following
from hicra_cli.report.rollouts import StepRollouts


@dataclass(frozen=True, slots=True)
class GramCounts:
    """Strategic grams of a step: occurrences per gram, and per gram what followed it.

    `incomplete`: occurrences with too few words after them to have an outcome.
    """

    occurrences: Counter[str] = field(default_factory=Counter)
    pairs: dict[str, Counter[tuple[str, ...]]] = field(default_factory=dict)
    incomplete: int = 0


@dataclass(frozen=True, slots=True)
class StepMeasures:
    """A step's numbers. Entropies and log-probs in nats, shares in [0, 1], nan where nothing was measured.

    entropy_coverage: share of the response tokens whose entropy the run stored. pass_at_group: share of prompts with
    at least one correct rollout in their group. changed_mask_tokens: tokens whose planning mask under the counted
    gram-set differs from the stored one, None where it was not recomputed.
    """

    step: int
    num_rollouts: int
    reward: float
    accuracy: float
    pass_at_group: float
    length: float
    clipped_fraction: float
    planning_fraction: float
    logprob: ClassMeans
    token_entropy: ClassMeans
    entropy_coverage: float
    grams: GramCounts
    changed_mask_tokens: int | None


def measure_step(
    step: int,
    rollouts: StepRollouts,
    matcher: TextMatcher | None,
    *,
    following_words: int,
    planning_mask: NDArray[np.bool_] | None = None,
) -> StepMeasures:
    """Measure the B rollouts of a step.

    matcher: counts grams in the texts; without one there are none. planning_mask: (N,) bool, recomputed under
    another gram-set than the run's; by default the stored one.
    """
    mask = rollouts.planning_mask if planning_mask is None else planning_mask
    measured = np.isfinite(rollouts.token_entropy)
    correct = np.array([outcome == Outcome.CORRECT for outcome in rollouts.outcomes])
    return StepMeasures(
        step=step,
        num_rollouts=len(rollouts),
        reward=_mean(rollouts.rewards),
        accuracy=_mean(correct),
        pass_at_group=_pass_at_group(rollouts.prompt_ids, correct),
        length=_mean(rollouts.lengths),
        clipped_fraction=_mean(np.array([reason == FinishReason.LENGTH for reason in rollouts.finish_reasons])),
        planning_fraction=_mean(mask),
        logprob=class_means(rollouts.sampler_logprobs, mask),
        token_entropy=class_means(rollouts.token_entropy[measured], mask[measured]),
        entropy_coverage=_mean(measured),
        grams=GramCounts() if matcher is None else count_grams(rollouts, matcher, following_words=following_words),
        changed_mask_tokens=None if planning_mask is None else int((planning_mask != rollouts.planning_mask).sum()),
    )


def recompute_mask(rollouts: StepRollouts, matcher: PlanningMatcher) -> NDArray[np.bool_]:
    """(N,) bool: the planning mask of the stored token ids under the matcher's gram-set."""
    if not len(rollouts):
        return np.zeros(0, dtype=np.bool_)
    ids = np.split(rollouts.token_ids, np.cumsum(rollouts.lengths)[:-1])
    truncated = [reason == FinishReason.LENGTH for reason in rollouts.finish_reasons]
    return np.concatenate(matcher.planning_masks(ids, truncated=truncated))


def count_grams(rollouts: StepRollouts, matcher: TextMatcher, *, following_words: int) -> GramCounts:
    """Occurrences (longest match, left to right) in the rollouts' texts, and what follows each."""
    counts: Counter[str] = Counter()
    pairs: dict[str, Counter[tuple[str, ...]]] = {}
    incomplete = 0
    for text, reason in zip(rollouts.texts, rollouts.finish_reasons, strict=True):
        truncated = reason == FinishReason.LENGTH
        counted = matcher.counted(text, truncated=truncated)
        if not counted:
            continue
        covered = matcher.occurrences(text, truncated=truncated)
        outcomes = following(text, counted, covered, length=following_words)
        for occurrence, outcome in zip(counted, outcomes, strict=True):
            counts[occurrence.gram.text] += 1
            if outcome is None:
                incomplete += 1
            else:
                count_pairs(pairs, occurrence.gram.text, outcome)
    return GramCounts(counts, pairs, incomplete)


def _pass_at_group(prompt_ids: list[str], correct: NDArray[np.bool_]) -> float:
    solved: dict[str, bool] = {}
    for prompt, success in zip(prompt_ids, correct.tolist(), strict=True):
        solved[prompt] = solved.get(prompt, False) or success
    return _mean(np.array(list(solved.values())))


def _mean(values: NDArray[np.generic]) -> float:
    return float(np.asarray(values, dtype=np.float64).mean()) if values.size else math.nan
