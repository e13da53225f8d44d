"""Judgements about one gram become one annotation; figures are worked by hand."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.base import Annotation
from hicra_cli.grams.annotators.combine import (
    TIE_CEILING,
    Judgement,
    agreement_figures,
    combine,
    disagreements,
)
from hicra_cli.grams.candidates import Candidate

D, X, B = Move.DEDUCTION, Move.BRANCHING, Move.BACKTRACING


def judged(annotator: str, move: Move | None, confidence: float, vote: int = 0, **more) -> Judgement:
    reason = more.pop("reason", f"{annotator} says so")
    return Judgement(Annotation(more.pop("gram", "let me check"), move, confidence, reason, annotator, **more), vote)


def outcome(*judgements: Judgement) -> tuple[Move | None, float]:
    annotation = combine(judgements).annotation
    return annotation.move, annotation.confidence


def counted(gram: str, count: int) -> Candidate:
    return Candidate(gram, 3, count, count, count, (), ())


def test_a_majority_decides_with_its_share_of_the_weight():
    # strategic weighs 0.9 + 0.6 of 2.1 in all and is 0.75 sure on average: 1.5 / 2.1 x 0.75 = 0.5357
    assert outcome(judged("a", D, 0.9), judged("b", D, 0.6), judged("c", None, 0.6)) == (D, 0.5357)


def test_unanimous_judges_keep_their_mean_confidence():
    assert outcome(judged("a", B, 0.9), judged("b", B, 0.7)) == (B, 0.8)


def test_strategic_or_not_is_decided_before_the_move():
    # each move weighs less (0.7) than `none` (0.8), both together more: 1.4 / 2.2 x 0.7 = 0.4455
    assert outcome(judged("a", None, 0.8), judged("b", D, 0.7), judged("c", X, 0.7)) == (D, 0.4455)


def test_who_hardly_knows_hardly_counts_against_who_does():
    # 0.85 / 0.95 x 0.85 = 0.7605
    found = combine([judged("a", B, 0.85), judged("b", None, 0.1)])
    assert (found.annotation.move, found.annotation.confidence, found.tie) == (B, 0.7605, False)


def test_without_a_majority_of_sure_voices_no_threshold_of_one_half_accepts():
    # 1 / 1.8 x 1 = 0.5556, but one sure voice stands against one
    assert outcome(judged("a", B, 1.0), judged("b", None, 0.8)) == (B, TIE_CEILING)
    # three times `none` at 0.4 weighs more than 0.9, but nobody is half sure of it: 0.9 / 2.1 x 0.9 = 0.3857
    unsure = [judged(name, None, 0.4) for name in "bcd"]
    assert outcome(judged("a", B, 0.9), *unsure) == (B, 0.3857)
    assert combine([judged("a", B, 0.9), *unsure]).tie
    # a move below one half says "rather not": 1.3 / 1.3 x 0.65, but one against one
    found = combine([judged("a", B, 0.4), judged("b", B, 0.9)])
    assert (found.annotation.move, found.annotation.confidence, found.tie) == (B, TIE_CEILING, True)
    # against: 1 - 0.4; 0.6 of 0.4 + 0.9 + 0.6
    assert found.doubt == pytest.approx(0.6 / 1.9)


def test_who_all_say_rather_not_are_no_tie():
    found = combine([judged("a", B, 0.4), judged("b", B, 0.3)])
    assert (found.annotation.move, found.annotation.confidence, found.tie) == (B, 0.35, False)


def test_nothing_sure_and_nothing_against_it_keeps_the_move():
    assert outcome(judged("a", B, 0.0), judged("b", B, 0.0)) == (B, 0.0)
    assert outcome(judged("a", B, 0.0), judged("b", None, 0.0)) == (B, 0.0)


def test_two_equally_sure_judges_who_differ_are_a_tie_below_every_majority():
    found = combine([judged("a", D, 1.0), judged("b", None, 1.0)])
    assert (found.annotation.move, found.annotation.confidence, found.tie) == (D, TIE_CEILING, True)
    assert found.doubt == 0.5


def test_a_tie_of_moves_goes_to_the_surest_then_to_the_first_named():
    # branching 0.9 + 0.5 and deduction 0.7 + 0.7 weigh 1.4 each
    tied = [judged("a", D, 0.7), judged("b", X, 0.9), judged("c", X, 0.5), judged("d", D, 0.7)]
    assert combine(tied).annotation.move is X
    assert outcome(judged("a", D, 0.7), judged("b", X, 0.7)) == (D, 0.7)
    assert outcome(judged("b", X, 0.7), judged("a", D, 0.7)) == (X, 0.7)


def test_votes_share_the_one_voice_of_their_annotator():
    # a: two of three votes are strategic: 2 x 0.9 / 3 = 0.6 against 0.9 / 3 + 0.8 = 1.1, from 1 1/3 voices:
    # 1.1 / 1.7 x 1.1 / 1.3333 = 0.5338
    votes = [judged("a", D, 0.9, 0), judged("a", D, 0.9, 1), judged("a", None, 0.9, 2)]
    assert outcome(*votes, judged("b", None, 0.8)) == (None, 0.5338)
    # 0.6 / 0.9 x 0.9
    assert outcome(*votes) == (D, 0.6)


def test_who_gave_no_label_does_not_count():
    nothing = judged("b", None, 0.0, labelled=False, reason="refused")
    assert outcome(judged("a", D, 0.8), nothing) == (D, 0.8)
    unlabelled = combine([nothing, judged("c", None, 0.0, labelled=False, reason="cut off")]).annotation
    assert (unlabelled.labelled, unlabelled.move, unlabelled.confidence) == (False, None, 0.0)
    assert (unlabelled.reason, unlabelled.annotator) == ("refused; cut off", "b+c")


def test_the_combined_annotation_names_all_who_judged_and_the_surest_reason():
    found = combine(
        [
            judged("cluster", D, 0.6, cluster=7, model="lsa"),
            judged("gemini", D, 0.9, model="m", prompt_version="3", reason="plans"),
            judged("gemini", X, 0.5, 1, model="m", prompt_version="3"),
        ]
    ).annotation
    assert (found.annotator, found.model, found.prompt_version, found.cluster) == ("cluster+gemini", "lsa+m", "3", 7)
    assert found.reason == "2 of 3 judgements deduction, 3 strategic: plans"


def test_a_judgement_below_one_half_is_a_rather_not():
    assert judged("lexicon", D, 0.3).label == "none"
    assert not combine([judged("lexicon", D, 0.3), judged("b", None, 0.9)]).disputed
    assert combine([judged("lexicon", D, 0.6), judged("b", None, 0.9)]).disputed


def test_disagreements_come_by_the_uses_a_person_would_set_right():
    def pair(gram, first, second):
        return combine([judged("a", *first, gram=gram), judged("b", *second, gram=gram)])

    combined = [
        pair("all of one mind", (D, 0.9), (D, 0.8)),
        pair("other move but frequent", (D, 0.9), (X, 0.9)),
        pair("rare tie", (D, 0.9), (None, 0.9)),
        pair("frequent and doubtful", (D, 0.9), (None, 0.6)),
    ]
    counts = {"all of one mind": 999, "other move but frequent": 500, "rare tie": 10, "frequent and doubtful": 100}
    rows = disagreements(combined, {gram: counted(gram, count) for gram, count in counts.items()})
    # doubt 0.6 / 1.5 = 0.4, x 100 = 40; 0.5 x 10 = 5; the planning mask of the third does not depend on the move
    assert [(row["gram"], row["help"]) for row in rows] == [
        ("frequent and doubtful", 40.0),
        ("rare tie", 5.0),
        ("other move but frequent", 0.0),
    ]
    assert [(each["annotator"], each["move"], each["reason"]) for each in rows[1]["judgements"]] == [
        ("a", "deduction", "a says so"),
        ("b", None, "b says so"),
    ]
    assert [row["tie"] for row in rows] == [True, True, False]
    assert rows[2]["move_doubt"] == 0.5


def test_agreement_is_measured_between_annotators_and_among_votes():
    combined = [
        combine([judged("a", D, 0.9), judged("b", D, 0.9), judged("b", D, 0.9, 1)]),
        combine([judged("a", None, 0.9), judged("b", None, 0.9), judged("b", D, 0.6, 1)]),
    ]
    figures = agreement_figures(combined)
    # labels: D D D / none none D. n = 6, D 4, none 2: unequal pairs 16; observed 4 / 2 = 2; 1 - 5 * 2 / 16 = 0.375
    assert figures["alpha"] == figures["alpha_strategic"] == 0.375
    # pairs 12, agreeing 6 + 2 = 8
    assert figures["percent"] == 66.6667
    # b's second gram: none 0.9 against 0.6, a tie below one half, hence `none`: a and b agree on both grams
    assert figures["kappa"] == {"a-b": 1.0}
    # votes of b: D D / none D. n = 4, D 3: unequal pairs 6, observed 2: 1 - 3 * 2 / 6 = 0
    assert figures["votes"] == {"b": 0.0}
    assert (figures["disputed"], figures["ties"]) == (1, 0)
    assert figures["unlabelled"] == {"a": 0, "b": 0}


def test_a_judgement_without_a_label_is_missing_not_a_disagreement():
    nothing = judged("b", None, 0.0, labelled=False, reason="refused")
    combined = [
        combine([judged("a", D, 0.9), judged("b", D, 0.9)]),
        combine([judged("a", None, 0.9), judged("b", None, 0.9)]),
        combine([judged("a", X, 0.9), nothing]),
    ]
    figures = agreement_figures(combined)
    assert (figures["alpha"], figures["kappa"], figures["percent"]) == (1.0, {"a-b": 1.0}, 100.0)
    assert (figures["unlabelled"], figures["disputed"]) == ({"a": 0, "b": 1}, 0)


def test_agreement_that_cannot_be_told_is_none():
    figures = agreement_figures([combine([judged("a", D, 0.9), judged("b", D, 0.9)])])
    assert (figures["alpha"], figures["kappa"], figures["percent"]) == (None, {"a-b": None}, 100.0)


confidences = st.integers(0, 20).map(lambda number: number / 20)
voices = st.tuples(st.sampled_from([*Move, None]), confidences, st.booleans())


@given(st.lists(voices, min_size=1, max_size=6))
@example([(D, 0.05, True), (D, 0.5, True), (D, 0.05, True)])  # 0.05 / 3 + 0.5 / 3 + 0.05 / 3 rounds
def test_any_judgements_come_to_one_annotation_that_keeps_the_rules(heard):
    judgements = [
        judged(f"annotator-{at}", move if labelled else None, confidence if labelled else 0.0, labelled=labelled)
        for at, (move, confidence, labelled) in enumerate(heard)
    ]
    found = combine(judgements)
    annotation = found.annotation
    labelled = [each.annotation for each in judgements if each.annotation.labelled]
    assert annotation.labelled == bool(labelled)
    assert 0 <= annotation.confidence <= 1
    assert 0 <= found.doubt <= 0.5
    assert 0 <= found.move_doubt < 1
    if labelled:
        assert annotation.move in {each.move for each in labelled}
        assert annotation.confidence <= max(each.confidence for each in labelled)
    if len(labelled) == 1:
        assert (annotation.move, annotation.confidence) == (labelled[0].move, labelled[0].confidence)
    reversed_order = combine(judgements[::-1]).annotation
    assert (reversed_order.move is None) == (annotation.move is None)
    assert reversed_order.confidence == pytest.approx(annotation.confidence)
