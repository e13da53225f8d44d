"""The lexicon's judgement on grams a reader would sort by hand."""

from pathlib import Path

import pytest

from hicra_cli.core.progress import SilentProgress
from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.lexicon import LexiconAnnotator, judge, rules_text
from hicra_cli.grams.annotators.lexicon_rules import RULES
from hicra_cli.grams.candidates import Candidate
from hicra_cli.text.words import normalise_gram

ACCEPTED = 0.5

DEDUCTION = """
we can use the fact|use the fact that the|this implies that|this means that the|since we need|we know that
it follows that|we can conclude that|which implies that|let's start with the|let's start by|break this down into
we need to find|first we need to|therefore we can|let me denote
we need to find the|first i need to|the goal is to|the question is asking|let me think|to solve this problem
let's start with a sum|we can begin by adding
"""
BRANCHING = """
let's try a different approach|another way to|alternatively maybe the problem|consider the case where|what if we
we can assume that|we can assume|maybe that's the case|maybe there's a trick here|so maybe the problem
let me try another|on the other hand|let's assume that|in this case|maybe there is another way|let's try another way
we could try another pair|alternatively we can try this|is there another way to
"""
BACKTRACING = """
but that is not the|wait that's not right|let me check|let me check again|let me verify|go back and|i made a mistake
let me double-check|but let me check if|wait hold on|i misread the problem
i didn't misinterpret the|i might have missed something
that seems too high|that seems right but|doesn't make sense|is that right|that doesn't make sense
make sure i didn't|make sure i didn't miss|just to double-check|that is not the target
that does not work here|but the problem says|does that make sense|on second thought|let's go back to
"""
NONE = """
is equal to the|add five to both|the number of|the total number of|the sum of the|both sides of the|so the answer is
divided by the|let me calculate|so the total|therefore the answer is|is given by|the value of|number of red marbles
wait for the bus|a total of|need to calculate the|find the total|the same as
"""
FRAGMENTS = """
me check the|number let me check|straightforward but let me|wait but let|hold on let|this down step by
sure i didn't make|problem we need to|let me double-check to make|need to find the|me break this down
"""
EMPTY = """
i need to|we need to|so i can|so we need|now we have|now i have to|okay so i need|hmm so i need|but let me|but just to
so let me|but i need to|then we have
"""
NO_TURN = """
that seems right|that makes sense|so that checks out|that seems straightforward|so i think|i think that's it|to find out
"""


def grams(text: str) -> list[str]:
    return [gram for line in text.split("\n") for gram in line.split("|") if gram]


@pytest.mark.parametrize(
    ("gram", "move"),
    [
        *((gram, Move.DEDUCTION) for gram in grams(DEDUCTION)),
        *((gram, Move.BRANCHING) for gram in grams(BRANCHING)),
        *((gram, Move.BACKTRACING) for gram in grams(BACKTRACING)),
    ],
)
def test_strategic_grams_are_accepted_with_their_move(gram, move):
    found = judge(gram)
    assert found.move is move
    assert found.confidence >= ACCEPTED


@pytest.mark.parametrize("gram", [*grams(NONE), *grams(FRAGMENTS), *grams(EMPTY), *grams(NO_TURN)])
def test_calculation_pieces_and_empty_frames_are_not_accepted(gram):
    found = judge(gram)
    assert found.move is None or found.confidence < ACCEPTED


def test_a_piece_and_an_open_end_score_below_the_whole():
    whole, open_end, piece = judge("let me check"), judge("let me check the"), judge("number let me check")
    assert whole.confidence > open_end.confidence > piece.confidence
    # 0.9 - 0.15; 0.9 - 0.45 (piece) - 0.4 (`number` is a word of a subject)
    assert (whole.confidence, open_end.confidence, piece.confidence) == (0.9, 0.75, 0.05)
    assert piece.reason == "rule `let me check`, a piece, 1 words of a subject"


def test_a_frame_without_a_verb_of_its_own_is_empty():
    # 0.75 - 0.4 (only `so`, `we`, `need`); `consider` is what makes the next one a plan
    assert judge("so we need").reason == "rule `so we need`, empty"
    assert judge("so we need").confidence == 0.35
    assert judge("so we need to consider").confidence == 0.85


def test_words_of_a_subject_cost_confidence():
    # 0.85 - 0.4; 0.85 - 0.4 - 0.15
    assert judge("we need to find").confidence == 0.85
    assert judge("we need to find marbles").confidence == 0.45
    assert judge("we need to find red marbles").confidence == 0.3


def test_annotations_come_in_order_and_say_who_judged():
    candidates = [Candidate(gram, 3, 1, 1, 1, (), ()) for gram in ("the number of", "let me check")]
    found = list(LexiconAnnotator().annotate(candidates, SilentProgress()))
    assert [each.gram for each in found] == ["the number of", "let me check"]
    assert {each.annotator for each in found} == {"lexicon"}
    assert all(each.labelled for each in found)


def test_rule_names_are_unique_and_name_grams_that_can_occur():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    for name in names:
        assert normalise_gram(name)


def test_long_and_hostile_grams_are_judged_in_no_time():
    for gram in ("wait " * 5000, "let me " * 5000 + "check", "a b" * 10_000, "(?i)\\", ""):
        assert judge(gram.strip()).gram == gram.strip()


def test_the_documentation_shows_the_rules_as_they_are():
    page = (Path(__file__).parents[3] / "docs" / "lexicon.md").read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("```")[0]
    assert shown == rules_text(), "put the text of rules_text() into docs/lexicon.md"
