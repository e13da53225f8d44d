"""Missed grams: what is near a set, by which family, in which order, and what is not worth a person's minute."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.records import Move, StrategicGram
from hicra_cli.grams.candidates import Candidate, Scores
from hicra_cli.grams.missed import propose_missed


def candidate(gram, count=10, df=5, **scores) -> Candidate:
    return Candidate(gram, len(gram.split()), count, df, df, (), (f"… {gram} …",), scores=Scores(**scores))


def gram(text, move=Move.BACKTRACING, cluster=None, df=5) -> StrategicGram:
    return StrategicGram(tuple(text.split()), move, cluster, document_frequency=df)


def proposed(members, candidates, *, limit=100, **more):
    return propose_missed(members, candidates, limit=limit, **more)


def test_one_word_changed_is_as_near_as_the_share_of_its_family_in_the_set():
    # `let me *` has four grams; two of them are in the set: 2 / (4 + 2). `blue marbles are` has no family in the set.
    members = [gram("let me check"), gram("let me verify", df=9)]
    candidates = [candidate(text) for text in ("let me check", "let me verify", "let me add", "let me see")]
    found = proposed(members, [*candidates, candidate("blue marbles are")])
    assert [each.candidate.gram for each in found] == ["let me add", "let me see"]
    assert found[0].kind == "changed"
    assert found[0].nearness == pytest.approx(2 / 6)
    assert found[0].near == ("let me verify", "let me check")
    assert found[0].reason == "2 of 4 grams of the form `let me *` are in the set"
    assert found[0].move is Move.BACKTRACING
    assert found[0].new_words == 30


def test_a_shorter_gram_is_near_by_its_extensions_and_gains_only_the_uses_outside_them():
    # Extensions of `wait let me` in the candidates: two, one of them in the set: 1 / (2 + 2). Of its 50 uses 20 are
    # inside `wait let me check`; the other 30 have 3 new words each.
    members = [gram("wait let me check")]
    candidates = [candidate("wait let me check", 20), candidate("wait let me", 50), candidate("and wait let me", 9)]
    found = {each.candidate.gram: each for each in proposed(members, candidates)}
    assert found["wait let me"].kind == "shortened"
    assert found["wait let me"].nearness == pytest.approx(1 / 4)
    assert found["wait let me"].new_words == 90
    assert "one word longer" in found["wait let me"].reason


def test_a_longer_gram_is_near_when_others_like_it_are_in_the_set_and_gains_one_word_a_use():
    # Of the three grams that are `let me check` and a word more one is in the set: 1 / (3 + 2). Its own family of a
    # changed last word is the same three grams.
    members = [gram("let me check"), gram("let me check again")]
    texts = ("let me check", "let me check again", "let me check now", "so let me check")
    found = {each.candidate.gram: each for each in proposed(members, [candidate(text) for text in texts])}
    assert found["so let me check"].kind == "extended"
    assert found["so let me check"].nearness == pytest.approx(1 / 5)
    assert found["so let me check"].new_words == 10
    # `let me check *` is {again, now}: 1 / (2 + 2), and the extensions speak besides: 1 - 3/4 * 4/5
    assert found["let me check now"].kind == "changed"
    assert found["let me check now"].nearness == pytest.approx(1 - 3 / 4 * 4 / 5)


def test_grams_of_one_cluster_are_near_each_other():
    # Cluster 7 has three grams, two of them in the set: 2 / (3 + 2).
    members = [gram("hold on there", cluster=7), gram("wait a moment", cluster=7)]
    candidates = [candidate("hold on there"), candidate("not so fast"), candidate("the red one")]
    found = proposed(members, candidates, clusters={"hold on there": 7, "not so fast": 7, "the red one": 8})
    assert [(each.candidate.gram, each.kind, each.nearness) for each in found] == [
        ("not so fast", "cluster", pytest.approx(2 / 5))
    ]
    assert found[0].reason == "2 of 3 grams of cluster 7 are in the set"


def test_association_with_success_counts_where_the_set_has_more_of_it_than_chance():
    # 40 candidates; the top twentieth by log-odds are two, one of them in the set: 1 / (2 + 2) - 1 / 40 for chance.
    names = [f"{chr(97 + at // 26)}{chr(97 + at % 26)}" for at in range(40)]
    candidates = [candidate(f"{name}x {name}y {name}z", log_odds=float(at)) for at, name in enumerate(names)]
    found = proposed([gram(candidates[39].gram)], candidates)
    assert [each.candidate.gram for each in found] == [candidates[38].gram]
    assert found[0].kind == "association"
    assert found[0].nearness == pytest.approx(1 / 4 - 1 / 40)
    assert found[0].reason.startswith("association with success: among the highest twentieth")
    assert (found[0].near, found[0].move) == ((), None)
    assert proposed([gram(candidates[39].gram)], candidates, judged={candidates[38].gram}) == []


def test_what_an_annotator_called_not_strategic_is_half_as_near():
    members, candidates = [gram("let me check")], [candidate(f"let me {word}") for word in ("check", "add", "see")]
    found = proposed(members, candidates, judged={"let me see"})
    # `let me *` has three grams, one in the set: 1 / (3 + 2)
    assert [(each.candidate.gram, each.nearness) for each in found] == [
        ("let me add", pytest.approx(0.2)),
        ("let me see", pytest.approx(0.1)),
    ]


def test_what_is_decided_or_in_the_set_or_covered_already_is_not_proposed():
    members = [gram("let me check"), gram("let me")]
    candidates = [candidate(text) for text in ("let me check", "let me add", "let me see")]
    assert [each.candidate.gram for each in proposed(members, candidates, passed_over={"let me add"})] == ["let me see"]
    # every use of `me check` is inside `let me check`
    assert (
        proposed([gram("let me check"), gram("me see")], [candidate("let me check", 7), candidate("me check", 7)]) == []
    )


def test_of_two_proposals_that_mostly_share_their_uses_only_the_first_is_made():
    # `so we check that` and `we check that` are near by `* check that`; 9 of 10 uses of the shorter are the longer's.
    members = [gram("they check that"), gram("so they check that")]
    candidates = [
        candidate("they check that"),
        candidate("so they check that"),
        candidate("we check that", 10),
        candidate("so we check that", 9),
    ]
    assert len(proposed(members, candidates)) == 1


def test_no_more_than_the_limit_and_the_most_promising_first():
    members = [gram("let me check")]
    candidates = [candidate("let me check"), *(candidate(f"let me {word}", 10 * at) for at, word in enumerate("abcd"))]
    assert [each.candidate.gram for each in proposed(members, candidates, limit=2)] == ["let me d", "let me c"]
    assert proposed(members, candidates, limit=0) == []


def test_a_row_says_what_a_reader_needs():
    row = proposed([gram("let me check")], [candidate("let me check"), candidate("let me see", log_odds=2.5)])[
        0
    ].to_row()
    assert row == {
        "gram": "let me see",
        "move": "backtracing",
        "kind": "changed",
        "reason": "1 of 2 grams of the form `let me *` are in the set",
        "near": ["let me check"],
        "nearness": 0.25,
        "new_words": 30,
        "count": 10,
        "document_frequency": 5,
        "log_odds": 2.5,
        "growth": None,
        "contexts": ["… let me see …"],
    }


TEXTS = st.lists(st.sampled_from("abcd"), min_size=2, max_size=5).map(" ".join)


@settings(deadline=None)
@given(
    st.lists(TEXTS, unique=True, max_size=25),
    st.sets(st.integers(0, 24), max_size=8),
    st.randoms(use_true_random=False),
)
def test_the_proposals_depend_on_neither_order_and_are_never_of_the_set(texts, chosen, shuffling: random.Random):
    candidates = [candidate(text, count=1 + at % 5) for at, text in enumerate(texts)]
    members = [gram(text) for at, text in enumerate(texts) if at in chosen] or [gram("x y z")]
    found = proposed(members, candidates)
    shuffling.shuffle(candidates)
    shuffling.shuffle(members)
    assert found == proposed(members, candidates)
    assert not {each.candidate.gram for each in found} & {each.text for each in members}
    for each in found:
        assert 0 < each.nearness < 1
        assert each.new_words > 0
        assert set(each.near) <= {member.text for member in members}
