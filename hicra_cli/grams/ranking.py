"""The order of the candidates, the figures behind it, and which candidates it leaves out.

Every figure is of *solutions that contain the gram*, not of its occurrences: one solution that repeats itself says
little. G groups are the (policy, step) pairs of the corpus, M the candidates.

- **frequency**: document frequency, corrected for unequal groups (`balanced_frequency`).
- **log-odds**: in successes against failures, compared with the typical gram, as a z-score (`log_odds`). Nothing is
  compared within one problem or policy, so what easy problems call for, or a strong policy is fond of, looks
  successful; that a gram's uses are only as many witnesses as it has problems keeps that small. The figure orders, it
  proves nothing.
- **growth**: from the early to the late checkpoints (`growth`).
- **evenness**: a strategic gram is frequent across solutions and sparse inside one. How often a gram comes back inside
  a solution is compared with chance (`evenness`), because what is in every solution comes back more often anyway.

`combined` is √evenness x (2/3 frequency + 1/3 association), each between 0 and 1. Frequency counts as log(1 + f) over
that of the most frequent gram; association is the mean of what the corpus can tell of Φ(log-odds), where there are
failures, and of late / (late + early), where there are steps; a corpus that can tell nothing is ordered by frequency
and evenness. Logarithms, because percentiles of so skewed a figure would hold 500 problems and 20 for nearly equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import erfc, sqrt

import numpy as np
from numpy.typing import NDArray

from hicra_cli.config.collect import CollectConfig
from hicra_cli.core.errors import RunError
from hicra_cli.grams.candidates import Candidate, Counts, Scores
from hicra_cli.grams.phrases import find_phrases

PRIOR_USES = 1.0
"""Pseudo-uses at the pooled rate that every group, success and failure starts with."""

Floats = NDArray[np.float64]
Group = tuple[str | None, int | None]


@dataclass(frozen=True, slots=True)
class Ranked:
    """candidates: with their scores, larger rank first. dropped: how many were left out, by reason."""

    candidates: tuple[Candidate, ...]
    dropped: dict[str, int]


def rank(counts: Counts, config: CollectConfig) -> Ranked:
    """Merge phrases, score what stands for itself, order by `config.rank_by`, keep `config.max_candidates`.

    Ties go by document frequency, count and spelling. Raises RunError where the corpus cannot tell
    what `rank_by` asks for.
    """
    if not counts.candidates:
        return Ranked((), {})
    phrases = find_phrases(counts.candidates)
    left_out = phrases.nested | phrases.shifted if config.merge_phrases else np.zeros(len(phrases.nested), np.bool_)
    standing = np.flatnonzero(~left_out)
    candidates = [counts.candidates[at] for at in standing]
    figures = _figures(candidates, counts, balance=config.balance)
    ranks = _ranks(figures, config.rank_by)
    order = sorted(range(len(candidates)), key=lambda at: (-ranks[at], *_tie(candidates[at])))[: config.max_candidates]
    dropped = {"beyond_max_candidates": len(candidates) - len(order)}
    if config.merge_phrases:
        dropped |= {"nested": int(phrases.nested.sum()), "shifted": int(phrases.shifted.sum())}
    scored = [
        replace(
            candidates[at],
            scores=Scores(
                log_odds=None if figures.log_odds is None else float(figures.log_odds[at]),
                growth=None if figures.growth is None else float(figures.growth[at]),
                c_value=float(phrases.c_value[standing[at]]),
                rank=float(ranks[at]),
            ),
        )
        for at in order
    ]
    return Ranked(tuple(scored), dropped)


def log_odds(users: Floats, users_failing: Floats, problems: Floats, *, solutions: int, failures: int) -> Floats:
    """(M,) z-scores of the log-odds ratio of a solution to contain the gram: successes against failures.

    users, users_failing: (M,) successes and failures with the gram, out of `solutions` and `failures`. problems: (M,)
    distinct problems of `users`: rollouts of one problem say the same, so the variance is that of so many independent
    uses. The prior is Beta with the pooled share as its mean and one pseudo-use (or, where nearly all use it, one
    pseudo-miss). Failures are mostly longer and fuller of everything, therefore the ratio of the median use is
    subtracted. Source: Monroe, Colaresi and Quinn (2008), section 3.5, for solutions in place of words.
    """
    pooled = (users + users_failing + 0.5) / (solutions + failures + 1)
    weight = PRIOR_USES / np.minimum(pooled, 1 - pooled)
    with_gram, without = users + weight * pooled, solutions - users + weight * (1 - pooled)
    failing_with, failing_without = users_failing + weight * pooled, failures - users_failing + weight * (1 - pooled)
    ratio = np.log(with_gram / without) - np.log(failing_with / failing_without)
    variance = 1 / with_gram + 1 / without + 1 / failing_with + 1 / failing_without
    return np.asarray((ratio - _median(ratio, users)) / np.sqrt(variance * users / problems), dtype=np.float64)


def growth(shares: Floats, *, late: NDArray[np.bool_], early: NDArray[np.bool_]) -> Floats:
    """(M,) log2 of the mean share over the late groups to that over the early ones.

    shares: (M, G) smoothed, positive. late, early: (G,) bool, see `halves`.
    """
    return np.asarray(np.log2(shares[:, late].mean(axis=1) / shares[:, early].mean(axis=1)), dtype=np.float64)


def halves(groups: Sequence[Group]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Which groups are late and which early, (G,) bool each; None where no two steps can be compared.

    Where a policy has several steps, each policy is cut in the middle of its own steps; where each has one, the
    policies are the checkpoints of one run. The middle step of an odd number, and a policy without steps, is neither.
    """
    steps_of: dict[str | None, set[int]] = {}
    for policy, step in groups:
        if step is not None:
            steps_of.setdefault(policy, set()).add(step)
    if all(len(steps) == 1 for steps in steps_of.values()):
        together = {step for steps in steps_of.values() for step in steps}
        steps_of = dict.fromkeys(steps_of, together)
    late = np.zeros(len(groups), dtype=np.bool_)
    early = np.zeros(len(groups), dtype=np.bool_)
    for at, (policy, step) in enumerate(groups):
        steps = sorted(steps_of.get(policy, ()))
        if step is not None and len(steps) > 1:
            early[at] = step in steps[: len(steps) // 2]
            late[at] = step in steps[-(len(steps) // 2) :]
    return (late, early) if late.any() and early.any() else None


def smoothed_shares(users: Floats, sizes: Floats) -> Floats:
    """(M, G) share of each group's solutions that use the gram, drawn towards its share of all solutions.

    users: (M, G); sizes: (G,), positive. One pseudo-use at the pooled rate: a group of three solutions says little.
    """
    pooled = users.sum(axis=1, keepdims=True) / sizes.sum()
    return np.asarray((users + PRIOR_USES) / (sizes + PRIOR_USES / pooled), dtype=np.float64)


def balanced_frequency(document_frequency: Floats, users: Floats, sizes: Floats) -> Floats:
    """(M,) document frequency as if each group had given the same number of solutions, to first order.

    Late checkpoints solve more and would dominate: the share of all solutions becomes the mean of the groups' shares.
    Nothing is thrown away for it, as making the groups equal by leaving solutions out would.
    """
    pooled = users.sum(axis=1) / sizes.sum()
    return np.asarray(document_frequency * smoothed_shares(users, sizes).mean(axis=1) / pooled, dtype=np.float64)


def evenness(count: Floats, users: Floats, *, solutions: int) -> Floats:
    """(M,) in (0, 1]: 1 where a gram comes back inside a solution no more often than chance would bring it.

    Chance: occurrences strewn over the solutions at random (Poisson), so that the same number of solutions has one.
    With share p that takes -ln(1 - p) occurrences a solution, and -ln(1 - p) / p in those that have one. Smaller:
    occurrences clump in few solutions, as a step of calculation or a topic does (Church and Gale 1995 call it burst).
    """
    share = users / (solutions + 1)
    by_chance = -np.log1p(-share) / share
    return np.asarray(np.minimum(1.0, by_chance / (count / users)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Figures:
    """(M,) each; None where the corpus cannot tell."""

    frequency: Floats
    log_odds: Floats | None
    growth: Floats | None
    evenness: Floats


def _figures(candidates: Sequence[Candidate], counts: Counts, *, balance: bool) -> _Figures:
    groups, users, sizes = _users_by_group(candidates)
    using = np.array([each.solutions for each in candidates], dtype=np.float64)
    failing = np.array([each.failures for each in candidates], dtype=np.float64)
    occurrences = np.array([each.count for each in candidates], dtype=np.float64)
    frequency = np.array([each.document_frequency for each in candidates], dtype=np.float64)
    split = halves(groups)
    return _Figures(
        frequency=balanced_frequency(frequency, users, sizes) if balance and len(groups) > 1 else frequency,
        log_odds=log_odds(using, failing, frequency, solutions=counts.solutions, failures=counts.failures)
        if counts.failures
        else None,
        growth=None if split is None else growth(smoothed_shares(users, sizes), late=split[0], early=split[1]),
        evenness=evenness(occurrences, using, solutions=counts.solutions),
    )


def _users_by_group(candidates: Sequence[Candidate]) -> tuple[list[Group], Floats, Floats]:
    """The groups in which anything occurs, (M, G) how many of their solutions use a gram, (G,) how many they have."""
    sizes: dict[Group, int] = {}
    for candidate in candidates:
        for share in candidate.shares:
            if share.solutions and (share.policy, share.step) not in sizes:
                sizes[share.policy, share.step] = round(share.solutions / share.fraction)
    number = {group: at for at, group in enumerate(sizes)}
    users = np.zeros((len(candidates), len(sizes)), dtype=np.float64)
    for row, candidate in enumerate(candidates):
        for share in candidate.shares:
            if share.solutions:
                users[row, number[share.policy, share.step]] = share.solutions
    return list(sizes), users, np.array(list(sizes.values()), dtype=np.float64)


def _ranks(figures: _Figures, rank_by: str) -> Floats:
    """(M,) what the candidates are ordered by."""
    if rank_by == "document_frequency":
        return figures.frequency
    if rank_by == "log_odds":
        return _told(figures.log_odds, rank_by, "an unsuccessful solution to compare with")
    if rank_by == "growth":
        return _told(figures.growth, rank_by, "two steps of a policy, or policies at two steps")
    told = []
    if figures.log_odds is not None:
        told.append(_normal_share(figures.log_odds))
    if figures.growth is not None:
        told.append(1 / (1 + np.exp2(-figures.growth)))
    frequency = np.log1p(figures.frequency) / np.log1p(figures.frequency.max())
    mixed = (2 * frequency + np.mean(told, axis=0)) / 3 if told else frequency
    return np.asarray(np.sqrt(figures.evenness) * mixed, dtype=np.float64)


def _normal_share(z: Floats) -> Floats:
    """Φ(z): the share of a normal distribution that lies below z."""
    return np.array([0.5 * erfc(-each / sqrt(2)) for each in z], dtype=np.float64)


def _median(figure: Floats, weights: Floats) -> float:
    """The weighted median: half of the weight lies at or below it."""
    order = np.argsort(figure, kind="stable")
    mass = np.cumsum(weights[order])
    return float(figure[order][np.searchsorted(mass, mass[-1] / 2)])


def _told(figure: Floats | None, rank_by: str, needed: str) -> Floats:
    if figure is None:
        raise RunError(
            f"collect.rank_by is {rank_by}, and these rollouts have not {needed}",
            fix="Give rollouts that have, or --set collect.rank_by=combined",
        )
    return figure


def _tie(candidate: Candidate) -> tuple[int, int, str]:
    return -candidate.document_frequency, -candidate.count, candidate.gram
