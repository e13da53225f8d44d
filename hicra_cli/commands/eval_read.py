"""hicra eval --read: an evaluation question by question, on the terminal or as a page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra_cli.commands.session import Report, Session
from hicra_cli.core.errors import ArtifactError, HicraError, UsageError
from hicra_cli.core.filesystem import storage_errors, write_durably
from hicra_cli.core.output import Table, View, clean

if TYPE_CHECKING:
    from hicra_cli.core.registry import Artifact, Registry
    from hicra_cli.grams.text_matcher import TextMatcher
    from hicra_cli.report.evaluation_reading import AnswerGroup, QuestionFacts

OPTION = "--read"
PAGES = (".html", ".htm")
QUESTIONS_SHOWN = 20
ANSWERS_SHOWN = 6
PROMPT_SHOWN = 400
ANSWER_SHOWN = 100


def read_evaluation(session: Session, reference: str, *, failures: bool, output: Path | None) -> Report:
    """Show the questions of an evaluation, those whose samples disagree most first.

    failures: only questions with a wrong sample, the worst first. output: a page (.html) or, under another name, the
    text of all questions.
    """
    from hicra_cli.report.evaluation_reading import read_questions, reading_order

    with session.registry() as registry:
        artifact = resolve_evaluation(registry, reference)
        samples, summary = artifact.file("samples.jsonl"), _summary(artifact)
        with session.output.phase(f"read {artifact.ref}"):
            questions = reading_order(read_questions(samples), failures=failures)
        if output is not None and output.suffix.lower() in PAGES:
            _write_page(session, registry, artifact, summary, questions, failures=failures, output=output)
    shown = questions[:QUESTIONS_SHOWN]
    views: list[View] = [_scores(artifact.ref, summary), ""]
    views += [question_text(each, _prompt(samples, each)) for each in shown]
    if output is not None and output.suffix.lower() not in PAGES:
        _write_text(output, samples, questions)
    return Report(
        views=[*views, *_remarks(questions, failures=failures, output=output)],
        artifacts=[artifact],
        metrics={"read/questions": len(questions), "read/samples": sum(len(each.samples) for each in questions)},
        data={"questions": [question_data(each) for each in questions]},
    )


def resolve_evaluation(registry: "Registry", reference: str) -> "Artifact":
    """The evaluation of `evaluation:NAME[@…]` or NAME. UsageError for another kind of artifact."""
    artifact = registry.resolve(reference if ":" in reference else f"evaluation:{reference}")
    if artifact.kind != "evaluation":
        raise UsageError(
            f"{artifact.ref} is no evaluation", where=OPTION, fix="`hicra artifacts list evaluation` shows them"
        )
    return artifact


def question_text(question: "QuestionFacts", prompt: str) -> str:
    """A question for people: who was right, the prompt's end, and each answer with its verdict."""
    right = f"{question.num_right}/{len(question.samples)} right"
    named = question.question.startswith(f"{question.bench}/")
    name = question.question if named else f"{question.bench} {question.question}"
    cut = sum(each.cut for each in question.samples)
    facts = [name, right, f"disagreement {question.disagreement:.2f}", *([f"{cut} cut"] if cut else [])]
    lines = [f"── {' · '.join(facts)}", *(f"   {line}" for line in prompt.strip().splitlines()[-6:])]
    lines.append(f"   gold {_one_line(question.gold) if question.gold is not None else '(not recorded)'}")
    lines += [_answer_line(each) for each in question.groups[:ANSWERS_SHOWN]]
    if len(question.groups) > ANSWERS_SHOWN:
        lines.append(f"   {len(question.groups) - ANSWERS_SHOWN} further answers")
    return "\n".join([*lines, ""])


def question_data(question: "QuestionFacts") -> dict[str, Any]:
    """The same for machines."""
    return {
        "bench": question.bench,
        "question": question.question,
        "gold": question.gold,
        "right": question.num_right,
        "samples": len(question.samples),
        "disagreement": question.disagreement,
        "outcomes": question.outcomes,
        "cut": sum(each.cut for each in question.samples),
        "answers": [
            {
                "answer": each.answer,
                "outcome": each.outcome,
                "correct": each.right,
                "reasons": list(each.details),
                "samples": list(each.samples),
            }
            for each in question.groups
        ],
    }


