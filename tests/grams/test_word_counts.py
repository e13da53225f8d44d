"""Counting words, all of them and those inside grams, against the list of words."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hicra_cli.grams import GramSet, TextMatcher
from hicra_cli.grams.word_counts import WordCounter, union
from hicra_cli.text.words import segments

PIECES = st.sampled_from(
    ["let", "me", "see", "Let’s", "see,", "“so", "we”", "(have", "it)", "*so*", "_we_", "f(x)", "3", "$x$", "`so we`",
     "—", "wait…let", "me.", "\n", " ", "so-we", "i.e.", "É", "e\u0301t", "，", "𝔰o", "\\(", "\\)", "\u2028", "so​we"]
)  # fmt: skip
TEXTS = st.lists(st.tuples(PIECES, st.sampled_from([" ", "", "  ", "\n"])).map("".join), max_size=30).map("".join)
GRAMS = GramSet.from_phrases(["let me", "let me see", "so we", "we have it", "let's see so", "see so we", "me see"])


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_words_are_those_of_the_segments(text):
    assert WordCounter().words(text) == sum(map(len, segments(text)))


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_words_inside_grams_are_those_that_end_inside_an_occurrence(text):
    spans = [(each.start, each.end) for each in TextMatcher(GRAMS).occurrences(text)]
    words = [word for segment in segments(text) for word in segment]
    inside = sum(any(start <= word.start and word.end <= end for start, end in spans) for word in words)
    assert WordCounter().words_inside(text, spans) == inside


def test_the_union_of_spans_is_disjoint_and_leaves_neighbours_apart():
    assert list(union([(0, 4), (2, 3), (2, 6), (6, 7), (9, 11)])) == [(0, 6), (6, 7), (9, 11)]
    assert list(union([])) == []


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6)).map(lambda each: (each[0], each[0] + each[1]))))
def test_the_union_covers_what_the_spans_cover(spans):
    covered = {at for start, end in spans for at in range(start, end)}
    found = list(union(sorted(spans)))
    assert {at for start, end in found for at in range(start, end)} == covered
    assert sum(end - start for start, end in found) == len(covered)
