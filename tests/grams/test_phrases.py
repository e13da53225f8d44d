"""C-value, nested grams and shifted windows on phrases worked out by hand."""

import random
from math import log2

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.phrases import NESTED_SHARE, find_phrases


def candidate(gram: str, count: int, *, problems: int | None = None) -> Candidate:
    frequency = count if problems is None else problems
    return Candidate(gram, len(gram.split()), count, frequency, frequency, (), ())


def found(*counted: tuple[str, int]) -> tuple[dict[str, float], set[str], set[str]]:
    """(gram -> C-value, nested grams, shifted grams)"""
    candidates = [candidate(*each) for each in counted]
    phrases = find_phrases(candidates)
    grams = np.array([each.gram for each in candidates])
    return (
        dict(zip(grams.tolist(), phrases.c_value.tolist(), strict=True)),
        {*grams[phrases.nested]},
        {*grams[phrases.shifted]},
    )


def test_c_value_takes_away_the_mean_use_of_the_longer_grams():
    # "let me try" lies in two longer candidates with 6 and 2 uses: log2 3 (20 - (6 + 2) / 2) = 16 log2 3
    # "let me try a" lies in one with 2 uses: log2 4 (6 - 2) = 8; nothing contains the longest: 2 log2 5
    c_value, _, _ = found(("let me try", 20), ("let me try a", 6), ("let me try a new", 2))
    assert c_value == {"let me try": 16 * log2(3), "let me try a": 8.0, "let me try a new": 2 * log2(5)}


def test_a_gram_that_hardly_occurs_outside_a_longer_one_is_nested():
    # 80 of 100 uses of "is it true" lie in "is it true that", 79 of 100 of "it true that" do not reach the share
    _, nested, _ = found(("is it true", 100), ("it true that", 102), ("is it true that", 80))
    assert NESTED_SHARE == 0.8
    assert nested == {"is it true"}


def test_shifted_windows_of_one_phrase_give_way_to_the_whole_phrase():
    _, nested, shifted = found(("let's try a", 10), ("try a different", 11), ("let's try a different", 10))
    assert nested == {"let's try a", "try a different"}
    assert shifted == set()


def test_only_a_gram_that_stands_itself_covers_another():
    # 4 words cover 3 by 85 %, 5 cover 4 by 85 %, but 5 cover 3 by 72 % only: the three words live outside too.
    _, nested, _ = found(("we can see", 100), ("we can see that", 85), ("we can see that the", 72))
    assert nested == {"we can see that"}


def test_windows_on_a_phrase_longer_than_any_gram_are_one_phrase():
    # "let me try a different approach here" seven times, counted up to five words: three windows, and each pair has
    # 7 + 7 - 7 = 7 common uses by its middle of four words. Equal frequency: the first one stands for all.
    words = ["let me try a different approach here"] * 7
    counted = counts(words, shortest=3, longest=5)
    _, nested, shifted = found(*counted.items())
    standing = set(counted) - nested - shifted
    assert standing == {"let me try a different"}


def test_the_most_widespread_of_tied_windows_stands_for_the_phrase():
    candidates = [
        candidate("a b c", 10, problems=8), candidate("b c", 11, problems=9), candidate("b c d", 10, problems=9)
    ]  # fmt: skip
    phrases = find_phrases(candidates)
    assert phrases.shifted.tolist() == [True, False, False]


def test_windows_that_share_a_middle_without_sharing_uses_are_two_phrases():
    # 10 + 10 - 18 = 2 common uses at least: not one phrase
    _, nested, shifted = found(("so we can", 10), ("we can", 18), ("we can see", 10))
    assert shifted == nested == set()


def test_a_phrase_of_many_windows_keeps_one_in_each_stretch():
    # twelve words w0 … w11 always in a row, n = 3: windows 0 … 9; the first hides 1 and 2, the fourth 4 and 5 …
    counted = counts([" ".join(f"w{letter}" for letter in "abcdefghijkl")] * 5, shortest=2, longest=3)
    _, nested, shifted = found(*counted.items())
    assert set(counted) - nested - shifted == {"wa wb wc", "wd we wf", "wg wh wi", "wj wk wl"}


def test_a_ring_of_windows_ends():
    counted = counts(["again and so " * 20 + "again"], shortest=2, longest=3)
    _, nested, shifted = found(*counted.items())
    assert set(counted) - nested - shifted == {"again and so"}


def counts(texts: list[str], *, shortest: int, longest: int) -> dict[str, int]:
    """The slow count of all n-grams."""
    found: dict[str, int] = {}
    for text in texts:
        words = text.split()
        for n in range(shortest, longest + 1):
            for start in range(len(words) - n + 1):
                gram = " ".join(words[start : start + n])
                found[gram] = found.get(gram, 0) + 1
    return found


TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), max_size=12)


@given(TEXTS, st.integers(0, 2**32))
def test_what_is_left_out_occurs_inside_what_stays_and_the_order_does_not_matter(texts, seed):
    counted = counts(texts, shortest=2, longest=4)
    _, nested, shifted = found(*counted.items())
    shuffled = list(counted.items())
    random.Random(seed).shuffle(shuffled)
    assert found(*shuffled)[1:] == (nested, shifted)
    for gram in nested:
        longer = [other for other in set(counted) - nested if f" {gram} " in f" {other} " and other != gram]
        assert max(counted[other] for other in longer) >= NESTED_SHARE * counted[gram]
    assert (not counted) or set(counted) - nested - shifted


def test_no_candidates_are_no_phrases():
    phrases = find_phrases([])
    assert len(phrases.c_value) == len(phrases.nested) == len(phrases.shifted) == 0
