"""curate for a control: a placebo of random n-grams, or a gram-set with some left out at random."""

from typing import Any

from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.annotators.base import read_annotations
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.controls import Frequency, Placebo, drop, frequencies_in, placebo
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.history import HISTORY_NAME

from .annotate_grams import FILE_NAME as ANNOTATIONS_NAME
from .base import Input, Work, Workspace
from .curate_inputs import candidates_of, counted_grams
from .curate_output import measure, rollout_rows, write_lines, write_review
from .gram_sets import load_gram_set

NOTEWORTHY = 0.25  # mean difference of log frequencies: a quarter more or less


def work_control(space: Workspace) -> Work:
    """Write the control's grams, what became of each gram of the source, coverage and page.

    The summary's `control` says which control of what it is, and how well a placebo matches.
    """
    source = load_gram_set(space.plan.inputs["gram_set"])
    candidates = candidates_of(space)
    counted = counted_grams(candidates)
    if space.config.curate.placebo:
        gram_set, history, figures = _placebo(space, source, counted)
    else:
        gram_set, history, figures = _dropped(space, source)
    gram_set.save(space.folder)
    write_lines(space.folder / HISTORY_NAME, history)
    measured = measure(space, candidates, gram_set)
    write_review(space, history, {gram: each.contexts for gram, each in counted.items()}, measured=measured)
    summary = {
        "grams": len(gram_set),
        "control": {"of": space.plan.inputs["gram_set"].ref, **figures},
        "coverage": measured.coverage.to_summary() if measured else {},
    }
    return Work(summary)


Row = dict[str, Any]


def _placebo(space: Workspace, source: GramSet, counted: dict[str, Candidate]) -> tuple[GramSet, list[Row], Row]:
    if not counted:
        raise ArtifactError(
            "a placebo is drawn from candidates, and there are none",
            fix="Run `hicra collect-grams`, or name some with --candidates",
        )
    drawn = placebo(
        source,
        list(counted.values()),
        seed=space.config.seed,
        passed_over=_strategic(space),
        measured=_measured(space, source, counted),
    )
    figures = drawn.to_summary()
    _remark(space, drawn, figures)
    history = [
        _row(
            pair.placebo.gram,
            "accept",
            pair.gram.move,
            "placebo",
            f"stands for `{pair.gram.text}`: {pair.placebo.count} uses in {pair.placebo.document_frequency} problems"
            + (
                f", {pair.frequency.count} in {pair.frequency.document_frequency}"
                if pair.frequency
                else ", its own are not known"
            ),
            pair.placebo,
        )
        for pair in drawn.pairs
    ]
    return drawn.gram_set, history, {"kind": "placebo", **figures}


def _dropped(space: Workspace, source: GramSet) -> tuple[GramSet, list[Row], Row]:
    kept = drop(source, space.config.curate.drop, seed=space.config.seed)
    staying = {gram.words for gram in kept.grams}
    history = [
        _row(gram.text, "accept" if gram.words in staying else "reject", gram.move, "drop", "drawn at random", None)
        for gram in source.grams
    ]
    figures = {"kind": "drop", "fraction": space.config.curate.drop, "dropped": len(source) - len(kept)}
    return kept, history, figures


def _row(gram: str, verdict: str, move: Any, rule: str, reason: str, candidate: Candidate | None) -> Row:
    """A line of `history.jsonl`."""
    return {
        "gram": gram,
        "verdict": verdict,
        "move": move.value if move else None,
        "by": "rule",
        "rule": rule,
        "reason": reason,
        "annotator": None,
        "model": None,
        "confidence": None,
        "cluster": None,
        "document_frequency": candidate.document_frequency if candidate else None,
        "count": candidate.count if candidate else None,
    }


def _measured(space: Workspace, source: GramSet, counted: dict[str, Candidate]) -> dict[str, Frequency]:
    """The frequency in the rollouts of the grams that are no candidates: filtered, too rare, or from elsewhere."""
    unknown = [gram for gram in source.grams if gram.text not in counted]
    rows = rollout_rows(space, candidates_of(space), "count grams") if unknown else None
    return {} if rows is None else frequencies_in(GramSet(tuple(unknown)), rows)


def _strategic(space: Workspace) -> set[str]:
    """What the annotations behind the gram-set call strategic: no random n-gram may be one of these."""
    return {
        annotation.gram
        for annotations in _annotations_behind(space.registry, space.plan.inputs["gram_set"])
        for annotation in read_annotations(annotations.file(ANNOTATIONS_NAME))
        if annotation.move is not None
    }


def _annotations_behind(registry: Registry, grams: Input) -> list[Artifact]:
    if not isinstance(grams, Artifact):
        return []
    return [parent for parent, role in registry.inputs(grams) if role == "annotations"]


def _remark(space: Workspace, drawn: Placebo, figures: Row) -> None:
    """Say where the match is poor."""
    if drawn.unmatched:
        space.progress.warn(f"{len(drawn.unmatched)} grams have no n-gram of their length left to stand for them")
    difference = figures.get("document_frequency_log_difference", 0.0)
    if abs(difference) > NOTEWORTHY:
        word = "rarer" if difference < 0 else "more frequent"
        space.progress.warn(
            f"the placebo's n-grams are {word} than the grams they stand for (mean difference of log document "
            f"frequencies {difference:+.2f}): more candidates would match better"
        )
