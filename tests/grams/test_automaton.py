"""Both searches for grams in rows of letters find what trying every gram at every place finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.grams.automaton import Automaton
from hicra_cli.grams.mask_trie import GramTrie

WORDS = ["let", "me", "think", "so", "we"]
grams = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(tuple), min_size=1, unique=True)
rows = st.lists(st.sampled_from([*WORDS, "unknown"]), max_size=30)


def naive(row, sequences):
    return sorted(
        (start, start + len(sequence), index)
        for index, sequence in enumerate(sequences)
        for start in range(len(row))
        if tuple(row[start : start + len(sequence)]) == sequence
    )


def found_by_library(automaton, row):
    letters = np.array([automaton.letters.get(word, 0) for word in row], dtype=automaton.dtype)
    return automaton.find(letters.tobytes())


def found_by_numpy(sequences, row):
    vocabulary = sorted({word for sequence in sequences for word in sequence})
    numbers = {word: number for number, word in enumerate(vocabulary, start=1)}
    trie = GramTrie(sequences, numbers)
    letters = np.array([numbers.get(word, 0) for word in row], dtype=np.int64)
    starts, ends, indices = trie.find(letters)
    unions = [bounds.tolist() for bounds in trie.unions(letters)]
    return sorted(zip(starts.tolist(), ends.tolist(), indices.tolist(), strict=True)), unions


@settings(max_examples=300, deadline=None)
@given(sequences=grams, row=rows)
def test_both_searches_find_every_gram_at_every_place(sequences, row):
    expected = naive(row, sequences)
    assert sorted(found_by_library(Automaton(sequences), row)) == expected
    assert found_by_numpy(sequences, row)[0] == expected


@settings(max_examples=300, deadline=None)
@given(sequences=grams, row=rows)
def test_unions_are_the_letters_of_all_matches(sequences, row):
    _, (starts, ends) = found_by_numpy(sequences, row)
    covered = [place for start, end in zip(starts, ends, strict=True) for place in range(start, end)]
    assert covered == sorted({place for start, end, _ in naive(row, sequences) for place in range(start, end)})


def test_matches_that_touch_without_sharing_a_letter_stay_two():
    # a b | c d: letters 0-2 and 2-4 touch; b c would join them
    assert found_by_numpy([("a", "b"), ("c", "d")], ["a", "b", "c", "d"])[1] == [[0, 2], [2, 4]]
    assert found_by_numpy([("a", "b"), ("c", "d"), ("b", "c")], ["a", "b", "c", "d"])[1] == [[0], [4]]


@pytest.mark.parametrize(("num_words", "width"), [(255, 1), (256, 2), (16_383, 2), (16_384, 4)])
def test_letters_are_as_wide_as_the_number_of_words_needs(num_words, width):
    words = [f"word{number}" for number in range(num_words)]
    automaton = Automaton([(word,) for word in words])
    assert automaton.dtype.itemsize == width
    assert len(set(automaton.letters.values())) == num_words
    # every letter is found once and none in the middle of two others
    assert found_by_library(automaton, words) == [(place, place + 1, place) for place in range(num_words)]


def test_many_grams_with_common_beginnings_are_told_apart():
    # 20 * 20 * 20 sequences: each triple of the row is one of them
    words = [f"w{number}" for number in range(20)]
    sequences = [(a, b, c) for a in words for b in words for c in words]
    row = [words[number * 7 % 20] for number in range(50)]
    found, _ = found_by_numpy(sequences, row)
    assert found == naive(row, sequences)
    assert len(found) == 48
