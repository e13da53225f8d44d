"""Scanning many texts at once must read exactly the words and breaks of `segments`."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hicra_cli.text.scan import BREAK, WordScanner
from hicra_cli.text.words import end_of_complete_words, segments


def scanned(texts, *, truncated=(), scanner=None):
    """The runs of words of each text."""
    found = (scanner or WordScanner()).scan(texts, truncated=truncated)
    runs: list[list[list[str]]] = []
    start = 0
    for end in found.ends.tolist():
        runs.append([[]])
        for number in found.ids[start:end].tolist():
            if number == BREAK:
                runs[-1].append([])
            else:
                runs[-1][-1].append(found.words[number])
        assert found.ids[end - 1] == BREAK
        runs[-1] = [run for run in runs[-1] if run]
        start = end
    return runs


def expected(text, *, truncated=False):
    complete = end_of_complete_words(text) if truncated else len(text) + 1
    runs = [[word.normalised for word in run if word.end < complete] for run in segments(text)]
    return [run for run in runs if run]


def test_words_run_on_over_blanks_and_commas_and_break_at_the_rest():
    text = "Let me,  think. Use $x+1$ here\nNow f(x) `code` don't  stop"
    assert scanned([text]) == [
        [["let", "me", "think"], ["use"], ["here"], ["now", "f"], ["x"], ["don't", "stop"]],
    ]


def test_nothing_is_read_from_no_text_and_from_empty_texts():
    assert scanned([]) == []
    assert scanned(["", " \n", "$x$"]) == [[], [], []]


def test_only_the_word_that_the_end_may_have_cut_is_left_out():
    texts = ["let me che", "let me che-", "let me check.", "let me check ", "let me $x$", "let me f(x", "let me a.b"]
    assert scanned(texts, truncated=[True] * len(texts)) == [
        *([["let", "me"]], [["let", "me"]], [["let", "me", "check"]], [["let", "me", "check"]], [["let", "me"]]),
        *([["let", "me", "f"]], [["let", "me"]]),
    ]
    assert scanned(["let me che", "let me che"], truncated=[False, True]) == [[["let", "me", "che"]], [["let", "me"]]]


PIECES = st.sampled_from(
    [
        *("let's", "Me", "think,", "a.b", "f(x)", "x_1", "*so*", "1.5", "ﬁne", "İ", "é", "e\u0301", "’tis", "“we”"),
        *("$", "$$", "\\(", "\\)", "`", "```", "\\begin{a}", "\\end{a}", "well-known", ".", "?", "-", "…", "😀"),
        *("\n", "\r\n", "\n\n", " ", "\t", "\xa0", "\u2028", "\x85", "\x1c", "\x1f", "\u3000", "\x00"),
        *("\ud800", "\ufffd"),
    ]
)
TEXTS = st.one_of(st.lists(PIECES, max_size=14).map("".join), st.lists(PIECES, max_size=14).map(" ".join), st.text())


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=4))
@example([("a\ud800 b", True), ("\u200a", False)])
def test_scanning_equals_segments(items):
    texts, truncated = [text for text, _ in items], [cut for _, cut in items]
    assert scanned(texts, truncated=truncated) == [expected(text, truncated=cut) for text, cut in items]


@settings(deadline=None)
@given(st.lists(st.lists(TEXTS, max_size=3), max_size=4))
def test_what_a_scanner_remembers_changes_nothing(batches):
    scanner = WordScanner()
    for texts in batches:
        assert scanned(texts, scanner=scanner) == scanned(texts)


def test_every_blank_of_python_parts_words():
    blanks = [chr(code) for code in range(0x3001) if chr(code).isspace()]
    texts = [f"one{blank}two" for blank in blanks]
    assert scanned(texts) == [expected(text) for text in texts]
    assert len(blanks) > 20


@pytest.mark.slow
def test_real_rollouts_are_read_as_segments_reads_them(rollouts_dir):
    import gzip
    import json

    for path in sorted(rollouts_dir.glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as stream:
            texts = [json.loads(line)["response"] for line in stream][:400]
        assert scanned(texts, truncated=[True] * len(texts)) == [expected(text, truncated=True) for text in texts]