def _write_page(
    session: Session,
    registry: "Registry",
    artifact: "Artifact",
    summary: dict[str, Any],
    questions: "Sequence[QuestionFacts]",
    *,
    failures: bool,
    output: Path,
) -> None:
    from hicra_cli.report.evaluation_page import EvaluationPage, write_evaluation_page

    matcher = _matcher(session, registry, summary.get("gram_set"))
    samples = artifact.file("samples.jsonl")
    with session.output.phase(f"write {output}"):
        write_evaluation_page(output, EvaluationPage(artifact.ref, summary, questions, samples, failures, matcher))


def _matcher(session: Session, registry: "Registry", reference: str | None) -> "TextMatcher | None":
    """Marks the grams of the evaluation's gram-set, where it has one that is still there."""
    if reference is None:
        return None
    from hicra_cli.grams.text_matcher import TextMatcher
    from hicra_cli.stages.gram_sets import load_gram_set, resolve_gram_set

    try:
        return TextMatcher(load_gram_set(resolve_gram_set(reference, registry)))
    except HicraError as error:
        session.output.warn(f"strategic grams are not marked: {error.what}")
        return None


def _summary(artifact: "Artifact") -> dict[str, Any]:
    path = artifact.file("summary.json")
    try:
        summary = json.loads(path.read_bytes())
    except ValueError as error:
        raise ArtifactError(f"the summary is no JSON: {error}", where=str(path)) from error
    if not isinstance(summary, dict) or not isinstance(summary.get("bench"), dict):
        raise ArtifactError("the summary names no benchmarks", where=str(path))
    return summary


def _scores(reference: str, summary: dict[str, Any]) -> Table:
    """The benchmarks with their averages, and which outcomes their samples had."""
    benches = summary["bench"]
    outcomes = [
        name
        for name in dict.fromkeys(name for each in benches.values() for name in each["outcomes"])
        if any(each["outcomes"].get(name) for each in benches.values())
    ]
    columns = ("benchmark", "questions", "samples", "average", *(name.replace("_", " ") for name in outcomes))
    rows = [
        (
            name,
            f"{each['questions']:,}",
            f"{each['samples']:,}",
            f"{100 * each['average']:.1f}%",
            *(f"{each['outcomes'].get(outcome, 0):,}" for outcome in outcomes),
        )
        for name, each in benches.items()
    ]
    return Table(columns, rows, title=reference)


def _prompt(samples: Path, question: "QuestionFacts") -> str:
    from hicra_cli.report.evaluation_reading import read_rows

    row = next(read_rows(samples, question.samples[:1]))
    prompt = str(row.get("prompt") or "").strip()
    return prompt if len(prompt) <= PROMPT_SHOWN else f"… {prompt[-PROMPT_SHOWN:]}"


def _answer_line(group: "AnswerGroup") -> str:
    answer = "" if group.answer is None else f"  {_one_line(group.answer)}"
    reasons = f"  ({'; '.join(_one_line(each) for each in group.details[:2])})" if group.details else ""
    return f"   {len(group.samples):>3} × {group.outcome.replace('_', ' ')}{answer}{reasons}"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= ANSWER_SHOWN else f"{line[:ANSWER_SHOWN]} …"


def _write_text(output: Path, samples: Path, questions: "Sequence[QuestionFacts]") -> None:
    text = "\n".join(clean(question_text(each, _prompt(samples, each))) for each in questions)
    with storage_errors("writing the questions", output):
        write_durably(output, f"{text}\n".encode("utf-8", "replace"))


def _remarks(questions: "Sequence[QuestionFacts]", *, failures: bool, output: Path | None) -> list[View]:
    remarks: list[View] = []
    if failures and not questions:
        remarks.append("Every sample is right.")
    if len(questions) > QUESTIONS_SHOWN:
        remarks.append(f"{len(questions) - QUESTIONS_SHOWN:,} further questions; --output FILE.txt or --json has all.")
    if output is None:
        remarks.append("Prompts and responses as a page: --output FILE.html")
    else:
        remarks.append(f"Written to {output}")
    return remarks
