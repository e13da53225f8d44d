"""The paper's table: models by benchmarks; under each base model its rows (Base, GRPO, HICRA, …) and the difference.

Here evaluations are arranged and compared; `score_layout` shows them. The arrangement follows table 1 of
arXiv 2509.03646. Differences are paired by question.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hicra_cli.core.errors import UsageError
from hicra_cli.metrics.intervals import Interval, macro_interval
from hicra_cli.metrics.paired import holm, mean_test, paired_difference
from hicra_cli.report.provenance import differences_of
from hicra_cli.report.scored import ScoredEvaluation
from hicra_cli.report.scores import BenchScores

BASE = "Base"
BASELINES = ("GRPO", BASE)
METHOD_ORDER = (BASE, "GRPO")
BENCH_ORDER = ("aime24", "aime25", "math500", "amc23", "minerva", "olympiad", "gsm8k")


@dataclass(frozen=True, slots=True)
class Entry:
    """One evaluation's place in the table: its base model, how it was trained, and what names the policy for sure."""

    base: str
    method: str
    policy: str
    scores: ScoredEvaluation


@dataclass(frozen=True, slots=True)
class Score:
    """A cell of a row. outcomes: how many samples had which."""

    interval: Interval
    samples: int
    truncated: float
    outcomes: Mapping[str, int]
    ref: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A cell of a row of differences. p_holm: adjusted for the row's benchmarks; of the mean it is p."""

    interval: Interval
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A policy's scores by benchmark. mean: over all columns of the table, None where one is missing."""

    base: str
    label: str
    cells: Mapping[str, Score]
    mean: Interval | None


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """label - reference, over the questions both have."""

    base: str
    label: str
    reference: str
    cells: Mapping[str, Difference]
    mean: Difference | None


Row = ScoreRow | DifferenceRow


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """groups: (base model, its rows), in the order they came."""

    benches: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Row, ...]], ...]
    samples: Mapping[str, int | None]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Policy:
    """A row in the making: one policy, perhaps from several evaluations of different benchmarks."""

    base: str
    method: str
    policy: str
    benches: dict[str, tuple[str, BenchScores]]


def score_table(entries: Sequence[Entry], *, seed: int = 0) -> ScoreTable:
    """Arrange evaluations. Those of one policy share a row, unless both have the same benchmark.

    UsageError where there is none, or questions of one name are other questions.
    """
    if not entries:
        raise UsageError("a table needs an evaluation", fix="hicra eval --table evaluation:NAME")
    policies = _policies(entries)
    names = dict.fromkeys(bench for each in policies for bench in each.benches)
    benches = tuple(
        sorted(names, key=lambda name: BENCH_ORDER.index(name) if name in BENCH_ORDER else len(BENCH_ORDER))
    )
    warnings = differences_of([each.scores for each in entries], benches) + _other_questions(policies, benches)
    groups: dict[str, list[_Policy]] = {}
    for each in policies:
        groups.setdefault(each.base, []).append(each)
    samples: dict[str, int | None] = {}
    for bench in benches:
        found = {each.benches[bench][1].samples for each in policies if bench in each.benches}
        samples[bench] = found.pop() if len(found) == 1 else None
    made = tuple((base, _group(members, benches, seed)) for base, members in groups.items())
    return ScoreTable(benches, made, samples, tuple(warnings))


def _policies(entries: Iterable[Entry]) -> list[_Policy]:
    rows: list[_Policy] = []
    for entry in entries:
        benches = {name: (entry.scores.ref, scores) for name, scores in entry.scores.benches.items()}
        home = next(
            (
                row
                for row in rows
                if (row.base, row.method, row.policy) == (entry.base, entry.method, entry.policy)
                and not row.benches.keys() & benches.keys()
            ),
            None,
        )
        if home is None:
            rows.append(_Policy(entry.base, entry.method, entry.policy, benches))
        else:
            home.benches.update(benches)
    return rows


def _other_questions(policies: Sequence[_Policy], benches: Sequence[str]) -> list[str]:
    """Rows over other questions (--limit, a shard) are shown, but hardly comparable."""
    found = []
    for bench in benches:
        asked = {tuple(each.benches[bench][1].questions) for each in policies if bench in each.benches}
        if len(asked) > 1:
            counts = " and ".join(map(str, sorted(map(len, asked))))
            found.append(f"{bench}: the rows are not over the same questions ({counts})")
    return found


