"""Several judgements about one gram become one annotation; where they part, the gram is listed for review.

A judgement is what one annotator said when asked one time. The rule, gram by gram, over labelled judgements only:

1. Each annotator has one voice, shared by its votes: asking one more often makes its voice surer, not louder.
2. Strategic or not comes first. A side's share is the mean over voices of the confidence given to it, the other side's
   voices counting 0; the larger share wins and is the confidence of the annotation. Against an equally sure judge no
   share exceeds one half.
3. At a tie the gram counts as strategic, so that a person is asked, with a confidence of at most TIE_CEILING, so that
   no threshold of one half accepts it.
4. The move is decided among those who call it strategic, by the same shares; at a tie by the surest of them, then by
   the order in which annotators were named.

Agreement is measured on labels: the move, or `none`, also where a move was given a confidence below one half, because
such a judgement says "rather not".
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from hicra_cli.core.records import Move
from hicra_cli.grams.candidates import Candidate
from hicra_cli.metrics.agreement import cohen_kappa, krippendorff_alpha, percent_agreement

from .base import Annotation

TIE_CEILING = 0.49
EVEN = 0.5
NONE = "none"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one annotator said about a gram when asked the `vote`-th time, from 0."""

    annotation: Annotation
    vote: int

    @property
    def label(self) -> str | None:
        """The move, `none`, or None where there is no label."""
        if not self.annotation.labelled:
            return None
        move = self.annotation.move
        return NONE if move is None or self.annotation.confidence < EVEN else move.value

    def to_row(self) -> dict[str, Any]:
        """The line of `judgements.jsonl`: an annotation and its vote."""
        return {**self.annotation.to_row(), "vote": self.vote}


@dataclass(frozen=True, slots=True)
class Combined:
    """The judgements of one gram, what they come to, and how doubtful that is.

    tie: strategic and not strategic weigh the same. doubt, move_doubt: share of the weight that lies with other
    verdicts, and with other moves, in [0, 1].
    """

    annotation: Annotation
    judgements: tuple[Judgement, ...]
    tie: bool
    doubt: float
    move_doubt: float

    @property
    def disputed(self) -> bool:
        """Whether two of the judgements have different labels."""
        return len({each.label for each in self.judgements if each.label is not None}) > 1


def combine(judgements: Sequence[Judgement]) -> Combined:
    """One annotation from all judgements about one gram, in the order of annotators and votes."""
    labelled = [each for each in judgements if each.annotation.labelled]
    if not labelled:
        return Combined(_unlabelled(judgements), tuple(judgements), tie=False, doubt=0.0, move_doubt=0.0)
    shares = _shares(labelled)
    opposed = None in shares and len(shares) > 1
    none = shares.pop(None, 0.0)
    strategic = math.fsum(shares.values())
    tie = opposed and math.isclose(strategic, none)
    move = _winner(shares, labelled) if shares and (tie or strategic >= none) else None
    share = max(strategic, none)
    confidence = min(share, TIE_CEILING) if tie else share
    annotation = _annotation(judgements, labelled, move, round(confidence, 4))
    doubt = EVEN if tie else min(strategic, none) / (strategic + none or 1.0)
    move_doubt = 1 - shares[move] / strategic if move and strategic else 0.0
    return Combined(annotation, tuple(judgements), tie, doubt, move_doubt)


def disagreements(combined: Iterable[Combined], candidates: Mapping[str, Candidate]) -> list[dict[str, Any]]:
    """The lines of `disagreements.jsonl`: disputed grams, those first where a person's answer changes most.

    `help` is the expected number of uses whose planning mask is wrong: doubt x count. Grams whose move alone is in
    doubt change no mask; they follow, ordered by move_doubt x count.
    """
    disputed = [each for each in combined if each.disputed]

    def urgency(each: Combined) -> tuple[float, float, str]:
        count = candidates[each.annotation.gram].count
        return -each.doubt * count, -each.move_doubt * count, each.annotation.gram

    return [_disagreement(each, candidates[each.annotation.gram]) for each in sorted(disputed, key=urgency)]


