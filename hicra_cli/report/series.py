"""From steps to curves: windows, relative perplexity, and a rarefaction that is the same for all runs.

A series is a list with one value per step, nan where nothing was measured. Series that the trainer records too have
its names; the unit is the last part of a name.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from hicra_cli.metrics.entropy import relative_perplexity
from hicra_cli.metrics.semantic import (
    conditional_entropy,
    describe,
    rarefaction_size,
    rarefied_conditional_entropy,
)
from hicra_cli.report.diagnosis import Rarefaction
from hicra_cli.report.measure import GramCounts, StepMeasures

Series = dict[str, list[float]]

RAREFACTION_FLOOR = 50
"""Windows with fewer occurrences than this are left out of rarefied curves instead of holding all others down."""


def windows(steps: Sequence[StepMeasures], size: int) -> list[GramCounts]:
    """For each step the gram counts of it and the `size` - 1 measured steps before it, pooled."""
    return [pool(each.grams for each in steps[max(0, end - size) : end]) for end in range(1, len(steps) + 1)]


def pool(parts: Iterable[GramCounts]) -> GramCounts:
    """Counts of several steps added up."""
    occurrences: Counter[str] = Counter()
    pairs: dict[str, Counter[tuple[str, ...]]] = {}
    incomplete = 0
    for part in parts:
        occurrences.update(part.occurrences)
        incomplete += part.incomplete
        for gram, outcomes in part.pairs.items():
            pairs.setdefault(gram, Counter()).update(outcomes)
    return GramCounts(occurrences, pairs, incomplete)


def choose_rarefaction(runs: Iterable[Sequence[GramCounts]]) -> Rarefaction:
    """Sample sizes common to all windows of all runs, for occurrences and outcomes; 0 where no window has enough."""
    every = [window for run in runs for window in run]
    return Rarefaction(
        floor=RAREFACTION_FLOOR,
        occurrences=rarefaction_size((sum(each.occurrences.values()) for each in every), floor=RAREFACTION_FLOOR),
        pairs=rarefaction_size((_num_pairs(each) for each in every), floor=RAREFACTION_FLOOR),
    )


def run_series(
    steps: Sequence[StepMeasures],
    pooled: Sequence[GramCounts],
    *,
    num_grams: int,
    clusters: Mapping[str, int],
    rarefaction: Rarefaction,
) -> Series:
    """All curves of one run.

    pooled: the windows of `steps`. num_grams: size of the gram-set, the support of semantic entropy. clusters: gram
    to cluster; where it is not empty there are curves by cluster too.
    """
    series = _step_curves(steps)
    series |= _gram_curves(pooled, num_grams=num_grams, rarefaction=rarefaction)
    if clusters:
        series |= _cluster_curves(pooled, clusters, rarefaction=rarefaction)
    return series


def _step_curves(steps: Sequence[StepMeasures]) -> Series:
    series: Series = {
        "reward/mean": [each.reward for each in steps],
        "reward/accuracy": [each.accuracy for each in steps],
        "reward/pass_at_group": [each.pass_at_group for each in steps],
        "response/length_mean_tokens": [each.length for each in steps],
        "response/clipped_fraction": [each.clipped_fraction for each in steps],
        "hicra/planning_fraction": [each.planning_fraction for each in steps],
        "policy/token_entropy_nats": [each.token_entropy.all for each in steps],
        "policy/token_entropy_planning_nats": [each.token_entropy.planning for each in steps],
        "policy/token_entropy_execution_nats": [each.token_entropy.execution for each in steps],
        "policy/token_entropy_coverage": [each.entropy_coverage for each in steps],
        "policy/logprob_nats": [each.logprob.all for each in steps],
        "policy/logprob_planning_nats": [each.logprob.planning for each in steps],
        "policy/logprob_execution_nats": [each.logprob.execution for each in steps],
    }
    for name in ("planning", "execution"):
        series[f"policy/relative_perplexity_{name}"] = relative_perplexity(series[f"policy/logprob_{name}_nats"])
    return series


def _gram_curves(pooled: Sequence[GramCounts], *, num_grams: int, rarefaction: Rarefaction) -> Series:
    described = [
        describe(each.occurrences, support=num_grams, rarefied_size=rarefaction.occurrences) for each in pooled
    ]
    return {
        "hicra/semantic_entropy_nats": [each.plug_in_nats for each in described],
        "hicra/semantic_entropy_miller_madow_nats": [each.miller_madow_nats for each in described],
        "hicra/semantic_entropy_rarefied_nats": [each.rarefied_nats for each in described],
        "hicra/semantic_entropy_normalised": [each.normalised for each in described],
        "hicra/gram_occurrences": [float(each.occurrences) for each in described],
        "hicra/grams_observed": [float(each.observed) for each in described],
        "hicra/conditional_entropy_nats": [conditional_entropy(each.pairs) for each in pooled],
        "hicra/conditional_entropy_rarefied_nats": [
            rarefied_conditional_entropy(each.pairs, size=rarefaction.pairs) for each in pooled
        ],
        "hicra/gram_outcomes": [float(_num_pairs(each)) for each in pooled],
        "hicra/gram_outcomes_incomplete": [float(each.incomplete) for each in pooled],
    }


def _cluster_curves(pooled: Sequence[GramCounts], clusters: Mapping[str, int], *, rarefaction: Rarefaction) -> Series:
    support = len(set(clusters.values()))
    described = []
    for each in pooled:
        by_cluster: Counter[int] = Counter()
        for gram, count in each.occurrences.items():
            by_cluster[clusters[gram]] += count
        described.append(describe(by_cluster, support=support, rarefied_size=rarefaction.occurrences))
    return {
        "hicra/semantic_entropy_cluster_nats": [each.plug_in_nats for each in described],
        "hicra/semantic_entropy_cluster_rarefied_nats": [each.rarefied_nats for each in described],
        "hicra/semantic_entropy_cluster_normalised": [each.normalised for each in described],
    }


def _num_pairs(counts: GramCounts) -> int:
    return sum(sum(outcomes.values()) for outcomes in counts.pairs.values())