def _group(members: Sequence[_Policy], benches: Sequence[str], seed: int) -> tuple[Row, ...]:
    """The rows of one base model: Base, GRPO, then as they came; last the differences."""
    ranked = sorted(members, key=_rank)
    labels = _labels(ranked)
    rows: list[Row] = [_score_row(each, label, benches) for each, label in zip(ranked, labels, strict=True)]
    named = list(zip(ranked, labels, strict=True))
    for one, one_label, other, other_label in _compared(named):
        row = _difference_row(one, one_label, other, other_label, benches, seed)
        if row.cells:
            rows.append(row)
    return tuple(rows)


def _rank(member: _Policy) -> int:
    if member.method in METHOD_ORDER:
        return METHOD_ORDER.index(member.method)
    return len(METHOD_ORDER) + (member.method == "HICRA")


def _labels(members: Sequence[_Policy]) -> list[str]:
    """The methods; where several rows have the same, with the policy, or the evaluation where that is the same too."""
    methods = [each.method for each in members]
    policies = [(each.method, each.policy) for each in members]
    labels = []
    for each, method, policy in zip(members, methods, policies, strict=True):
        told = each.policy if policies.count(policy) == 1 else next(iter(each.benches.values()))[0]
        labels.append(method if methods.count(method) == 1 else f"{method} ({told})")
    return labels


def _compared(named: Sequence[tuple[_Policy, str]]) -> list[tuple[_Policy, str, _Policy, str]]:
    """(row, its reference): HICRA against GRPO as in the paper, against Base without GRPO; without HICRA GRPO - Base.

    A baseline that is there several times has no single row to refer to: no difference is shown then.
    """
    by_method: dict[str, list[tuple[_Policy, str]]] = {}
    for each in named:
        by_method.setdefault(each[0].method, []).append(each)
    wanted = by_method.get("HICRA") or by_method.get("GRPO") or []
    for baseline in BASELINES:
        found = by_method.get(baseline, [])
        if found and found is not wanted:
            return [(*each, *found[0]) for each in wanted] if len(found) == 1 else []
    return []


def _score_row(member: _Policy, label: str, benches: Sequence[str]) -> ScoreRow:
    cells = {
        bench: Score(scores.interval, scores.samples, scores.truncated_fraction, scores.outcomes, ref)
        for bench, (ref, scores) in member.benches.items()
    }
    complete = len(benches) > 1 and all(bench in cells for bench in benches)
    mean = macro_interval([cells[bench].interval for bench in benches]) if complete else None
    return ScoreRow(member.base, label, cells, mean)


def _difference_row(
    one: _Policy, label: str, other: _Policy, reference: str, benches: Sequence[str], seed: int
) -> DifferenceRow:
    pairs = {}
    for bench in benches:
        if bench in one.benches and bench in other.benches:
            after, before = one.benches[bench][1], other.benches[bench][1]
            _same_questions(bench, (before, after), (reference, label))
            if after.means.keys() & before.means.keys():
                pairs[bench] = paired_difference(before.means, after.means, seed=seed)
    adjusted = holm([pair.test.p for pair in pairs.values()])
    cells = {
        bench: Difference(pair.interval, pair.test.p, p_holm)
        for (bench, pair), p_holm in zip(pairs.items(), adjusted, strict=True)
    }
    complete = len(benches) > 1 and len(cells) == len(benches)
    if not complete:
        return DifferenceRow(one.base, label, reference, cells, None)
    p = mean_test(list(pairs.values()), seed=seed).p
    mean = Difference(macro_interval([each.interval for each in cells.values()]), p, p)
    return DifferenceRow(one.base, label, reference, cells, mean)


def _same_questions(bench: str, scores: Sequence[BenchScores], labels: Sequence[str]) -> None:
    one, other = (each.golds for each in scores)
    others = [question for question, gold in one.items() if other.get(question, gold) != gold]
    if others:
        raise UsageError(
            f"{bench}: {len(others)} questions of the same id have other gold answers for {labels[0]} and {labels[1]}",
            fix="Evaluate both on the same data",
        )
