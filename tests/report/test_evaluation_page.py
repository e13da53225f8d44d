"""The page of an evaluation: what it says, that hostile text is inert, and that it stays small enough for a browser."""

import pytest

from hicra_cli.core.records import Move
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.matcher import TextMatcher
from hicra_cli.report import evaluation_page
from hicra_cli.report.evaluation_page import EvaluationPage, page_parts, write_evaluation_page
from hicra_cli.report.evaluation_reading import read_questions, reading_order
from tests.report.graded import sample, summary_of, write_rows
from tests.report.test_html import HOSTILE, Page


def html(tmp_path, rows, **more):
    path = write_rows(tmp_path / "samples.jsonl", rows)
    questions = reading_order(read_questions(path), failures=more.get("failures", False))
    return "".join(page_parts(EvaluationPage("evaluation:mine@v1", summary_of(rows), questions, path, **more)))


def text_of(markup):
    return " ".join(Page(markup).text.split())


ROWS = [
    sample("a", 0, "3/4", "correct"),
    sample("a", 1, "8", detail="another value"),
    sample("b", 0, None, "truncated", text="and so on"),
    sample("b", 1, None, "no_answer", lenient_reward=1.0, text="It is 3/4."),
]


def test_everything_a_reader_needs_is_on_the_page(tmp_path):
    words = text_of(html(tmp_path, ROWS))
    for wanted in (
        "evaluation:mine@v1",
        "2 questions, those whose samples disagree most first",
        "math500 2 2 25.0 [0.0, 100.0]",
        "1/2 math500 a gold 3/4",
        "1 wrong 8 another value",
        "What is a?",
        "sample 0 · truncated · 7 tokenscut at the token limit",
        "right by lenient extraction",
        "It is 3/4.",
        "some samples right 1",
        "none right 1",
        "policy nano",
    ):
        assert wanted in words, wanted


def test_questions_are_told_apart_for_the_filter(tmp_path):
    tags = Page(html(tmp_path, ROWS)).tags
    classes = [each["class"] for tag, each in tags if tag == "details" and "class" in each]
    assert classes == ["solved-none has-cut", "solved-some"]
    ids = [each["id"] for _, each in tags if "id" in each]
    assert len(ids) == len(set(ids))
    assert {each["for"] for tag, each in tags if tag == "label"} <= set(ids)


def test_hostile_text_is_shown_as_text_everywhere(tmp_path):
    row = sample(HOSTILE, 0, HOSTILE, HOSTILE, detail=HOSTILE, gold=HOSTILE, prompt=HOSTILE, text=HOSTILE)
    raw = html(tmp_path, [row | {"bench": HOSTILE, "finish_reason": HOSTILE}], warnings=[HOSTILE])
    for forbidden in ("<script", "<img", "\x1b", "\u202e"):
        assert forbidden not in raw
    page = Page(raw)
    assert "</pre></script><script>alert(1)</script>" in page.text
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("href", "src")]
    policy = next(each for _, each in page.tags if "http-equiv" in each)["content"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_grams_are_marked_at_both_ends_of_a_long_response(tmp_path):
    long = f"So we have it. {'x ' * 20_000} Wait, let me check 3."
    matcher = TextMatcher(GramSet.from_phrases(["so we have", "wait let me check"], [Move.DEDUCTION, Move.BACKTRACING]))
    raw = html(tmp_path, [sample("a", 0, "1", text=long)], matcher=matcher)
    marks = [each for tag, each in Page(raw).tags if tag == "mark"]
    assert [each["class"] for each in marks] == ["gram deduction", "gram backtracing"]
    # 7,000 characters of the text are shown
    assert f"{len(long) - 7000:,} characters are not shown" in text_of(raw)


def test_a_thousand_samples_of_a_question_show_one_response_of_every_answer(tmp_path):
    rows = [sample("a", at, "8", text="the same") for at in range(1000)] + [sample("a", 1000, "9", text="the other")]
    words = text_of(html(tmp_path, rows))
    assert (words.count("the same"), words.count("the other")) == (7, 1)
    assert "993 further responses are in samples.jsonl" in words


def test_a_full_page_keeps_verdicts_and_leaves_texts_out(tmp_path, monkeypatch):
    rows = [sample(f"q{at}", 0, str(at), text=f"response {at}") for at in range(4)]
    monkeypatch.setattr(evaluation_page, "PAGE_CHARACTERS", 15)
    monkeypatch.setattr(evaluation_page, "QUESTIONS_SHOWN", 3)
    words = text_of(html(tmp_path, rows))
    assert [f"response {at}" in words for at in range(4)] == [True, True, False, False]
    assert words.count("The page is full") == 1
    assert "1 further questions are not on this page" in words


@pytest.mark.parametrize("failures", [False, True])
def test_an_evaluation_without_failures_is_a_page_too(tmp_path, failures):
    words = text_of(html(tmp_path, [sample("a", 0, "3/4", "correct")], failures=failures))
    assert ("0 questions with a wrong sample" if failures else "1 question, those whose samples") in words


def test_the_file_is_written_whole_and_the_same_each_time(tmp_path):
    path = write_rows(tmp_path / "samples.jsonl", [*ROWS, sample("c", 0, "\ud800", text="half \ud83d")])
    page = EvaluationPage("evaluation:mine@v1", summary_of(ROWS), read_questions(path), path)
    for name in ("one.html", "two.html"):
        write_evaluation_page(tmp_path / name, page)
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["one.html", "samples.jsonl", "two.html"]
