"""From a training's files to a `Run`: measure each stored step, compare with the record, pick examples."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from hicra_cli.core.errors import DataError
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import FinishReason
from hicra_cli.core.seeds import seed_for
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import PlanningMatcher, TextMatcher
from hicra_cli.report.consistency import compare
from hicra_cli.report.diagnosis import Check, GramUse, Mark, Rarefaction, Run, Sample
from hicra_cli.report.measure import GramCounts, StepMeasures, measure_step, recompute_mask
from hicra_cli.report.rollouts import StepRollouts, read_rollouts
from hicra_cli.report.series import pool, run_series, windows
from hicra_cli.report.source import RunSource


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """A run's steps and windows, before anything is made comparable with other runs.

    mask: where the planning classes come from: `recomputed` under the counted gram-set, or `stored` by the run.
    """

    source: RunSource
    steps: tuple[StepMeasures, ...]
    pooled: tuple[GramCounts, ...]
    samples: tuple[Sample, ...]
    mask: str


def measure_run(
    source: RunSource,
    gram_set: GramSet | None,
    progress: Progress,
    *,
    window: int,
    following_words: int,
    num_samples: int,
    seed: int,
) -> MeasuredRun:
    """Read and measure every stored step of a run; `num_samples` rollouts of its first and last step are kept."""
    text_matcher = None if gram_set is None else TextMatcher(gram_set)
    planning = _planning_matcher(source, gram_set, progress)
    shown = _steps_with_samples(list(source.rollouts), num_samples)
    measures, samples = [], []
    with progress.phase(f"measure {source.label}", len(source.rollouts)) as advance:
        for step, path in source.rollouts.items():
            rollouts = read_rollouts(path)
            mask = None if planning is None else recompute_mask(rollouts, planning)
            measures.append(
                measure_step(step, rollouts, text_matcher, following_words=following_words, planning_mask=mask)
            )
            used = rollouts.planning_mask if mask is None else mask
            samples += _samples(step, rollouts, used, text_matcher, count=shown.get(step, 0), seed=seed)
            advance()
    pooled = windows(measures, window)
    return MeasuredRun(
        source, tuple(measures), tuple(pooled), tuple(samples), mask="stored" if planning is None else "recomputed"
    )


def describe_run(
    run: MeasuredRun, gram_set: GramSet | None, rarefaction: Rarefaction, *, facts: Mapping[str, str], window: int
) -> Run:
    """The run as the report shows it, with curves that are comparable between runs."""
    steps = tuple(each.step for each in run.steps)
    grams = () if gram_set is None else gram_set.grams
    clusters = {each.text: each.cluster for each in grams if each.cluster is not None}
    series = run_series(
        run.steps,
        run.pooled,
        num_grams=len(grams),
        clusters=clusters if len(clusters) == len(grams) else {},
        rarefaction=rarefaction,
    )
    edge = max(1, round(len(steps) / 10))
    same_grams = gram_set is not None and run.source.own_grams is not None and gram_set == run.source.own_grams
    return Run(
        ref=run.source.artifact.ref,
        label=run.source.label,
        digest=run.source.artifact.digest,
        facts=facts,
        settings=run.source.settings,
        steps=steps,
        edge=edge,
        series=series,
        validation=_validation(run.source),
        grams=_gram_use(run.steps, gram_set, edge=edge),
        samples=run.samples,
        checks=(
            *compare(run.source.records, steps, series, planning=same_grams, window=window),
            *_mask_check(run, same_grams),
        ),
    )


def _planning_matcher(source: RunSource, gram_set: GramSet | None, progress: Progress) -> PlanningMatcher | None:
    if gram_set is None or source.tokenizer is None:
        return None
    try:
        return PlanningMatcher(gram_set, Tokenizer.from_file(str(source.tokenizer)))
    except DataError as error:  # a kind of tokenizer whose tokens have no exact bytes: the stored masks remain
        progress.warn(f"{source.label}: planning masks are not recomputed: {error.what}")
        return None


def _steps_with_samples(steps: Sequence[int], count: int) -> dict[int, int]:
    """How many examples the first and the last step contribute."""
    if len(steps) == 1:
        return {steps[0]: count}
    return {steps[0]: count // 2, steps[-1]: count - count // 2}


def _samples(
    step: int,
    rollouts: StepRollouts,
    planning_mask: NDArray[np.bool_],
    matcher: TextMatcher | None,
    *,
    count: int,
    seed: int,
) -> list[Sample]:
    """`count` rollouts in the order of a hash of prompt and sample: independent of length and outcome."""

    def place(index: int) -> int:
        return seed_for(
            seed, "report-sample", step=step, prompt=rollouts.prompt_ids[index], sample=rollouts.samples[index]
        )

    ends = np.cumsum(rollouts.lengths)
    chosen = sorted(range(len(rollouts)), key=place)[:count]
    return [
        Sample(
            step=step,
            prompt_id=rollouts.prompt_ids[index],
            sample=rollouts.samples[index],
            prompt=rollouts.prompts[index] if rollouts.prompts else "",
            text=rollouts.texts[index],
            outcome=rollouts.outcomes[index],
            num_tokens=int(rollouts.lengths[index]),
            planning_fraction=_share(planning_mask[ends[index] - rollouts.lengths[index] : ends[index]]),
            marks=_marks(rollouts.texts[index], rollouts.finish_reasons[index], matcher),
        )
        for index in chosen
    ]


def _marks(text: str, finish_reason: str, matcher: TextMatcher | None) -> tuple[Mark, ...]:
    if matcher is None:
        return ()
    found = matcher.occurrences(text, truncated=finish_reason == FinishReason.LENGTH)
    return tuple(Mark(each.start, each.end, each.gram.text, str(each.gram.move or "")) for each in found)


def _gram_use(steps: Sequence[StepMeasures], gram_set: GramSet | None, *, edge: int) -> tuple[GramUse, ...]:
    if gram_set is None:
        return ()
    total = pool(each.grams for each in steps).occurrences
    first, last = (pool(each.grams for each in part).occurrences for part in (steps[:edge], steps[-edge:]))
    return tuple(
        GramUse(gram.text, str(gram.move or ""), total[gram.text], _part(first, gram.text), _part(last, gram.text))
        for gram in gram_set.grams
        if total[gram.text]
    )


def _part(counts: Counter[str], gram: str) -> float:
    total = sum(counts.values())
    return counts[gram] / total if total else 0.0


def _validation(source: RunSource) -> tuple[tuple[int, float, float, float], ...]:
    return tuple(
        (
            int(record["step"]),
            float(record["eval/accuracy"]),
            _number(record.get("eval/low")),
            _number(record.get("eval/high")),
        )
        for record in source.records
        if record.get("eval/accuracy") is not None
    )


def _mask_check(run: MeasuredRun, same_grams: bool) -> tuple[Check, ...]:
    """Bit for bit: tokens whose stored mask is not the recomputed one, under the run's own gram-set."""
    changed = [(each.changed_mask_tokens, -each.step) for each in run.steps if each.changed_mask_tokens is not None]
    if not same_grams or not changed:
        return ()
    most, minus_step = max(changed)
    return (Check("planning mask: differing tokens", len(changed), float(most), -minus_step, 0.0),)


def _share(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean()) if mask.size else math.nan


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
