"""What follows a strategic gram."""

from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import TextMatcher
from hicra_cli.report.following import PROCEDURE, following, items

MATCHER = TextMatcher(GramSet.from_phrases(["let me think", "but that is wrong", "me think again"]))


def outcomes(text: str, length: int = 3):
    return following(text, MATCHER.counted(text), MATCHER.occurrences(text), length=length)


def test_numbers_and_formulas_between_words_are_one_item():
    symbols = [item.symbol for item in items("so 7 * 8 = 56, and $x^2$ is Even.")]
    assert symbols == ["so", PROCEDURE, "and", PROCEDURE, "is", "even"]


def test_the_next_words_also_across_a_sentence_end():
    assert outcomes("Let me think. The sum is small") == [("the", "sum", "is")]


def test_words_inside_other_grams_are_passed_over():
    # after the first gram: "now", then the second gram is skipped, then "add 3 and"
    text = "let me think now, but that is wrong. add 3 and go on"
    assert outcomes(text) == [("now", "add", PROCEDURE), ("add", PROCEDURE, "and")]


def test_overlapping_grams_cover_together():
    # "let me think" is counted; "again" lies in the overlapping "me think again" and is no procedure
    assert outcomes("let me think again about the sum")[0] == ("about", "the", "sum")


def test_too_few_words_left_is_incomplete():
    assert outcomes("and let me think about it") == [None]
    assert outcomes("and let me think about it", length=2) == [("about", "it")]
    assert outcomes("no gram here") == []
