"""hicra eval --check-overlap: which benchmark questions stand in training data."""

import difflib
import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hicra_cli.commands.session import Report, Session
from hicra_cli.core.errors import UsageError
from hicra_cli.core.filesystem import storage_errors, write_durably
from hicra_cli.core.output import Table, View

if TYPE_CHECKING:
    from hicra_cli.tasks.overlap import Overlap, Pair

OPTION = "--check-overlap"
PAIRS_SHOWN = 20
TEXT_SHOWN = 600
WIDTH = 112
COLUMNS = ("benchmark", "questions", "exact", "contained", "variant", "near", "common 13-gram", "half of them")


def check_training_data(session: Session, sources: Sequence[str], *, output: Path | None = None) -> Report:
    """Compare the benchmarks with the training data of `sources`, which is read once and never held.

    output: a JSON file with the rates and every pair that is kept.
    """
    overlap = _compared(session, sources)
    data = overlap_data(overlap, sources)
    if output is not None:
        with storage_errors("writing the overlap", output):
            write_durably(output, (json.dumps(data, indent=1) + "\n").encode())
    if overlap.empty:
        session.output.warn(f"{overlap.empty:,} of {overlap.texts:,} training rows have no problem to compare")
    if overlap.questions_found:
        session.output.warn(f"{overlap.questions_found:,} benchmark questions stand in the training data word for word")
    totals = {kind: sum(each.kinds[kind] for each in overlap.benches.values()) for kind in overlap.found}
    return Report(
        views=_views(overlap, output),
        metrics={f"overlap/{kind}_questions": count for kind, count in totals.items()},
        data=data,
    )


def overlap_data(overlap: "Overlap", sources: Sequence[str]) -> dict[str, Any]:
    """All that was found, for machines."""
    from hicra_cli.tasks.overlap import overlap_summary

    return {
        "sources": list(sources),
        **overlap_summary(overlap),
        "pairs_found": dict(overlap.found),
        "pairs": [asdict(pair) for pair in overlap.pairs],
    }


def _compared(session: Session, sources: Sequence[str]) -> "Overlap":
    from hicra_cli.stages.eval_questions import read_exam
    from hicra_cli.tasks.overlap import OverlapCheck
    from hicra_cli.tasks.training_texts import training_texts

    benches = {bench.name: bench.prompts for bench in read_exam(session.config).benches if bench.kind != "countdown"}
    if not benches:
        raise UsageError(
            "countdown's problems are made up as they are needed, so no data can hold them",
            where=OPTION,
            fix=f"Name benchmarks: hicra eval --bench paper-text {OPTION} {sources[0]}",
        )
    check = OverlapCheck(benches)
    for source in sources:
        with session.output.phase(f"compare {source}") as advance:
            for count in check.read(training_texts(source, session.config.task, named_by=OPTION)):
                advance(count)
    return check.result()


def _views(overlap: "Overlap", output: Path | None) -> list[View]:
    rows = [
        (
            name,
            f"{each.questions:,}",
            *(_share(each.kinds[kind], each.questions) for kind in overlap.found),
            _share(each.ngram, each.questions),
            _share(each.ngram_half, each.questions),
        )
        for name, each in overlap.benches.items()
    ]
    views: list[View] = [
        Table(COLUMNS, rows, title=f"Questions of benchmarks in {overlap.texts:,} training texts"),
        "Each question counts once, by its closest text. exact: the same words, numbers and signs. contained: inside a "
        "longer text. variant: other numbers. near: alike, to be read. common 13-gram: 13 words in a row that are no "
        "stock phrase; half of them: at least half of the question's.",
    ]
    for pair in overlap.pairs[:PAIRS_SHOWN]:
        views += ["", pair_text(pair)]
    kept = len(overlap.pairs)
    if kept > PAIRS_SHOWN:
        place = str(output) if output else "--json and --output FILE.json"
        views += ["", f"{kept - PAIRS_SHOWN:,} further pairs are in {place}."]
    return views


def pair_text(pair: "Pair") -> str:
    """A pair for people: the two texts one above the other, what differs in ⟦…⟧."""
    training = f"{pair.training} ({pair.place})" if pair.training else pair.place
    copies = f", {pair.copies:,} times" if pair.copies > 1 else ""
    question = pair.question if pair.question.startswith(f"{pair.bench}/") else f"{pair.bench} {pair.question}"
    head = f"── {pair.kind} {pair.similarity:.2f} · {question} ~ {training}{copies}"
    asked, given = _marked(_cut(pair.question_text), _cut(pair.training_text))
    return "\n".join([head, *_block("question", asked), *_block("training", given)])


def _marked(one: str, other: str) -> tuple[str, str]:
    """Both texts with the words in brackets that the other one has not at this place."""
    first, second = _words(one), _words(other)
    marked: tuple[list[str], list[str]] = ([], [])
    for kind, a, b, c, d in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        for parts, words in zip(marked, (first[a:b], second[c:d]), strict=True):
            if words:
                parts.append(" ".join(words) if kind == "equal" else f"⟦{' '.join(words)}⟧")
    return " ".join(marked[0]), " ".join(marked[1])


def _words(text: str) -> list[str]:
    return re.split(r"\s+", text.strip())


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]} …"


def _block(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"   {label}  ",
        subsequent_indent=" " * (len(label) + 5),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _share(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.1f}%)" if count else "0"
