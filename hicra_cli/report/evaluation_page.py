"""The page on which a person reads an evaluation: each question with its gold, answers, verdicts and responses.

One file that needs nothing else, without script. It is written as it is made: responses are read from the evaluation
when their question's turn comes. What a browser could not hold is left out, and said: questions beyond
`QUESTIONS_SHOWN`, responses beyond `RESPONSES_SHOWN` of a question, the middle of long texts, and all texts once the
page has `PAGE_CHARACTERS` of them. Everything is in `samples.jsonl`.
"""

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hicra_cli.core.filesystem import replaceable, storage_errors
from hicra_cli.core.records import Outcome
from hicra_cli.grams.matcher import TextMatcher
from hicra_cli.report.diagnosis import Mark
from hicra_cli.report.evaluation_reading import QuestionFacts, SampleFacts, read_rows, telling_samples
from hicra_cli.report.pages import page_environment
from hicra_cli.report.svg import figure_css
from hicra_cli.report.visible import Piece, pieces, visible

QUESTIONS_SHOWN = 3000
RESPONSES_SHOWN = 8
PAGE_CHARACTERS = 6_000_000
HEAD_CHARACTERS = 4000
TAIL_CHARACTERS = 3000
PROMPT_CHARACTERS = 4000
ANSWERS_IN_LINE = 4


@dataclass(frozen=True, slots=True)
class EvaluationPage:
    """What the page is about. summary: that of the evaluation; questions: in the order of the page, from `samples`.

    failures: only questions with a wrong sample are given. matcher: marks strategic grams in responses.
    """

    title: str
    summary: Mapping[str, Any]
    questions: Sequence[QuestionFacts]
    samples: Path
    failures: bool = False
    matcher: TextMatcher | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text as pieces: its beginning and, where `left_out` characters are missing, its end."""

    head: Sequence[Piece]
    left_out: int = 0
    tail: Sequence[Piece] = ()


@dataclass(frozen=True, slots=True)
class ShownQuestion:
    """A question with the responses that are shown, each with its facts. without_text: the page is full."""

    facts: QuestionFacts
    prompt: ShownText | None
    responses: Sequence[tuple[SampleFacts, ShownText]] = field(default_factory=list)
    without_text: bool = False

    @property
    def hidden_responses(self) -> int:
        return len(self.facts.samples) - len(self.responses)

    @property
    def hidden_answers(self) -> int:
        return max(0, len(self.facts.groups) - ANSWERS_IN_LINE)

    @property
    def classes(self) -> str:
        """What the page's filter looks at."""
        right, count = self.facts.num_right, len(self.facts.samples)
        solved = "all" if right == count else "some" if right else "none"
        return f"solved-{solved}" + " has-cut" * any(each.cut for each in self.facts.samples)


def write_evaluation_page(path: Path, page: EvaluationPage) -> None:
    """Write the page, part by part; equal evaluations are equal bytes. RunError where the file cannot be written."""
    target = replaceable(path)
    scratch = path if target is None else target.with_name(f"{target.name}.unfinished")
    with storage_errors("writing the page", path):
        with scratch.open("w", encoding="utf-8", errors="replace", newline="\n") as stream:
            stream.writelines(page_parts(page))
        if target is not None:
            os.replace(scratch, target)


def page_parts(page: EvaluationPage) -> Iterator[str]:
    """The page's text in parts."""
    environment = page_environment(percent=_percent, visible=visible)
    sheets = [environment.get_template(name).render() for name in ("report.css", "evaluation_page.css")]
    template = environment.get_template("evaluation_page.html.j2")
    yield from template.generate(
        page=page,
        css=Markup(figure_css() + "".join(sheets)),
        benches=page.summary.get("bench", {}),
        outcomes=_outcomes(page),
        settings=_settings(page.summary),
        kinds=_kinds(page.questions),
        questions=_shown(page),
        hidden=max(0, len(page.questions) - QUESTIONS_SHOWN),
        caps={"responses": RESPONSES_SHOWN, "answers": ANSWERS_IN_LINE},
        hicra_version=version("hicra"),
    )


def _shown(page: EvaluationPage) -> Iterator[ShownQuestion]:
    """The questions one by one, with texts as long as the page has room."""
    room = PAGE_CHARACTERS
    for facts in page.questions[:QUESTIONS_SHOWN]:
        if room <= 0:
            yield ShownQuestion(facts, None, without_text=True)
            continue
        prompt: ShownText | None = None
        responses = []
        chosen = telling_samples(facts, RESPONSES_SHOWN)
        for sample, row in zip(chosen, read_rows(page.samples, chosen), strict=True):
            if prompt is None:
                prompt = _cut(str(row.get("prompt") or ""), [], head=PROMPT_CHARACTERS, tail=0)
            text = str(row["text"])
            responses.append((sample, _cut(text, _marks(text, sample, page.matcher))))
            room -= min(len(text), HEAD_CHARACTERS + TAIL_CHARACTERS)
        yield ShownQuestion(facts, prompt, responses)


def _marks(text: str, sample: SampleFacts, matcher: TextMatcher | None) -> list[Mark]:
    if matcher is None:
        return []
    found = matcher.occurrences(text, truncated=sample.cut)
    return [Mark(each.start, each.end, each.gram.text, str(each.gram.move or "")) for each in found]


def _cut(text: str, marks: Sequence[Mark], *, head: int = HEAD_CHARACTERS, tail: int = TAIL_CHARACTERS) -> ShownText:
    """Both ends of a long text: the plan stands at its beginning, the answer at its end."""
    if len(text) <= head + tail:
        return ShownText(pieces(text, marks, limit=len(text)))
    start = len(text) - tail
    moved = [Mark(max(0, m.start - start), m.end - start, m.gram, m.move) for m in marks if m.end > start]
    return ShownText(
        pieces(text, [mark for mark in marks if mark.start < head], limit=head),
        start - head,
        pieces(text[start:], moved, limit=tail) if tail else (),
    )


def _outcomes(page: EvaluationPage) -> list[str]:
    """The outcomes that occur in any benchmark, in their usual order."""
    counts: Counter[str] = Counter()
    for bench in page.summary.get("bench", {}).values():
        counts.update(bench.get("outcomes", {}))
    return [each.value for each in Outcome if counts[each.value]]


def _kinds(questions: Sequence[QuestionFacts]) -> list[tuple[str, str, int]]:
    """(filter, name, questions) of the filters that would show something."""
    shown = [ShownQuestion(each, None).classes.split() for each in questions[:QUESTIONS_SHOWN]]
    counts = Counter(name for classes in shown for name in classes)
    names = {
        "solved-some": "some samples right",
        "solved-none": "none right",
        "solved-all": "all right",
        "has-cut": "cut at the token limit",
    }
    return [(name, words, counts[name]) for name, words in names.items() if counts[name]]


def _settings(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the samples were drawn with, as far as the summary tells."""
    engine, sampling, grader = (summary.get(name) or {} for name in ("engine", "sampling", "grader"))
    drawn = ", ".join(f"{name} {value}" for name, value in sampling.items())
    engine_words = [engine.get(name) for name in ("name", "version", "dtype", "device")]
    rows = [
        ("policy", summary.get("policy")),
        ("sampling", drawn),
        ("engine", " ".join(str(each) for each in engine_words if each)),
        ("seed", summary.get("seed")),
        ("grader", grader.get("version")),
        ("gram-set", summary.get("gram_set")),
    ]
    return [(name, str(value)) for name, value in rows if value not in (None, "")]


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}"
