"""What is a word, what a gram may cross, and that hostile text costs no more than plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hicra_cli.core.errors import DataError
from hicra_cli.text.words import Word, end_of_complete_words, normalise_gram, segments


def words_of(text):
    return [" ".join(word.normalised for word in segment) for segment in segments(text)]


def test_words_are_lower_case_without_edge_punctuation_and_keep_their_place():
    # "“Wait, let me”": the quotes are characters 0 and 13, the comma is 5
    assert segments("“Wait, let me”") == [[Word("wait", 1, 5), Word("let", 7, 10), Word("me", 11, 13)]]


def test_positions_refer_to_the_original_text_where_nfkc_changes_lengths():
    # "ﬁnd" is three characters and four after NFKC; the decomposed é is two characters and one after NFKC
    assert segments("ﬁnd cafe\u0301 now") == [[Word("find", 0, 3), Word("café", 4, 9), Word("now", 10, 13)]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Let’s see, that's not right", ["let's see that's not right"]),
        ("wait — that's well‑known", ["wait that's well-known"]),
        ("wait—let me,but", ["wait let me but"]),
        ('**Let\'s** _try_ (again) [now] "please"', ["let's try again now please"]),
        ("the students' work", ["the students work"]),
        ("i.e. we need w.l.o.g. one", ["i.e we need w.l.o.g one"]),
        ("नमस्ते दुनिया", ["नमस्ते दुनिया"]),
        ("让我 想想", ["让我 想想"]),
        ("let me\u00a0think\tnow", ["let me think now"]),
    ],
)
def test_a_gram_goes_on_across_commas_dashes_quotes_and_emphasis(text, expected):
    assert words_of(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "left. right",
        "left! right",
        "left? right",
        "left… right",
        "left... right",
        "left.right",
        "left: right",
        "left; right",
        "left\nright",
        "left\u2028right",
        "left\r\nright",
        "left 3 right",
        "left 3.5 right",
        "left x2 right",
        "left ² right",
        "left = right",
        "left - right",
        "left * right",
        "left/right",
        "left(right)",
        "left (*) right",
        "left 🤔 right",
        "left\ufffdright",
        "left\ud800 right",
        "left\x00right",
        "left </think> right",
        "left $x$ right",
        "left $x + let me think$ right",
        "left $$x\ny$$ right",
        "left \\(x\\) right",
        "left \\[x \\\\[2pt] y\\] right",
        "left \\begin{align*} x \\begin{cases} y \\end{cases} z \\end{align*} right",
        "left \\quad right",
        "left \\boxed{7} right",
        "left \\$5 right",
        "left `let me think` right",
        "left ```python let me think``` right",
        "left ``a ` b`` right",
    ],
)
def test_everything_else_breaks_a_gram(text):
    joined = [segment for segment in words_of(text) if segment not in ("think", "x")]
    assert joined == ["left", "right"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it costs $ but let me think", ["it costs", "but let me think"]),
        ("it costs $x but let me think\n\nand $y$ then", ["it costs", "x but let me think", "and", "then"]),
        ("she earns $10 per hour so let me see about $20 more", ["she earns", "per hour so let me see about", "more"]),
        ("he pays 5$ and let me see 3$ then", ["he pays", "and let me see", "then"]),
        ("so \\( let me think", ["so", "let me think"]),
        ("so \\( let me think \\(x\\) then", ["so", "let me think", "then"]),
        ("so \\begin{align} let me think", ["so", "align", "let me think"]),
        ("so ``` let me think", ["so", "let me think"]),
        ("so ` let me think\nthen `x` now", ["so", "let me think", "then", "now"]),
        ("```\nlet me\n```python\nx\n```\nthen", ["let me", "then"]),
        ("so \\) let me think \\end{align}", ["so", "let me think", "align"]),
    ],
)
def test_an_opener_without_closer_swallows_nothing(text, expected):
    assert words_of(text) == expected


def test_environments_of_prose_are_prose():
    text = "\\begin{proof} let us consider \\begin{align} x \\end{align} we conclude \\end{proof}"
    assert "let us consider" in words_of(text)
    assert "we conclude" in words_of(text)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("Let's think", ("let's", "think")),
        ("  LET’S   think ... ", ("let's", "think")),
        ("wait, let me", ("wait", "let", "me")),
        ("i.e. we need", ("i.e", "we", "need")),
    ],
)
def test_a_gram_is_normalised_as_text_is(phrase, expected):
    assert normalise_gram(phrase) == expected


@pytest.mark.parametrize("phrase", ["", " ", "...", "$x$", "42"])
def test_a_gram_without_words_is_refused(phrase):
    with pytest.raises(DataError, match="no word"):
        normalise_gram(phrase)


@pytest.mark.parametrize(
    "phrase", ["let me. think", "let 3 be", "3 numbers left", "let\nme", "let $x$ be", "$x$ let me", "f(x) is", "a = b"]
)
def test_a_gram_that_can_never_occur_is_refused(phrase):
    with pytest.raises(DataError, match="can never occur"):
        normalise_gram(phrase)


def test_a_cut_text_ends_before_what_its_last_word_could_go_on_with():
    assert end_of_complete_words("let's") == 5
    assert end_of_complete_words("let'") == 3
    assert end_of_complete_words("let\ufffd\ufffd") == 3
    assert end_of_complete_words("let ") == 4


text_like = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="aB é’'-.,:*_()$\\[]{}`\n3=—🤔\u0301", max_size=60),
    st.lists(
        st.sampled_from(
            ["let", "me", " ", "\n", "$", "$$", "\\(", "\\)", "\\begin{align}", "\\end{align}", "`", "```"]
        ),
        max_size=25,
    ).map("".join),
)


@given(text_like)
def test_every_word_is_its_own_normal_form_and_lies_in_order_in_the_text(text):
    position = 0
    for segment in segments(text):
        for word in segment:
            assert position <= word.start < word.end <= len(text)
            assert segments(text[word.start : word.end]) == [[Word(word.normalised, 0, word.end - word.start)]]
            assert normalise_gram(word.normalised) == (word.normalised,)
            position = word.end


@given(st.lists(text_like, max_size=4))
def test_paragraphs_of_plain_text_are_read_one_by_one(parts):
    plain = [part.replace("\\", "").replace("`", "").replace("$", "") for part in parts]
    assert words_of("\n\n".join(plain)) == [line for part in plain for line in words_of(part)]


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "'",
        "a'",
        "a.",
        "$",
        "$a",
        "\\(",
        "\\[a",
        "\\begin{a}",
        "\\end{a",
        "`",
        "``` ",
        "```a\n",
        "\n ",
        "\n\n",
        "*",
        "a-",
        "\x00",
    ],
)
def test_long_text_of_one_kind_is_read_in_linear_time(unit):
    # no time is asserted: quadratic work on 200,000 characters would run into the test's own time limit
    for text in (unit * (200_000 // len(unit)), unit * 50_000 + " let me think"):
        segments(text)


def test_megabytes_of_marks_after_openers_stay_linear():
    segments(" ".join("`" * (1 + size % 50) for size in range(10_000)))
    segments("$a " * 100_000 + "$")
    segments("\\begin{a}" * 50_000 + "\\end{a}" * 60_000)
