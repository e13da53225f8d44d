"""Several judgements about one gram become one annotation; where they part, the gram is listed for review.

A judgement is what one annotator said when asked one time. The rule, gram by gram, over labelled judgements only:

1. Each annotator has one voice, shared by its votes: asking one more often makes its voice surer, not louder.
2. Strategic or not comes first. A side weighs what its voices are sure of: the sum of their confidence. The heavier
   side wins; the annotation's confidence is its share of all weight times the mean confidence of its voices. One judge
   alone keeps its own confidence, and a judge who hardly knows ("none", 0.1) hardly counts against one who does.
3. Without a majority of voices it is a tie: as many are against the winner as for it, or both sides weigh the same. A
   move below one half says "rather not" and is a voice against; a `none` below one half is no voice at all. At a tie
   the gram counts as strategic, so that a person is asked, with a confidence of at most TIE_CEILING, so that no
   threshold of one half accepts it.
4. The move is decided among those who call it strategic, by weight; at a tie by the surest of them, then by the order
   in which annotators were named.

Agreement is measured on labels: the move, or `none`, also where a move was given a confidence below one half, because
such a judgement says "rather not".
"""

import math
from collections import Counter, defaultdict
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

    tie: no majority for or against strategic. doubt, move_doubt: share of the weight that lies with the lighter
    verdict, and with other moves, in [0, 1].
    """

    annotation: Annotation
    judgements: tuple[Judgement, ...]
    tie: bool
    doubt: float
    move_doubt: float

    def judgements_of(self, annotator: str) -> list[Judgement]:
        """All votes of one annotator."""
        return [each for each in self.judgements if each.annotation.annotator == annotator]

    @property
    def disputed(self) -> bool:
        """Whether two of the judgements have different labels."""
        return len({each.label for each in self.judgements if each.label is not None}) > 1


def combine(judgements: Sequence[Judgement]) -> Combined:
    """One annotation from all judgements about one gram, in the order of annotators and votes."""
    labelled = [each.annotation for each in judgements if each.annotation.labelled]
    if not labelled:
        return Combined(_unlabelled(judgements), tuple(judgements), tie=False, doubt=0.0, move_doubt=0.0)
    votes = Counter(each.annotator for each in labelled)
    voices = [(each, 1 / votes[each.annotator]) for each in labelled]
    strategic = _side(voice for voice in voices if voice[0].move is not None)
    none = _side(voice for voice in voices if voice[0].move is None)
    total = strategic.weight + none.weight
    tie = _is_tie(voices, strategic, none)
    if tie or strategic.weight > none.weight or not none.voices:
        weights = _move_weights(voices)
        move, confidence = _winner(weights, labelled), strategic.confidence(total)
        # The sum over moves can round below its only part.
        move_doubt = max(0.0, 1 - weights[move] / strategic.weight) if strategic.weight else 0.0
    else:
        move, confidence, move_doubt = None, none.confidence(total), 0.0
    confidence = round(min(confidence, TIE_CEILING) if tie else confidence, 4)
    annotation = _annotation(judgements, labelled, move, confidence)
    return Combined(annotation, tuple(judgements), tie, _doubt(voices), move_doubt)


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
    unlabelled: judgements without a label, which count as missing.
    """
    raters = list(dict.fromkeys(rater for each in combined for rater in _by_rater(each.judgements)))
    table = [[_by_rater(each.judgements).get(rater) for rater in raters] for each in combined]
    annotators = list(dict.fromkeys(annotator for annotator, _ in raters))
    voices = {name: [_voice(each.judgements_of(name)) for each in combined] for name in annotators}
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
        "unlabelled": {
            name: sum(not judged.annotation.labelled for each in combined for judged in each.judgements_of(name))
            for name in annotators
        },
        "disputed": sum(each.disputed for each in combined),
        "ties": sum(each.tie for each in combined),
    }


Voice = tuple[Annotation, float]
"""A labelled judgement and its part of its annotator's voice."""


@dataclass(frozen=True, slots=True)
class _Side:
    """Those who name a move, or those who say none. voices: how many; weight: the sum of their confidence."""

    voices: float
    weight: float

    def confidence(self, total: float) -> float:
        """Its share of all weight times the mean confidence of its voices; 0 where nobody is sure of anything."""
        return self.weight / total * self.weight / self.voices if total else 0.0


def _side(voices: Iterable[Voice]) -> _Side:
    own = list(voices)
    weight = math.fsum(each.confidence * voice for each, voice in own)
    return _Side(math.fsum(voice for _, voice in own), weight)


def _is_tie(voices: Sequence[Voice], strategic: _Side, none: _Side) -> bool:
    """Whether no majority of voices stands behind the heavier side."""
    if strategic.voices and none.voices and math.isclose(strategic.weight, none.weight):
        return True
    sure = math.fsum(voice for each, voice in voices if each.move is not None and each.confidence >= EVEN)
    against = math.fsum(voice for each, voice in voices if (each.move is None) == (each.confidence >= EVEN))
    winning, losing = (sure, against) if strategic.weight > none.weight else (against, sure)
    return sure > 0 and (losing > winning or math.isclose(losing, winning))


def _doubt(voices: Sequence[Voice]) -> float:
    """The lighter verdict's share of the weight; a move below one half weighs against with what it lacks to 1."""
    pro = math.fsum(each.confidence * voice for each, voice in voices if each.move is not None)
    contra = math.fsum(
        voice * (each.confidence if each.move is None else 1 - each.confidence)
        for each, voice in voices
        if each.move is None or each.confidence < EVEN
    )
    return min(pro, contra) / (pro + contra) if pro + contra else 0.0


def _move_weights(voices: Iterable[Voice]) -> dict[Move, float]:
    weights: dict[Move, float] = defaultdict(float)
    for each, voice in voices:
        if each.move is not None:
            weights[each.move] += each.confidence * voice
    return weights


def _winner(weights: Mapping[Move, float], labelled: Sequence[Annotation]) -> Move:
    best = max(weights.values())
    heaviest = {move for move, weight in weights.items() if math.isclose(weight, best)}
    tied = [(each.move, each.confidence) for each in labelled if each.move in heaviest]
    move = max(tied, key=lambda each: each[1])[0]
    assert move is not None
    return move


def _annotation(
    judgements: Sequence[Judgement], labelled: Sequence[Annotation], move: Move | None, confidence: float
) -> Annotation:
    """The combined annotation: named after all who judged, with the reason of the surest who agrees."""
    agreeing = [each for each in labelled if each.move is move]
    surest = max(agreeing, key=lambda each: each.confidence)
    strategic = sum(each.move is not None for each in labelled)
    verdict = move.value if move else NONE
    return Annotation(
        gram=surest.gram,
        move=move,
        confidence=confidence,
        reason=f"{len(agreeing)} of {len(labelled)} judgements {verdict}, {strategic} strategic: {surest.reason}",
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


def _voice(own: Sequence[Judgement]) -> str | None:
    """The label that an annotator's votes about a gram come to."""
    return Judgement(combine(own).annotation, 0).label if own else None


def _is_strategic(label: str | None) -> bool | None:
    return None if label is None else label != NONE


def _defined(figure: float) -> float | None:
    return None if math.isnan(figure) else round(figure, 4)
