"""What a reader of this very report must keep in mind: limits that the data itself shows."""

import math
from collections.abc import Sequence

from hicra_cli.grams.gram_set import GramSet
from hicra_cli.report.diagnosis import Rarefaction, Run
from hicra_cli.report.runs import MeasuredRun

COVERAGE = (0.005, 0.15)
"""Outside this share of planning tokens a gram-set hardly fits the policy (the paper's figures imply 2 to 6 %), where
the run itself set no bounds (train.coverage)."""

CLIPPED = 0.2
MAX_NAMES = 8


def notes(
    runs: Sequence[Run], measured: Sequence[MeasuredRun], gram_set: GramSet | None, rarefaction: Rarefaction
) -> tuple[str, ...]:
    """Sentences, most general first."""
    found = [*_comparison(runs), *_grams(gram_set, rarefaction)]
    for run, source in zip(runs, measured, strict=True):
        found += [f"{run.label}: {sentence}" for sentence in _of_run(run, source, gram_set)]
    return tuple(found)


def _comparison(runs: Sequence[Run]) -> list[str]:
    if len(runs) < 2:
        return []
    names = sorted({name for run in runs for name in run.settings})
    differing = [name for name in names if len({run.settings.get(name) for run in runs}) > 1]
    more = f" and {len(differing) - MAX_NAMES} more" if len(differing) > MAX_NAMES else ""
    found = []
    if differing:
        found.append(f"The runs differ in {', '.join(differing[:MAX_NAMES])}{more}.")
    by_algo: dict[str, int] = {}
    for run in runs:
        by_algo[run.settings.get("train.algo", run.label)] = (
            by_algo.get(run.settings.get("train.algo", run.label), 0) + 1
        )
    if len(by_algo) > 1 and min(by_algo.values()) < 3:
        found.append(
            "Fewer than three runs per algorithm: a difference between algorithms can be the luck of one seed. "
            "Intervals here do not cover that."
        )
    return found


def _grams(gram_set: GramSet | None, rarefaction: Rarefaction) -> list[str]:
    if gram_set is None:
        return ["No gram-set was given and the runs name none: nothing about strategic grams is computed."]
    found = []
    if rarefaction.occurrences == 0:
        found.append(
            f"No window holds {rarefaction.floor} occurrences of strategic grams, so there is no rarefied entropy; the "
            "plug-in value of so few mostly shows the amount of text."
        )
    if any(gram.cluster is None for gram in gram_set.grams):
        found.append("The gram-set has no clusters, so two wordings of one intent count as two grams.")
    return found


def _of_run(run: Run, measured: MeasuredRun, gram_set: GramSet | None) -> list[str]:
    return [*_of_data(run, measured), *_of_mask(run, measured, gram_set), *_of_checks(run)]


def _of_data(run: Run, measured: MeasuredRun) -> list[str]:
    found = []
    recorded = len(measured.source.records)
    if len(run.steps) < recorded:
        found.append(f"rollouts of {len(run.steps)} of its {recorded} steps were stored; curves show those.")
    covered = [each.entropy_coverage for each in measured.steps]
    if min(covered) < 1:
        found.append(
            f"token entropy was stored for {100 * math.fsum(covered) / len(covered):.1f} % of the response tokens; its "
            "curves are means over those."
        )
    temperature = run.settings.get("train.sampling.temperature", "1.0")
    if float(temperature) != 1:
        found.append(f"log-probs are those of sampling at temperature {temperature}, and so is relative perplexity.")
    if any(record.get("groups/filtered") for record in measured.source.records):
        found.append("groups with equal rewards were replaced (dynamic filtering); its accuracy is that of the rest.")
    if max(each.clipped_fraction for each in measured.steps) > CLIPPED:
        found.append(f"in some steps more than {CLIPPED:.0%} of the responses were cut off by the length limit.")
    return found


def _of_mask(run: Run, measured: MeasuredRun, gram_set: GramSet | None) -> list[str]:
    found = []
    own = measured.source.own_grams
    if gram_set is not None and own is not None and own != gram_set:
        origin = (
            "its planning classes are recomputed under the one counted here"
            if measured.mask == "recomputed"
            else "its tokenizer cannot be reached, so its planning classes are still those of its own"
        )
        found.append(f"it was trained with another gram-set; {origin}.")
    shares = run.series["hicra/planning_fraction"]
    share = math.fsum(shares) / len(shares)
    low = float(run.settings.get("train.coverage.low", COVERAGE[0]))
    high = float(run.settings.get("train.coverage.high", COVERAGE[1]))
    if gram_set is not None and not low <= share <= high:
        found.append(f"{share:.2%} of its response tokens are planning tokens, outside {low:.1%} to {high:.0%}.")
    return found


def _of_checks(run: Run) -> list[str]:
    failed = [check.name for check in run.checks if not check.passed]
    if not failed:
        return []
    return [f"its record does not hold: {', '.join(failed)} differ from what its rollouts give."]
