"""The page needs nothing else, is well-formed, and hostile text in it is inert."""

import json
import math
from html.parser import HTMLParser

import pytest

from hicra_cli.report.diagnosis import to_json
from hicra_cli.report.html import Change, change, render
from hicra_cli.report.plots import plots
from tests.report.example import example

VOID = {"meta", "br", "link", "img", "input", "hr"}
HOSTILE = (
    "let's try a different approach </pre></script><script>alert(1)</script><img src=x onerror=alert(1)> "
    "\x1b[31m \u202e {{ 7*7 }} <!-- ]]> & \" ' javascript:alert(1) http://example.org/"
)


class Page(HTMLParser):
    """Collects tags, attributes and visible text, and refuses tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def page(diagnosis) -> Page:
    return Page(render(diagnosis, plots(diagnosis)))


def test_nothing_is_fetched_and_nothing_runs():
    for diagnosis in (example(), example(text=HOSTILE)):
        shown = page(diagnosis)
        assert {tag for tag, _ in shown.tags} & {
            "script",
            "link",
            "img",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
        } == set()
        for tag, attributes in shown.tags:
            assert not [name for name in attributes if name.startswith("on")]
            for name in ("href", "src", "srcset", "xlink:href", "action", "data", "poster", "background"):
                assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
            assert "url(" not in (attributes.get("style") or "")
        css = "".join(shown.words[: shown.words.index(next(each for each in shown.words if "--planning" in each)) + 1])
        assert "url(" not in css
        assert "@import" not in css


def test_the_policy_of_the_page_forbids_everything_but_its_own_style():
    policy = next(attributes for tag, attributes in page(example()).tags if "http-equiv" in attributes)
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_hostile_text_is_shown_as_text():
    raw = render(example(text=HOSTILE), plots(example(text=HOSTILE)))
    assert "<script" not in raw
    assert "<img" not in raw
    assert "\x1b" not in raw
    assert "\u202e" not in raw
    shown = Page(raw)
    assert (
        "</pre></script><script>alert(1)</script><img src=x onerror=alert(1)> ␛[31m ⟨U+202E⟩ {{ 7*7 }} <!--"
        in shown.text
    )
    assert "49" not in shown.text.split("{{ 7*7 }}")[1][:10]


def test_planning_stretches_are_marked_with_their_move():
    marks = [attributes for tag, attributes in page(example()).tags if tag == "mark"]
    assert {each["class"] for each in marks} == {"gram deduction", "gram backtracing", "gram branching"}
    assert marks[0]["title"] == "deduction: let's start with the larger"


def test_ids_are_unique_and_links_lead_somewhere():
    tags = page(example()).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(attributes["href"])[1:] for _, attributes in tags if "href" in attributes} <= set(ids)
    for _, attributes in tags:
        assert set((attributes.get("aria-labelledby") or "").split()) <= set(ids)


def test_every_section_of_the_paper_is_there_and_the_page_is_small():
    diagnosis = example(steps=500, labels=("grpo", "hicra", "entropy-reg"))
    text = render(diagnosis, plots(diagnosis))
    assert len(text.encode()) < 1_000_000
    words = Page(text).text
    for term in (
        "Relative perplexity",
        "Token entropy",
        "Semantic entropy",
        "Conditional entropy",
        "Response length",
        "95 % interval",
        "support is the gram-set's 57 grams",
        "no: beyond 1e-06",
        "gram-set:default@v1",
    ):
        assert term in words, term


@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_runs_and_a_single_run_can_be_shown(steps):
    diagnosis = example(steps=steps, labels=("hicra",))
    assert "hicra" in page(diagnosis).text


def test_bits_are_nats_divided_by_ln_2():
    # the example's plug-in entropy is around 2.1 nats = 3.0 bits at first
    nats = change(example().runs[0], "hicra/semantic_entropy_nats").first
    words = page(example(unit="bits")).text
    assert f"{nats / math.log(2):.2f}" in words
    assert "shown in bits" in words


def test_first_and_last_are_means_over_a_tenth_of_the_run():
    run = example(steps=40).runs[0]
    values = run.series["reward/accuracy"]
    ends = change(run, "reward/accuracy")
    assert ends.first == pytest.approx(sum(values[:4]) / 4)
    assert ends.last == pytest.approx(sum(values[-4:]) / 4)


def test_a_change_is_shown_with_the_decimals_of_its_ends():
    assert Change(4.6875, 3.90625).shown == ("4.69", "3.91", "−0.78")
    assert Change(38.97, 39.01).shown == ("39.0", "39.0", "+0.0")
    assert Change(1200.4, 980.0).shown == ("1,200", "980", "−220")
    assert Change(0.0, 0.0).shown == ("0", "0", "0")
    assert Change(math.nan, math.nan).shown == ("–", "–", "–")


def test_equal_diagnoses_give_equal_bytes():
    assert render(example(), plots(example())) == render(example(), plots(example()))
    assert to_json(example()) == to_json(example())


def test_the_json_is_ascii_and_has_null_for_what_was_not_measured():
    text = to_json(example(text=HOSTILE))
    assert text.isascii()
    assert json.loads(text)["evaluations"][0]["difference"] is None