def agreement_figures(combined: Sequence[Combined]) -> dict[str, Any]:
    """Agreement of all judgements, of each pair of annotators, and of the votes of each annotator.

    alpha: Krippendorff's, on move or none; alpha_strategic: on strategic or not; kappa: Cohen's, by `first-second`, of
    what each annotator's votes come to; votes: alpha among the votes of an annotator. None where it is not defined.
    """
    raters = list(dict.fromkeys(rater for each in combined for rater in _by_rater(each.judgements)))
    table = [[_by_rater(each.judgements).get(rater) for rater in raters] for each in combined]
    annotators = list(dict.fromkeys(annotator for annotator, _ in raters))
    voices = {name: [_voice(each.judgements, name) for each in combined] for name in annotators}
    columns = {name: [at for at, rater in enumerate(raters) if rater[0] == name] for name in annotators}
    return {
        "alpha": _defined(krippendorff_alpha(table)),
        "alpha_strategic": _defined(krippendorff_alpha([[_is_strategic(label) for label in unit] for unit in table])),
        "percent": _defined(100 * percent_agreement(table)),
        "kappa": {f"{a}-{b}": _defined(cohen_kappa(voices[a], voices[b])) for a, b in combinations(annotators, 2)},
        "votes": {
            name: _defined(krippendorff_alpha([[unit[at] for at in own] for unit in table]))
            for name, own in columns.items()
            if len(own) > 1
        },
        "disputed": sum(each.disputed for each in combined),
        "ties": sum(each.tie for each in combined),
    }


def _shares(labelled: Sequence[Judgement]) -> dict[Move | None, float]:
    """The mean over voices of the confidence given to each move, and to None (not strategic)."""
    votes: dict[str, list[Annotation]] = defaultdict(list)
    for each in labelled:
        votes[each.annotation.annotator].append(each.annotation)
    parts: dict[Move | None, list[float]] = defaultdict(list)
    for own in votes.values():
        for annotation in own:
            parts[annotation.move].append(annotation.confidence / len(own) / len(votes))
    return {move: math.fsum(each) for move, each in parts.items()}


def _winner(shares: Mapping[Move | None, float], labelled: Sequence[Judgement]) -> Move | None:
    best = max(shares.values())
    tied = [each.annotation for each in labelled if math.isclose(shares.get(each.annotation.move, -1.0), best)]
    return max(tied, key=lambda each: each.confidence).move


def _annotation(
    judgements: Sequence[Judgement], labelled: Sequence[Judgement], move: Move | None, confidence: float
) -> Annotation:
    """The combined annotation: named after all who judged, with the reason of the surest who agrees."""
    annotations = [each.annotation for each in labelled]
    agreeing = [each for each in annotations if each.move is move]
    surest = max(agreeing, key=lambda each: each.confidence)
    strategic = sum(each.move is not None for each in annotations)
    verdict = move.value if move else NONE
    return Annotation(
        gram=surest.gram,
        move=move,
        confidence=confidence,
        reason=f"{len(agreeing)} of {len(annotations)} judgements {verdict}, {strategic} strategic: {surest.reason}",
        annotator=_joined(each.annotation.annotator for each in judgements),
        model=_joined(each.annotation.model for each in judgements),
        prompt_version=_joined(each.annotation.prompt_version for each in judgements),
        cluster=_cluster(judgements),
    )


def _unlabelled(judgements: Sequence[Judgement]) -> Annotation:
    return Annotation(
        gram=judgements[0].annotation.gram,
        move=None,
        confidence=0.0,
        reason="; ".join(dict.fromkeys(each.annotation.reason for each in judgements)),
        annotator=_joined(each.annotation.annotator for each in judgements),
        model=_joined(each.annotation.model for each in judgements),
        prompt_version=_joined(each.annotation.prompt_version for each in judgements),
        labelled=False,
        cluster=_cluster(judgements),
    )


def _joined(names: Iterable[str]) -> str:
    return "+".join(dict.fromkeys(name for name in names if name))


def _cluster(judgements: Sequence[Judgement]) -> int | None:
    return next((each.annotation.cluster for each in judgements if each.annotation.cluster is not None), None)


def _disagreement(each: Combined, candidate: Candidate) -> dict[str, Any]:
    annotation = each.annotation
    return {
        "gram": annotation.gram,
        "count": candidate.count,
        "document_frequency": candidate.document_frequency,
        "move": annotation.move.value if annotation.move else None,
        "confidence": annotation.confidence,
        "tie": each.tie,
        "help": round(each.doubt * candidate.count, 4),
        "move_doubt": round(each.move_doubt, 4),
        "judgements": [_brief(judgement) for judgement in each.judgements],
    }


def _brief(judgement: Judgement) -> dict[str, Any]:
    row = judgement.to_row()
    return {name: row[name] for name in ("annotator", "vote", "model", "move", "confidence", "labelled", "reason")}


def _by_rater(judgements: Iterable[Judgement]) -> dict[tuple[str, int], str | None]:
    return {(each.annotation.annotator, each.vote): each.label for each in judgements}


def _voice(judgements: Sequence[Judgement], annotator: str) -> str | None:
    """The label that an annotator's votes about a gram come to."""
    own = [each for each in judgements if each.annotation.annotator == annotator]
    return Judgement(combine(own).annotation, 0).label if own else None


def _is_strategic(label: str | None) -> bool | None:
    return None if label is None else label != NONE


def _defined(figure: float) -> float | None:
    return None if math.isnan(figure) else round(figure, 4)
