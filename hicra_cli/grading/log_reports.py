"""What is told of a graded log: every verdict, only those that changed, or those that another grader sees differently.

Each report turns a batch of graded entries into rows (JSON objects) and keeps counts; memory does not grow with the
log. The report is chosen once, when it is built.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from hicra_cli.core.errors import DataError
from hicra_cli.core.records import Outcome, Verdict
from hicra_cli.grading.equivalence import over_limit
from hicra_cli.grading.log_layouts import Id, Sample
from hicra_cli.grading.log_reader import Entry, Fault, json_rows
from hicra_cli.grading.normalform import normal_form
from hicra_cli.grading.policy_pool import PolicyPool
from hicra_cli.grading.pool import KEPT_ANSWER, GradingPool, Mode

LogMode = Mode | Literal["both"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Graded:
    """An entry with its verdict by the mode that was asked for; lenient: the second verdict where both were."""

    entry: Entry
    verdict: Verdict
    lenient: Verdict | None = None

    @property
    def correct(self) -> bool:
        return self.verdict.outcome is Outcome.CORRECT


class Report(Protocol):
    """Rows of a batch, in order, and at the end what was counted."""

    def rows(self, batch: Sequence[Graded]) -> list[Row]: ...

    def finish(self) -> None:
        """Called after the last batch. Raises DataError where the report needed more."""
        ...

    def counts(self) -> dict[str, int]: ...


def graded_entries(entries: Sequence[Entry], pool: GradingPool, mode: LogMode) -> list[Graded]:
    """A verdict for every entry, in order. What cannot be graded is an `error` with its reason."""
    verdicts: dict[int, tuple[Verdict, Verdict | None]] = {}
    answers: list[tuple[int, Sample]] = []
    responses: list[tuple[int, Sample]] = []
    for place, entry in enumerate(entries):
        if isinstance(entry.content, Fault):
            fault = Verdict(0.0, Outcome.ERROR, None, entry.content.detail)
            verdicts[place] = fault, fault if mode == "both" else None
        else:
            (answers if entry.content.bare else responses).append((place, entry.content))
    pairs = [(sample.text, sample.golds) for _, sample in answers]
    for (place, _), verdict in zip(answers, pool.grade_answers(pairs), strict=True):
        verdicts[place] = verdict, verdict if mode == "both" else None
    items = [(sample.text, sample.golds, sample.truncated) for _, sample in responses]
    if mode == "both":
        verdicts.update(zip((place for place, _ in responses), pool.grade_both(items), strict=True))
    else:
        alone = [(each, None) for each in pool.grade_many(items, mode=mode)]
        verdicts.update(zip((place for place, _ in responses), alone, strict=True))
    return [Graded(entry, *verdicts[place]) for place, entry in enumerate(entries)]


class EveryVerdict:
    """One row for each entry: id, correct, outcome, extracted, gold_normal, and what else there is to say."""

    def __init__(self, mode: LogMode) -> None:
        self._mode = mode
        self._counts: Counter[str] = Counter()

    def rows(self, batch: Sequence[Graded]) -> list[Row]:
        return [self._row(each) for each in batch]

    def finish(self) -> None:
        return None

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def _row(self, graded: Graded) -> Row:
        row = verdict_row(graded)
        if self._mode == "lenient":
            row["mode"] = "lenient"
        if graded.lenient is not None:
            row["lenient_correct"] = graded.lenient.outcome is Outcome.CORRECT
            row["lenient_extracted"] = graded.lenient.answer
            self._counts["lenient_correct"] += row["lenient_correct"]
        return row


class Changes:
    """Only the entries whose verdict is another than before: in the log itself, or in an earlier output `old`.

    An earlier output belongs to the same log: it has its ids in its order. DataError names the first that does not.
    """

    def __init__(self, old: Path | None) -> None:
        self._old = None if old is None else _earlier(old)
        self._name = str(old)
        self._seen = 0
        names = ("unchanged", "now_correct", "now_wrong", "no_earlier_verdict", "correct_before", "correct_after")
        self._counts = Counter(dict.fromkeys(names, 0))

    def rows(self, batch: Sequence[Graded]) -> list[Row]:
        before = [_before(each.entry) for each in batch] if self._old is None else self._read(batch)
        changed = []
        for graded, earlier in zip(batch, before, strict=True):
            if earlier is None:
                self._counts["no_earlier_verdict"] += 1
                continue
            self._counts["correct_before"] += earlier
            self._counts["correct_after"] += graded.correct
            if earlier == graded.correct:
                self._counts["unchanged"] += 1
            else:
                self._counts["now_correct" if graded.correct else "now_wrong"] += 1
                changed.append({"before": earlier} | _row_with_gold(graded))
        return changed

    def finish(self) -> None:
        if self._old is not None and next(self._old, None) is not None:
            raise self._foreign(self._seen + 1, "it has more lines")

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def _read(self, batch: Sequence[Graded]) -> list[bool | None]:
        assert self._old is not None
        before = []
        for graded, (earlier_id, earlier) in zip(batch, islice(self._old, len(batch)), strict=False):
            self._seen += 1
            if earlier_id != graded.entry.content.id:
                raise self._foreign(self._seen, f"its id is {earlier_id!r}, here it is {graded.entry.content.id!r}")
            before.append(earlier)
        if len(before) < len(batch):
            raise self._foreign(self._seen + 1, "it has fewer lines")
        return before

    def _foreign(self, line: int, why: str) -> DataError:
        return DataError(
            f"these are not the earlier verdicts of this input: {why}",
            where=f"{self._name}:{line}",
            fix="Give the output of an earlier `hicra grade` on the same input",
        )


class Agreement:
    """Only the entries that a policy judges differently. What cannot be graded at all is not compared."""

    def __init__(self, policies: PolicyPool) -> None:
        self._policies = policies
        names = ("both_correct", "both_wrong", "only_hicra", "only_policy", "policy_failed", "not_compared")
        self._counts = Counter(dict.fromkeys(names, 0))

    def rows(self, batch: Sequence[Graded]) -> list[Row]:
        samples = [(each, each.entry.content) for each in batch if isinstance(each.entry.content, Sample)]
        self._counts["not_compared"] += len(batch) - len(samples)
        judged = self._policies.judge([(sample.text, sample.golds, sample.bare) for _, sample in samples])
        different = []
        for (graded, _), judgement in zip(samples, judged, strict=True):
            self._counts[_agreement(graded.correct, judgement.correct)] += 1
            if judgement.correct is None or judgement.correct != graded.correct:
                row = _row_with_gold(graded) | {"policy": self._policies.policy, "policy_correct": judgement.correct}
                different.append(row | ({"policy_detail": judgement.detail} if judgement.detail else {}))
        return different

    def finish(self) -> None:
        return None

    def counts(self) -> dict[str, int]:
        return dict(self._counts)


def verdict_row(graded: Graded) -> Row:
    """What every row says. `line` where the log has no id for it; `detail` where there is something to explain."""
    content, verdict = graded.entry.content, graded.verdict
    row: Row = {
        "id": content.id,
        "correct": graded.correct,
        "outcome": verdict.outcome.value,
        "extracted": verdict.answer,
        "gold_normal": None,
    }
    if content.id is None:
        row["line"] = graded.entry.line
    if isinstance(content, Sample):
        normal = [_normal(gold) for gold in content.golds]
        row["gold_normal"] = normal if content.listed else normal[0]
        row |= content.place
    return row | ({"detail": verdict.detail} if verdict.detail else {})


def _row_with_gold(graded: Graded) -> Row:
    """With the gold as the log has it too: how it is spelt is often why two graders disagree."""
    content = graded.entry.content
    assert isinstance(content, Sample)
    return verdict_row(graded) | {"gold": list(content.golds) if content.listed else content.golds[0]}


@lru_cache(maxsize=4096)
def _normal(gold: str) -> str:
    """The gold in the one spelling of its value; a gold too large to be read as it stands."""
    return (gold if over_limit(gold) is not None else normal_form(gold))[:KEPT_ANSWER]


def _before(entry: Entry) -> bool | None:
    return entry.content.before if isinstance(entry.content, Sample) else None


def _earlier(path: Path) -> Iterator[tuple[Id, bool | None]]:
    """Ids and verdicts of an earlier output."""
    for row in json_rows(path):
        correct = row.get("correct")
        yield row.get("id"), correct if isinstance(correct, bool) else None


def _agreement(ours: bool, policy: bool | None) -> str:
    if policy is None:
        return "policy_failed"
    if ours == policy:
        return "both_correct" if ours else "both_wrong"
    return "only_hicra" if ours else "only_policy"
