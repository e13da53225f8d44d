"""An evaluation as a person reads it: question by question, the answers its samples gave, and how far they disagree.

One pass over `samples.jsonl` keeps a short record and the place of each row, not its text; rows that are shown are
read again from their place. Memory is some hundred bytes per sample, however long the responses are.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hicra_cli.core.errors import ArtifactError
from hicra_cli.core.records import FinishReason, Outcome

ANSWER_CHARACTERS = 300
SILENT = (Outcome.NO_ANSWER.value, Outcome.UNCLOSED.value, Outcome.TRUNCATED.value)

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """A row without its texts. offset: its first byte in the file. cut: by the token limit. answer: its beginning.

    lenient: lenient extraction would have found it right although strict did not.
    """

    sample: int
    offset: int
    outcome: str
    answer: str | None
    detail: str
    num_tokens: int
    right: bool
    cut: bool
    lenient: bool


@dataclass(frozen=True, slots=True)
class AnswerGroup:
    """Samples of a question that gave one answer. answer: its most frequent spelling, None where they gave none."""

    answer: str | None
    outcome: str
    details: tuple[str, ...]
    samples: tuple[int, ...]
    right: bool


@dataclass(frozen=True, slots=True)
class QuestionFacts:
    """A question with its samples. groups: right answers first, then the most frequent ones.

    disagreement: share of the samples that did not give the most frequent answer. gold: None where it is not recorded.
    """

    bench: str
    question: str
    gold: str | None
    samples: tuple[SampleFacts, ...]
    groups: tuple[AnswerGroup, ...]
    disagreement: float

    @property
    def num_right(self) -> int:
        return sum(each.right for each in self.samples)

    @property
    def accuracy(self) -> float:
        return self.num_right / len(self.samples)

    @property
    def outcomes(self) -> dict[str, int]:
        """Counts of the outcomes that occur, in their usual order."""
        counts = Counter(each.outcome for each in self.samples)
        known = [each.value for each in Outcome]
        return {name: counts[name] for name in [*known, *sorted(set(counts) - set(known))] if counts[name]}


def read_questions(path: Path) -> list[QuestionFacts]:
    """Every question of a `samples.jsonl`, in its order. Raises ArtifactError for a line that is no graded sample."""
    gathered: dict[tuple[str, str], list[SampleFacts]] = {}
    golds: dict[tuple[str, str], str] = {}
    offset = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            row = _parsed(line, f"{path}:{number}")
            key = (str(row["bench"]), str(row["question"]))
            try:
                gathered.setdefault(key, []).append(_facts(row, offset))
            except (ValueError, TypeError) as error:
                raise ArtifactError(f"this line is no sample: {error}", where=f"{path}:{number}") from error
            if row.get("gold") is not None:
                listed = row["gold"] if isinstance(row["gold"], list) else [row["gold"]]
                golds.setdefault(key, " or ".join(map(str, listed)))
            offset += len(line)
    return [_question(key, samples, golds.get(key)) for key, samples in gathered.items()]


def reading_order(questions: Iterable[QuestionFacts], *, failures: bool = False) -> list[QuestionFacts]:
    """Most disagreement first, then fewest right samples. failures: only questions with a wrong sample, worst first."""
    if failures:
        kept = [each for each in questions if each.num_right < len(each.samples)]
        return sorted(kept, key=lambda each: (each.accuracy, -each.disagreement))
    return sorted(questions, key=lambda each: (-each.disagreement, each.accuracy))


def read_rows(path: Path, samples: Iterable[SampleFacts]) -> Iterator[dict[str, Any]]:
    """The whole rows of these samples, one at a time."""
    with path.open("rb") as stream:
        for each in samples:
            stream.seek(each.offset)
            yield _parsed(stream.readline(), f"{path} at byte {each.offset}")


def telling_samples(question: QuestionFacts, count: int) -> list[SampleFacts]:
    """At most `count` samples by number: of every answer one, wrong ones first, then the others as they come."""
    by_number = {each.sample: each for each in question.samples}
    firsts = [group.samples[0] for group in sorted(question.groups, key=lambda each: each.right)]
    chosen = list(dict.fromkeys([*firsts, *by_number]))[:count]
    return [by_number[number] for number in sorted(chosen)]


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        missing = {"bench", "question", "sample", "outcome", "reward", "text"} - set(row)
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"this line is no sample: {error}", where=where) from error
    if missing or not isinstance(row, dict):
        raise ArtifactError(f"this line is no graded sample: {', '.join(sorted(missing))} is missing", where=where)
    return row


def _facts(row: Row, offset: int) -> SampleFacts:
    answer, right = row.get("answer"), float(row["reward"]) > 0
    return SampleFacts(
        sample=int(row["sample"]),
        offset=offset,
        outcome=str(row["outcome"]),
        answer=None if answer is None else str(answer)[:ANSWER_CHARACTERS],
        detail=str(row.get("detail") or "")[:ANSWER_CHARACTERS],
        num_tokens=int(row.get("num_tokens") or 0),
        right=right,
        cut=row.get("finish_reason") == FinishReason.LENGTH.value,
        lenient=not right and float(row.get("lenient_reward") or 0.0) > 0,
    )


def _question(key: tuple[str, str], samples: Sequence[SampleFacts], gold: str | None) -> QuestionFacts:
    by_class: dict[tuple[str, str], list[SampleFacts]] = {}
    for each in samples:
        by_class.setdefault(_class(each, key[0]), []).append(each)
    groups = sorted((_group(each) for each in by_class.values()), key=lambda each: (not each.right, -len(each.samples)))
    largest = max(len(each.samples) for each in groups)
    return QuestionFacts(key[0], key[1], gold, tuple(samples), tuple(groups), 1 - largest / len(samples))


def _group(samples: Sequence[SampleFacts]) -> AnswerGroup:
    spellings = Counter(each.answer for each in samples)
    return AnswerGroup(
        answer=spellings.most_common(1)[0][0],
        outcome=samples[0].outcome,
        details=tuple(dict.fromkeys(each.detail for each in samples if each.detail)),
        samples=tuple(each.sample for each in samples),
        right=samples[0].right,
    )


def _class(sample: SampleFacts, bench: str) -> tuple[str, str]:
    """What is one answer: every right one, every spelling of a wrong one, every way to give none."""
    if sample.right:
        return "right", ""
    if sample.answer is None or sample.outcome in SILENT:
        return sample.outcome, ""
    # Countdown asks for an expression: 2 * 3 and 6 are two answers.
    return sample.outcome, sample.answer.strip() if bench == "countdown" else _spelling(sample.answer)


@lru_cache(maxsize=8192)
def _spelling(answer: str) -> str:
    from hicra_cli.grading import normal_form

    return normal_form(answer)
