"""ROUGE-L by hand and against the definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.metrics.rouge import longest_common_subsequence, rouge_l


def test_shared_words_in_order_by_hand():
    # "the cat sat" and "the fat cat": the, cat in order: 2 of 3 and 2 of 3
    assert rouge_l(["the", "cat", "sat"], ["the", "fat", "cat"]) == pytest.approx(2 / 3)
    # 1 of 1 and 1 of 3: F1 = 2 * 1 * (1/3) / (1 + 1/3) = 1/2
    assert rouge_l(["cat"], ["the", "fat", "cat"]) == 0.5
    # order counts: only one of the two can be kept
    assert longest_common_subsequence(["b", "a"], ["a", "b"]) == 1


def test_nothing_shares_all_with_nothing_and_nothing_with_something():
    assert (rouge_l([], []), rouge_l([], ["a"]), rouge_l(["a"], [])) == (1.0, 0.0, 0.0)


WORDS = st.lists(st.sampled_from("abc"), max_size=9)


@given(WORDS, WORDS)
def test_bits_count_what_the_table_counts(one, other):
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for row, word in enumerate(one):
        for column, against in enumerate(other):
            table[row + 1][column + 1] = (
                table[row][column] + 1 if word == against else max(table[row][column + 1], table[row + 1][column])
            )
    assert longest_common_subsequence(one, other) == table[-1][-1]
