"""The page of a gram-set: whole, inert against hostile text, and about what was given."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree
from typing import Any

import pytest

from hicra_cli.core.records import FinishReason, Move, Outcome
from hicra_cli.grams.audit import estimate_audit
from hicra_cli.grams.audit_draw import AuditItem
from hicra_cli.grams.gram_set import GramSet
from hicra_cli.grams.highlights import gram_spans
from hicra_cli.grams.rollout_file import RolloutRow
from hicra_cli.report.gram_histogram import histogram
from hicra_cli.report.gram_review import (
    Checkpoint,
    CoverageFacts,
    GramFacts,
    GramReview,
    facts_of_history,
    render_gram_review,
    sample_rollouts,
    write_gram_review,
)
from tests.report.test_html import HOSTILE, Page

GRAM_SET = GramSet.from_phrases(
    ["let's try a different", "so we have", "wait let me check"], [Move.BRANCHING, Move.DEDUCTION, Move.BACKTRACING]
)


def facts(gram: str, move: str | None = "branching", **more: Any) -> GramFacts:
    filled: dict[str, Any] = {
        "by": "rule",
        "rule": "accepted",
        "reason": "a verb of trying",
        "count": 41,
        "document_frequency": 12,
    }
    contexts = (f"Hmm, {gram.capitalize()} way then.",)
    return GramFacts(gram, move, **(filled | {"contexts": contexts, "confidence": 0.8, "judge": "lexicon"} | more))


def review(text="so we have 3", **more: Any) -> GramReview:
    rows = [
        RolloutRow(f"p{at}", 0, f"{text} So we have it. Wait, let me check.", problem=text, outcome=Outcome.CORRECT)
        for at in range(3)
    ]
    audit_items = [AuditItem("so we have", True, 9, 5, 9.0), AuditItem("the number of", False, 9, 5, 9.0)]
    filled: dict[str, Any] = {
        "accepted": [
            facts("let's try a different", reason=text),
            facts("so we have", "deduction", contexts=(text,), cluster=3),
            facts("wait let me check", "backtracing", by="person", rule="decision", count=7),
            facts("in other words we", None, confidence=None, by="import:lists/mine.txt", judge="", contexts=()),
        ],
        "rejected": [facts("the number of", None, rule="not_strategic"), facts("so it is", rule="confidence")],
        "missed": [facts("let's try another", by="rule", rule="missed")],
        "coverage": CoverageFacts(
            "tokens", 0.031, (0.0, 0.02, 0.05, 0.31), {"branching": 0.02, "deduction": 0.011},
            (Checkpoint("nano", 0, 2, 0.01), Checkpoint("nano", 40, 2, 0.05)), ("in other words we",),
        ),
        "audit": estimate_audit(audit_items, {"so we have": True, "the number of": False}),
        "samples": sample_rollouts(GRAM_SET, rows, size=2, seed=0),
        "sources": ["annotations: annotations:default@v1"],
        "warnings": ["planning tokens are few"],
    }  # fmt: skip
    return GramReview("gram-set:default", **(filled | more))


def test_everything_given_is_on_the_page():
    words = " ".join(Page(render_gram_review(review())).text.split())
    for wanted in (
        "4 strategic grams: 1 deduction, 1 branching, 1 backtracing, 1 no move given",
        "Considered and rejected: 2.",
        "Decided by rule (4), person (1), import:lists/mine.txt (1)",
        "of all tokens plan 3.10 % within 0.5 to 15 %",
        "in the median rollout 3.50 % of 4 rollouts",
        "of rollouts have none 25.0 % 1 rollout",
        "Grams of the set (precision) 1 1 100.0 % [20.7, 100.0]",
        "86 % of strategic grams and 12 % of random n-grams",
        "Recall, weighted by uses",
        "1 gram never occurs in these rollouts",
        "nano 40 2 5.00",
        "let's try another",
        "not strategic 1 · confidence 1",
        "planning tokens are few",
        "annotations: annotations:default@v1",
    ):
        assert wanted in words, wanted


def test_the_least_a_page_can_show():
    page = Page(render_gram_review(GramReview("gram-set:mine", [facts("so we have", None, contexts=(), reason="")])))
    assert "1 strategic gram." in " ".join(page.text.split())
    assert not {"coverage", "audit", "missed", "rejected", "samples"} & {dict(each).get("id") for _, each in page.tags}


def test_only_the_pages_own_script_may_run_and_nothing_is_fetched():
    for text in (render_gram_review(review()), render_gram_review(review(HOSTILE))):
        page = Page(text)
        policy = next(each for tag, each in page.tags if "http-equiv" in each)["content"]
        scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert len(scripts) == 1
        digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
        assert policy == (f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'")
        assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe", "object", "embed", "base", "form"}
        for _, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on")]
            assert "src" not in attributes
            assert (attributes.get("href") or "#").startswith("#")


def test_hostile_text_is_shown_as_text():
    raw = render_gram_review(review(HOSTILE))
    assert raw.count("<script") == 1
    assert "<img" not in raw
    assert "\x1b" not in raw
    assert "\u202e" not in raw
    assert "<script>alert(1)</script><img src=x onerror=alert(1)> ␛[31m ⟨U+202E⟩ {{ 7*7 }}" in Page(raw).text


def test_ids_are_unique_and_links_and_labels_lead_somewhere():
    tags = Page(render_gram_review(review())).tags
    ids = [each["id"] for _, each in tags if "id" in each]
    assert len(ids) == len(set(ids))
    assert {str(each["href"])[1:] for _, each in tags if "href" in each} <= set(ids)
    assert {each["for"] for tag, each in tags if tag == "label"} <= set(ids)
    assert {each["data-search"] for _, each in tags if "data-search" in each} <= set(ids)


def test_every_row_has_a_cell_for_every_column():
    raw = render_gram_review(review())
    for table in re.findall(r'<table class="figures grams sortable".*?</table>', raw, re.DOTALL):
        columns = table.partition("</thead>")[0].count("<th ")
        for row in re.findall(r"<tr class=.*?</tr>", table, re.DOTALL):
            assert len(re.findall(r"<(?:td|th) ", row)) == columns


def test_equal_reviews_are_equal_bytes(tmp_path):
    for name in ("a.html", "b.html"):
        write_gram_review(tmp_path / name, review())
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_lone_surrogates_do_not_stop_the_page(tmp_path):
    write_gram_review(tmp_path / "a.html", review("half \ud83d a pair"))
    assert "half ⟨U+D83D⟩ a pair" in (tmp_path / "a.html").read_text()


def test_a_line_of_history_becomes_facts():
    row = {
        "gram": "so we have", "verdict": "reject", "move": None, "by": "rule", "rule": "confidence", "reason": "low",
        "annotator": "gemini", "model": "m", "confidence": 0.2, "document_frequency": None, "count": 4,
    }  # fmt: skip
    assert facts_of_history(row, ["c"], cluster=2) == GramFacts(
        "so we have", None, "rule", "confidence", "low", 4, 0, "gemini m", 0.2, 2, None, ("c",)
    )


def rollouts(number):
    return [
        RolloutRow(f"p{at % 10}", at // 10, f"So we have {at}. So we", policy="nano", step=at % 3)
        for at in range(number)
    ]


def test_the_sample_does_not_depend_on_the_order_and_holds_no_rollout_twice():
    rows = rollouts(200)
    drawn = sample_rollouts(GRAM_SET, rows, size=7, seed=1)
    assert drawn == sample_rollouts(GRAM_SET, reversed(rows), size=7, seed=1)
    assert len({(each.prompt_id, each.sample) for each in drawn}) == 7
    assert drawn != sample_rollouts(GRAM_SET, rows, size=7, seed=2)
    assert len(sample_rollouts(GRAM_SET, rows[:3], size=7, seed=1)) == 3
    assert sample_rollouts(GRAM_SET, [], size=7, seed=1) == []
    assert sample_rollouts(GRAM_SET, rows, size=0, seed=1) == []


def test_the_share_of_characters_is_of_those_that_are_no_blanks():
    # "So we have" has 8 letters of 8 + 1 ("3") + 1 (".") = 10
    assert sample_rollouts(GRAM_SET, [RolloutRow("p", 0, "So we have 3.")], size=1, seed=0)[0].planning_fraction == 0.8
    cut = RolloutRow("p", 0, "3. So we have", finish_reason=FinishReason.LENGTH)
    assert sample_rollouts(GRAM_SET, [cut], size=1, seed=0)[0].marks == ()


@pytest.mark.parametrize("shares", [[0.0], [0.02] * 50, [0.0, 1.0], [at / 1000 for at in range(300)]])
def test_the_histogram_is_well_formed_and_counts_every_rollout(shares):
    drawing = xml.etree.ElementTree.fromstring(histogram(shares, mean=sum(shares) / len(shares), unit="tokens"))
    bars = drawing.findall(".//{*}rect/{*}title")
    assert sum(int((each.text or "").split()[0]) for each in bars) == len(shares)


@pytest.mark.parametrize(
    ("context", "gram", "found"),
    [
        ("Hmm, let me check: 3", "let me check", ["let me check"]),
        ("LET **ME**, check! let me. check", "let me check", ["LET **ME**, check"]),
        ("Let’s try it", "let's try it", ["Let’s try it"]),
        ("let me let's try", "me let", []),
        ("outlet me check", "let me check", []),
        ("let me checked", "let me check", []),
        ("a well‑known way", "a well-known way", ["a well‑known way"]),
        ("costs $3 and so we have $4", "so we have", ["so we have"]),
    ],
)
def test_a_gram_is_found_in_its_context_as_it_is_written(context, gram, found):
    assert [context[start:end] for start, end in gram_spans(context, gram)] == found


@pytest.mark.skipif(shutil.which("chromium") is None, reason="NOT RUN: no chromium here")
def test_a_browser_sorts_and_searches_and_filters(tmp_path):
    write_gram_review(tmp_path / "review.html", review())
    probe = """
      const out = {};
      const grams = () => [...document.querySelectorAll('#accepted tbody tr')]
        .filter((row) => getComputedStyle(row).display !== 'none').map((row) => row.children[0].dataset.key);
      const button = (word) => [...document.querySelectorAll('#accepted thead button')]
        .find((each) => each.textContent === word);
      button('uses').click(); out.uses = grams();
      button('uses').click(); out.usesUp = grams();
      button('confidence').click(); out.confidence = grams();
      button('gram').click(); out.gram = grams();
      const input = document.querySelector('input[type=search]');
      input.value = 'WE '; input.dispatchEvent(new Event('input')); out.search = grams();
      input.value = ''; input.dispatchEvent(new Event('input'));
      document.getElementById('only-none').checked = true; out.none = grams();
      document.title = JSON.stringify(out);
    """
    # The page's policy forbids the probe, so it is allowed by its own hash in a copy.
    digest = base64.b64encode(hashlib.sha256(probe.encode()).digest()).decode()
    text = (tmp_path / "review.html").read_text()
    text = text.replace("script-src '", f"script-src 'sha256-{digest}' '").replace(
        "</body>", f"<script>{probe}</script></body>"
    )
    (tmp_path / "probed.html").write_text(text)
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=2000", "--dump-dom", (tmp_path / "probed.html").as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title is not None, done.stderr
    shown = json.loads(title[1].replace("&amp;", "&"))
    many, few, third, none = "let's try a different", "wait let me check", "so we have", "in other words we"
    assert shown["uses"] == [many, third, none, few]
    assert shown["usesUp"] == [few, many, third, none]
    assert shown["confidence"][-1] == none  # what has no value stays at the end
    assert shown["gram"] == [none, many, third, few]
    assert shown["search"] == [none, third]
    assert shown["none"] == [none]
