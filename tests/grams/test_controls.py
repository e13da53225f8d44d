"""Control sets: placebos matched in number, length and frequency, and sets with some left out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import Move, Outcome, StrategicGram
from hicra_cli.grams import GramSet
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.controls import Frequency, drop, frequencies_in, placebo
from hicra_cli.grams.rollout_file import RolloutRow


def candidate(gram, df=10, count=None) -> Candidate:
    return Candidate(gram, len(gram.split()), df if count is None else count, df, df, (), ())


def texts(pairs):
    return {pair.gram.text: pair.placebo.gram for pair in pairs}


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def random_candidates(number, df):
    """Grams of three words that no other one contains."""
    return [candidate(f"{first}{second} noun word", df) for first in LETTERS for second in LETTERS][:number]


def test_a_placebo_has_as_many_words_and_the_nearest_frequency():
    # `let me check` (100 problems) is matched among the five nearest: those with 98 to 102, not those with 10.
    near = [candidate(f"near {letter} one", 98 + at) for at, letter in enumerate("abcde")]
    far = [candidate(f"far {letter} one", 10) for letter in "abcdefgh"]
    longer = [candidate("near a longer one", 100)]
    found = placebo(
        GramSet.from_phrases(["let me check"], [Move.BACKTRACING]),
        [candidate("let me check", 100), *near, *far, *longer],
        seed=0,
    )
    assert texts(found.pairs)["let me check"] in {each.gram for each in near}
    assert found.gram_set.grams[0].move is Move.BACKTRACING
    assert found.gram_set.grams[0].source == "placebo"


def test_no_placebo_is_in_the_set_inside_or_around_a_gram_of_it_or_passed_over():
    candidates = [
        candidate(text)
        for text in (
            "let me check it",
            "let me check",
            "me check it",
            "so let me check it",
            "the red hat",
            "a blue hat",
        )
    ]
    gram_set = GramSet.from_phrases(["let me check it", "we see that"])
    found = placebo(gram_set, candidates, seed=1, passed_over={"the red hat"})
    assert texts(found.pairs) == {"we see that": "a blue hat"}
    assert [gram.text for gram in found.unmatched] == ["let me check it"]
    assert found.to_summary()["unmatched"] == 1


def test_the_summary_says_how_well_it_matches():
    # ln(20/10) and ln(5/10) of document frequency: mean difference 0, mean distance ln 2; counts are equal.
    gram_set = GramSet.from_phrases(["let me check", "so we all have"])
    candidates = [
        candidate("let me check", 10, 40),
        candidate("so we all have", 10, 40),
        candidate("the red hat", 20, 40),
        candidate("the blue hat there", 5, 40),
    ]
    summary = placebo(gram_set, candidates, seed=0).to_summary()
    assert summary["lengths"] == {"3_words": 1, "4_words": 1}
    assert summary["document_frequency_log_difference"] == pytest.approx(0)
    assert summary["document_frequency_log_distance"] == pytest.approx(0.693147, abs=1e-6)
    assert summary["count_log_difference"] == summary["count_log_distance"] == 0


def test_a_gram_the_candidates_do_not_hold_is_matched_to_its_own_document_frequency():
    gram_set = GramSet((StrategicGram(("let", "me", "check"), document_frequency=50),))
    near = [candidate(f"near {letter} one", 48 + at, 48 + at) for at, letter in enumerate("abcde")]
    found = placebo(gram_set, [*near, *random_candidates(50, 500)], seed=0)
    assert found.pairs[0].placebo.gram.startswith("near")
    assert found.to_summary()["unknown_frequency"] == 1
    assert "count_log_difference" not in found.to_summary()


def test_a_gram_the_candidates_do_not_hold_is_matched_to_what_was_measured():
    rows = [
        RolloutRow("p1", 0, "let me check. let me check"),
        RolloutRow("p1", 1, "let me check"),
        RolloutRow("p2", 0, "let me check", outcome=Outcome.CORRECT),
        RolloutRow("p3", 0, "let me check", outcome=Outcome.WRONG),
    ]
    gram_set = GramSet.from_phrases(["let me check", "never seen here"])
    measured = frequencies_in(gram_set, rows)
    assert measured == {"let me check": Frequency(2, 4), "never seen here": Frequency(0, 0)}
    near = [candidate(f"near {letter} one", 2, 4) for letter in "abcde"]
    rare = [candidate(f"rare {letter} one", 1, 1) for letter in "abcde"]
    found = placebo(gram_set, [*near, *rare, *random_candidates(50, 500)], seed=0, measured=measured)
    assert {own: drawn.split()[0] for own, drawn in texts(found.pairs).items()} == {
        "let me check": "near",
        "never seen here": "rare",
    }
    assert found.to_summary()["unknown_frequency"] == 0


def test_without_candidates_of_the_length_nothing_can_be_drawn():
    with pytest.raises(DataError, match="hold none of its lengths"):
        placebo(GramSet.from_phrases(["let me check"]), [candidate("a longer one here")], seed=0)


def test_another_seed_draws_another_placebo():
    gram_set = GramSet.from_phrases(["let me check", "so we have", "wait a moment"])
    drawn = {placebo(gram_set, random_candidates(60, 10), seed=seed).gram_set.digest for seed in range(6)}
    assert len(drawn) > 3


GRAMS = st.lists(st.sampled_from(["ab", "cd", "ef", "gh", "ij"]), min_size=1, max_size=5).map(tuple)


@settings(deadline=None)
@given(
    st.sets(GRAMS, min_size=1, max_size=8),
    st.dictionaries(GRAMS, st.integers(1, 99), max_size=40),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_placebos_keep_their_distance_and_do_not_depend_on_the_order(members, pool, seed, shuffling):
    gram_set = GramSet(tuple(StrategicGram(words) for words in members))
    candidates = [candidate(" ".join(words), df) for words, df in pool.items()]
    try:
        found = placebo(gram_set, candidates, seed=seed)
    except DataError:
        return
    shuffling.shuffle(candidates)
    assert found == placebo(gram_set, candidates, seed=seed)
    assert len(found.pairs) + len(found.unmatched) == len(gram_set)
    assert len(found.gram_set) == len(found.pairs)
    for pair in found.pairs:
        own = f" {pair.placebo.gram} "
        assert len(own.split()) == len(pair.gram.words)
        assert not any(own in f" {gram.text} " or f" {gram.text} " in own for gram in gram_set.grams)


def test_dropping_leaves_the_rounded_share_out_and_more_leaves_out_the_same_and_more():
    gram_set = GramSet.from_phrases([f"let me {letter}" for letter in LETTERS])
    kept = [set(drop(gram_set, share, seed=3).grams) for share in (0.0, 0.3, 0.5, 0.99)]
    # 26 grams: 0.3 leaves out 7.8, rounded 8; 0.5 leaves out 13; 0.99 would leave out 26, but one stays
    assert [len(each) for each in kept] == [26, 18, 13, 1]
    assert kept[0] > kept[1] > kept[2] > kept[3]
    assert drop(gram_set, 0.3, seed=3).digest == drop(gram_set, 0.3, seed=3).digest
    assert drop(gram_set, 0.3, seed=3).digest != drop(gram_set, 0.3, seed=4).digest
