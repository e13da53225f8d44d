"""Curation: thresholds, nested grams, decisions, and the history of each."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.config.curate import CurateConfig
from hicra_cli.core.errors import DataError
from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.base import Annotation
from hicra_cli.grams.curation import Considered, Listed, curate, decided_by, open_questions
from hicra_cli.grams.decisions import Decision, read_decisions


def gram(text, count=100, df=50, confidence=0.9, move=Move.BACKTRACING, labelled=True) -> Considered:
    return Considered(text, Annotation(text, move, confidence, "why", "lexicon", labelled=labelled), count, df)


def accepted(considered, decisions=None, **changes):
    return [each.gram for each in curate(considered, decisions or {}, CurateConfig(**changes)).accepted]


def test_thresholds_accept_at_the_border_and_say_why_they_reject():
    considered = [
        gram("let me check", confidence=0.5, df=3),
        gram("let me see", confidence=0.49, df=9),
        gram("let me think", confidence=0.9, df=2),
        gram("the number of", move=None, df=20),
        gram("what is it", labelled=False, move=None, df=10),
    ]
    curated = curate(considered, {}, CurateConfig())
    assert [each.gram for each in curated.accepted] == ["let me check"]
    assert {each.gram: each.rule for each in curated.rulings} == {
        "let me check": "accepted",
        "let me see": "confidence",
        "let me think": "document_frequency",
        "the number of": "not_strategic",
        "what is it": "unlabelled",
    }
    assert curated.ruling("let me see").reason == "confidence 0.49 is below 0.5: why"
    assert curated.ruling("let me think").reason == "2 problems use it, 3 are needed"


NESTED = (
    gram("let me check", count=100),
    gram("let me check the", count=40),
    gram("me check the", count=41),
    gram("make a mistake", count=50),
    gram("i didn't make a mistake", count=45),
)


def test_maximal_drops_a_gram_that_occurs_mostly_inside_a_longer_one():
    # "me check the": 40 of 41 uses are inside "let me check the" (0.976); "let me check": 40 of 100 are not enough;
    # "make a mistake": 45 of 50 (0.9)
    assert set(accepted(NESTED)) == {"let me check", "let me check the", "i didn't make a mistake"}
    ruling = curate(NESTED, {}, CurateConfig()).ruling("me check the")
    assert ruling.rule == "nested"
    assert ruling.reason == "40 of 41 uses of `me check the` are inside `let me check the`"


def test_shortest_drops_the_longer_one_instead_and_keep_keeps_both():
    assert set(accepted(NESTED, nested="shortest")) == {"let me check", "me check the", "make a mistake"}
    assert set(accepted(NESTED, nested="keep")) == {each.gram for each in NESTED}
    assert "me check the" in accepted(NESTED, nested_share=0.99)


def test_a_gram_is_only_dropped_for_one_that_stays():
    # 5 words: 60 of 70 uses of the 4 words (0.857) and 60 of 80 of the 3 words (0.75, too few); the 4 words, which
    # would cover the 3 words (70 of 80), go.
    chain = [gram("a b we", count=80), gram("a b we can", count=70), gram("a b we can do", count=60)]
    assert set(accepted(chain)) == {"a b we", "a b we can do"}


def test_the_border_of_the_nested_share_belongs_to_the_longer_gram():
    assert accepted([gram("a b we", count=10), gram("a b we can", count=8)]) == ["a b we can"]


def test_the_most_widespread_are_kept_and_a_persons_gram_always():
    considered = [gram("one we see", df=9), gram("two we see", df=8), gram("three we see", df=7)]
    decisions = {"three we see": Decision("three we see", "accept")}
    assert accepted(considered, max_grams=2) == ["one we see", "two we see"]
    assert accepted(considered, decisions, max_grams=2) == ["one we see", "three we see"]
    assert curate(considered, decisions, CurateConfig(max_grams=2)).ruling("two we see").rule == "max_grams"


def test_beyond_the_limit_grams_that_add_no_planning_word_go_first():
    # every word of "wait let me check" lies inside "wait let me" or "let me check"; "so we see" is the rarest
    considered = [
        gram("wait let me", df=90),
        gram("let me check", df=80),
        gram("wait let me check", df=50, count=20),
        gram("so we see", df=9),
    ]
    assert accepted(considered, max_grams=3) == ["wait let me", "let me check", "so we see"]
    ruling = curate(considered, {}, CurateConfig(max_grams=3)).ruling("wait let me check")
    assert ruling.rule == "max_grams"
    assert "inside shorter grams" in ruling.reason
    assert len(accepted(considered, max_grams=4)) == 4
    assert accepted(considered, max_grams=2) == ["wait let me", "let me check"]


def test_a_list_stands_above_the_rules_and_below_a_person():
    mine = Listed("import:mine.txt", "import:mine.txt", Move.BRANCHING, cluster=4)
    considered = [
        Considered("the number of", gram("the number of", move=None).annotation, 40, 20, listed=mine),
        Considered("let me check", gram("let me check").annotation, 40, 20, listed=Listed("import:mine.txt", "x")),
        Considered("never seen here", None, 0, 0, listed=mine),
        gram("i let me check", count=40),
    ]
    decisions = {"never seen here": Decision("never seen here", "reject", reason="no")}
    curated = curate(considered, decisions, CurateConfig(max_grams=1))
    assert {each.gram: (each.verdict, each.by, each.move) for each in curated.rulings} == {
        "the number of": ("accept", "import:mine.txt", Move.BRANCHING),
        "let me check": ("accept", "import:mine.txt", Move.BACKTRACING),
        "never seen here": ("reject", "person", Move.BRANCHING),
        "i let me check": ("reject", "rule", Move.BACKTRACING),
    }
    assert considered[0].cluster == 4


def test_listed_grams_are_asked_about_after_the_open_ones():
    considered = [
        Considered("from the list", None, 90, 90, listed=Listed("import:mine.txt", "import:mine.txt")),
        gram("let me check"),
    ]
    curated = curate(considered, {}, CurateConfig())
    assert [each.considered.gram for each in open_questions(curated, considered, CurateConfig())] == [
        "let me check",
        "from the list",
    ]


def test_who_decided_is_the_annotator_where_its_label_did_and_the_rule_where_a_figure_did():
    judged = Annotation("let me check", Move.BACKTRACING, 0.9, "why", "gemini", model="some-model")
    considered = Considered("let me check", judged, 9, 9)
    rare = Considered("let me see", replace(judged, gram="let me see"), 9, 1)
    curated = curate([considered, rare], {}, CurateConfig())
    assert decided_by(curated.ruling("let me check"), considered) == "gemini:some-model"
    assert decided_by(curated.ruling("let me see"), rare) == "rule"


def test_a_persons_decision_stands_above_every_rule():
    considered = [
        *NESTED,
        gram("the number of", move=None),
        gram("so it is", confidence=0.1),
    ]
    decisions = {
        each.gram: each
        for each in (
            Decision("let me check", "reject", reason="too vague"),
            Decision("me check the", "accept"),
            Decision("so it is", "accept", Move.DEDUCTION),
            Decision("let us look elsewhere", "accept", Move.BRANCHING, "missed by all"),
        )
    }
    curated = curate(considered, decisions, CurateConfig())
    grams = {each.gram for each in curated.accepted}
    assert {"me check the", "so it is", "let us look elsewhere"} <= grams
    assert "let me check" not in grams
    assert curated.ruling("let me check").by == "person"
    assert curated.ruling("let me check").reason == "too vague"
    assert curated.ruling("so it is").move is Move.DEDUCTION
    assert curated.ruling("me check the").move is Move.BACKTRACING
    assert curated.ruling("let us look elsewhere").rule == "missed"
    assert curated.ruling("me check the").rule == "decision"


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            gram,
            st.lists(st.sampled_from("abcd"), min_size=3, max_size=5).map(" ".join),
            count=st.integers(1, 9),
            df=st.integers(1, 6),
            confidence=st.sampled_from([0.3, 0.5, 0.9]),
            move=st.sampled_from([None, *Move]),
        ),
        unique_by=lambda each: each.gram,
        max_size=12,
    ),
    st.sampled_from(["maximal", "shortest", "keep"]),
    st.integers(0, 10),
)
def test_the_result_does_not_depend_on_the_order_and_every_gram_has_one_ruling(considered, nested, seed):
    shuffled = list(considered)
    random.Random(seed).shuffle(shuffled)
    config = CurateConfig(nested=nested, max_grams=4)
    curated = curate(considered, {}, config)
    assert curated == curate(shuffled, {}, config)
    assert sorted(each.gram for each in curated.rulings) == sorted(each.gram for each in considered)
    assert [each.gram for each in curated.accepted] == [
        each.gram for each in curated.rulings if each.verdict == "accept"
    ]


def test_questions_are_about_open_grams_and_begin_where_the_rules_are_least_sure():
    considered = [
        gram("let me check", confidence=0.9),
        gram("so we have", confidence=0.45),
        gram("the number of", move=None),
        gram("very rare gram", confidence=0.5, df=1),
        gram("decided by hand", confidence=0.5),
    ]
    decisions = {"decided by hand": Decision("decided by hand", "reject")}
    curated = curate(considered, decisions, CurateConfig())
    questions = open_questions(curated, considered, CurateConfig())
    assert [each.considered.gram for each in questions] == ["so we have", "let me check"]
    assert [(each.number, each.total) for each in questions] == [(1, 2), (2, 2)]
    assert [each.suggested.verdict for each in questions] == ["reject", "accept"]


def test_a_decisions_file_is_read_with_its_grams_normalised(tmp_path):
    path = tmp_path / "decisions.jsonl"
    path.write_text(
        '{"gram": "Let’s  try, again", "decision": "accept", "move": "branching", "reason": "seen often"}\n\n'
        '{"gram": "the number of", "decision": "reject"}\n'
    )
    assert read_decisions(path) == {
        "let's try again": Decision("let's try again", "accept", Move.BRANCHING, "seen often"),
        "the number of": Decision("the number of", "reject"),
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"gram": "a b c", "decision": "maybe"}', "must be accept or reject"),
        ('{"decision": "accept"}', "`gram` is missing"),
        ('{"gram": "a b c", "decision": "accept", "move": "sideways"}', "sideways"),
        ('{"gram": "a b c", "decision": "accept", "why": "x"}', "unknown field 'why'"),
        ('{"gram": "a. b", "decision": "accept"}', "can never occur"),
        ('{"gram": "!!", "decision": "accept"}', "has no word"),
        ("[1]", "a JSON object is needed"),
        ("{", "no JSON"),
        ('{"gram": "let me check", "decision": "reject"}', "decided in two ways: accept at .*:1, reject here"),
        ('{"gram": "let me check", "decision": "accept", "move": "branching"}', "two ways"),
    ],
)
def test_a_malformed_or_contradicting_line_is_named_with_file_and_number(tmp_path, line, message):
    path = tmp_path / "decisions.jsonl"
    path.write_text('{"gram": "let me check", "decision": "accept"}\n' + line + "\n")
    with pytest.raises(DataError, match=message) as failure:
        read_decisions(path)
    assert failure.value.where == f"{path}:2"
    assert failure.value.exit_code == 2
