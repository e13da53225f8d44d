"""The parts of the fast mask: growing containers, index arithmetic, maths and code in bytes, memory that is emptied."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.grams import mask_runs
from hicra_cli.grams.mask_batch import BatchMatcher
from hicra_cli.grams.mask_maths import SEPARATOR, left_out_bytes
from hicra_cli.grams.mask_ranges import group_numbers, joined_ranges
from hicra_cli.grams.mask_store import GrowingArray, NumberTable
from hicra_cli.text.tokens import TokenBytes
from hicra_cli.text.words import left_out
from tests.grams.test_matcher_reference import GRAM_SET, GRAMS, byte_level

PIECES = ["$", "$", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\", "\\\\", "\\frac", "`", "``", "```", "```py", "\n",
          "\n", " ", "\t", "\u00a0", "\u2003", "x", "é", "让", "5", "٣", "²", "_", ",", "\\begin{align}",
          "\\end{align}", "\\begin{proof}", "\\end{", "\\begin{a", "\r", "{", "}", "\x1f", "\x85"]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)


def inside(spans):
    return {place for start, end in spans for place in range(start, end)}


@settings(max_examples=1000, deadline=None)
@given(batch=st.lists(texts, min_size=1, max_size=4))
def test_maths_and_code_of_many_texts_are_those_of_each(batch):
    encoded = [text.encode() for text in batch]
    cuts = np.cumsum([0, *(len(data) + len(SEPARATOR) for data in encoded)])
    starts, ends = left_out_bytes(b"".join(data + SEPARATOR for data in encoded), cuts)
    expected = set()
    for text, offset in zip(batch, cuts[:-1].tolist(), strict=True):
        sizes = [0, *np.cumsum([len(character.encode()) for character in text]).tolist()]
        expected |= inside((offset + sizes[start], offset + sizes[end]) for start, end in left_out(text))
    assert inside(zip(starts.tolist(), ends.tolist(), strict=True)) == expected
    assert (np.diff(starts) >= 0).all()


def test_blank_lines_with_long_indents_close_a_dollar():
    # the nine blanks are more than what is looked at byte by byte
    for indent in (0, 1, 8, 9, 30):
        text = "$a\n" + indent * " " + "\nb$ c"
        data = text.encode() + SEPARATOR
        starts, _ = left_out_bytes(data, np.array([0, len(data)]))
        assert len(starts) == len(left_out(text)) == 0
    assert left_out("$a\n         b$ c") == [(0, 14)]


@settings(max_examples=200, deadline=None)
@given(numbers=st.dictionaries(st.integers(0, 2**63 - 1), st.integers(0, 2**40), max_size=200), data=st.data())
def test_a_number_table_is_a_dictionary(numbers, data):
    table = NumberTable()
    for key, number in numbers.items():
        table.add(key, number)
    asked = data.draw(st.lists(st.one_of(st.integers(0, 2**63 - 1), st.sampled_from([0, *numbers])), max_size=50))
    expected = [numbers.get(key, -1) for key in asked]
    assert table.get_all(np.array(asked, dtype=np.int64)).tolist() == expected
    assert [table.get(key) for key in asked] == expected
    assert len(table) == len(numbers)


def test_a_number_table_finds_keys_after_it_has_grown():
    table = NumberTable()
    for key in range(5000):
        table.add(key << 20, key)
    assert table.get_all(np.arange(6000) << 20).tolist() == [*range(5000), *[-1] * 1000]


def test_a_growing_array_keeps_rows_and_values():
    array = GrowingArray(np.int64, row=(2,))
    for number in range(3000):
        array.extend([(number, -number)])
    array.extend([])
    assert array.used.tolist() == [[number, -number] for number in range(3000)]


@settings(max_examples=200, deadline=None)
@given(groups=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4)), max_size=20))
def test_ranges_and_groups_lie_one_after_the_other(groups):
    starts, lengths = np.array(groups, dtype=np.int64).reshape(-1, 2).T
    assert joined_ranges(starts, lengths).tolist() == [start + at for start, length in groups for at in range(length)]
    assert group_numbers(lengths).tolist() == [group for group, (_, length) in enumerate(groups) for _ in range(length)]


def unions(matcher, rollouts):
    found = [matcher.unions(batch) for batch in matcher.batches(rollouts, None)]
    return [(hits.first_tokens.tolist(), hits.last_tokens.tolist()) for hits in found]


@pytest.mark.parametrize(("name", "value"), [("_LARGEST", 5), ("_LONGEST", 1), ("_NODE_BITS", 9)])
def test_what_is_remembered_and_what_is_forgotten_makes_no_difference(monkeypatch, name, value):
    tokenizer = byte_level()
    texts = [
        "so let me think",
        "wait, let me (think)",
        "let's try a thing",
        "that’s not right",
        "let me thinkthinkthink",
    ]
    rollouts = [tokenizer.encode(text).ids for text in texts]
    expected = unions(BatchMatcher(GRAMS, TokenBytes(tokenizer)), rollouts)
    assert expected[0][0]
    monkeypatch.setattr(mask_runs, name, value)
    small = BatchMatcher([gram.words for gram in GRAM_SET.grams], TokenBytes(tokenizer))
    assert [unions(small, rollouts) for _ in range(3)] == [expected] * 3
