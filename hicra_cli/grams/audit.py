"""The blind labelling round: a person judges strategic grams and random n-grams mixed, without seeing which is which.

The paper's readers judged 86 % of its strategic grams as planning and 12 % of random n-grams (ICLR version). Half of
the items are grams of the set, the other half n-grams from outside it, matched to them in length and frequency. They
are drawn from the candidates, which are ranked for planning, so more of them plan than of all n-grams of a text.
Judgements are about a gram, so a journal of them serves a later round that draws the same gram again.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hicra_cli.core.errors import DataError
from hicra_cli.core.seeds import generator_for
from hicra_cli.grams.audit_draw import AuditItem, Counted, draw_audit
from hicra_cli.grams.interview import Pages
from hicra_cli.grams.journal import Journal

FILE_NAME = "audit.jsonl"
PAPER_STRATEGIC, PAPER_RANDOM = 0.86, 0.12
ASSUMPTION = (
    "candidates outside the set, at least as widespread as its rarest gram and not mostly words of one, are "
    "planning as often as the drawn ones of their length"
)
DRAWS = 20_000
_Z_95 = 1.959963984540054  # the 97.5 % point of the normal distribution


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share with its 95 % interval; nan where nothing was judged. judged, planning: the counts behind it."""

    value: float
    low: float
    high: float
    judged: int
    planning: int


@dataclass(frozen=True, slots=True)
class AuditResult:
    """strategic: share of the set's grams judged planning (precision). random: the same of the n-grams outside it.

    recall: share of all planning uses that are uses of the set's grams, under `assumption`. unanswered: items not
    judged, or of which the person could not say.
    """

    strategic: Estimate
    random: Estimate
    recall: Estimate
    unanswered: int
    assumption: str = ASSUMPTION

    def to_summary(self) -> dict[str, Any]:
        """The figures that are known, for an artifact's summary."""
        named = {"precision": self.strategic, "random": self.random, "recall": self.recall}
        figures: dict[str, Any] = {"unanswered": self.unanswered}
        for name, estimate in named.items():
            if math.isfinite(estimate.value):
                figures |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        figures |= {"precision_judged": self.strategic.judged, "random_judged": self.random.judged}
        return {**figures, "assumption": self.assumption}


class AuditInterview:
    """A round over `items` in their blind order, resumed from `journal`. Raises what `Journal` raises."""

    def __init__(self, items: Sequence[AuditItem], journal: Path) -> None:
        self.items = tuple(items)
        self._journal = Journal(journal)
        self._standing: list[tuple[str, bool]] = []
        try:
            for where, row in self._journal.rows:
                _replay(row, self._standing, where=where)
        except DataError:
            self._journal.close()
            raise
        self._answers = dict(self._standing)
        self.pages = Pages(len(self.items), lambda at: self.items[at].gram not in self._answers)

    @property
    def answers(self) -> dict[str, bool]:
        """By gram: whether it is planning."""
        return dict(self._answers)

    @property
    def position(self) -> int | None:
        """The index of the current item; None where none is open any more."""
        return self.pages.position

    @property
    def current(self) -> AuditItem | None:
        """The item to be judged, or looked at."""
        return None if self.position is None else self.items[self.position]

    @property
    def num_judged(self) -> int:
        """How many of the items are judged."""
        return sum(each.gram in self._answers for each in self.items)

    @property
    def num_skipped(self) -> int:
        """How many were skipped and are open."""
        return sum(self.items[at].gram not in self._answers for at in self.pages.skipped)

    @property
    def notice(self) -> str:
        """What a person should know when the round starts; mostly empty."""
        return "the last answer was only half written and was cut off" if self._journal.cut else ""

    def judge(self, planning: bool) -> None:
        """Answer the current item and go to the next open one. Raises RunError where it cannot be kept."""
        if self.current is None or self.position is None:
            raise ValueError("no item is open")
        gram = self.current.gram
        self._journal.append({"gram": gram, "judged": "planning" if planning else "not planning"})
        self._standing.append((gram, planning))
        self._answers[gram] = planning
        self.pages.to_next_open(self.position + 1)

    def skip(self) -> None:
        """Leave the item unanswered and go on."""
        self.pages.skip()

    def undo(self) -> str | None:
        """Take the last answer back and stand at its gram; returns the gram, or None."""
        if not self._standing:
            return None
        gram = self._standing[-1][0]
        self._journal.append({"gram": gram, "judged": "undo"})
        self._standing.pop()
        self._answers = dict(self._standing)
        for at, item in enumerate(self.items):
            if item.gram == gram:
                self.pages.skipped.discard(at)
                self.pages.position = at
        return gram

    def close(self) -> None:
        """Let the journal go; the answers can still be read."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hold_audit(
    accepted: Sequence[Counted],
    others: Sequence[Counted],
    *,
    size: int,
    seed: int,
    journal: Path,
    ask: Callable[[AuditInterview], None],
    folder: Path,
) -> AuditResult:
    """Draw a round, have it answered, write `audit.jsonl` into `folder`: what the curate stage does for `audit`."""
    items = draw_audit(accepted, others, size=size, seed=seed)
    with AuditInterview(items, journal) as interview:
        ask(interview)
    write_audit(folder, items, interview.answers)
    return estimate_audit(items, interview.answers)


def estimate_audit(items: Sequence[AuditItem], answers: Mapping[str, bool]) -> AuditResult:
    """Shares with Wilson 95 % intervals, and the recall.

    recall = U p / (U p + sum over lengths n of U_n q_n), with p the share of the set's grams judged planning, U their
    uses, q_n the share of random n-grams of n words judged planning and U_n the uses outside the set; a length without
    a judgement takes the share of all. Its interval is the middle 95 % of the recall under the Jeffreys posteriors
    Beta(yes + 1/2, no + 1/2) of all shares, from DRAWS fixed draws.
    """
    halves = {kind: [each for each in items if each.strategic == kind] for kind in (True, False)}
    strategic, random = (_share(halves[kind], answers) for kind in (True, False))
    unanswered = sum(each.gram not in answers for each in items)
    recall = Estimate(math.nan, math.nan, math.nan, strategic.judged + random.judged, strategic.planning)
    if strategic.judged and random.judged and strategic.planning + random.planning:
        recall = _recall(halves[True], halves[False], answers)
    return AuditResult(strategic, random, recall, unanswered)


def wilson_interval(yes: int, number: int) -> tuple[float, float]:
    """The 95 % interval of a share, `yes` of `number` (Wilson 1927); nan where number is 0."""
    if number == 0:
        return math.nan, math.nan
    share, z2 = yes / number, _Z_95**2
    centre = (share + z2 / (2 * number)) / (1 + z2 / number)
    reach = _Z_95 * math.sqrt(share * (1 - share) / number + z2 / (4 * number**2)) / (1 + z2 / number)
    low, high = max(0.0, centre - reach), min(1.0, centre + reach)
    return (0.0 if yes == 0 else low), (1.0 if yes == number else high)


def write_audit(folder: Path, items: Sequence[AuditItem], answers: Mapping[str, bool]) -> None:
    """`audit.jsonl`: the items in the order they were shown, with what each stood for and the answer (or null)."""
    with (folder / FILE_NAME).open("w", encoding="utf-8", newline="\n") as stream:
        for item in items:
            row = {
                "gram": item.gram,
                "strategic": item.strategic,
                "planning": answers.get(item.gram),
                "count": item.count,
                "document_frequency": item.document_frequency,
                "stands_for": item.stands_for,
            }
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def _share(items: Sequence[AuditItem], answers: Mapping[str, bool]) -> Estimate:
    judged = [answers[each.gram] for each in items if each.gram in answers]
    yes = sum(judged)
    low, high = wilson_interval(yes, len(judged))
    return Estimate(yes / len(judged) if judged else math.nan, low, high, len(judged), yes)


def _recall(strategic: Sequence[AuditItem], random: Sequence[AuditItem], answers: Mapping[str, bool]) -> Estimate:
    inside, outside = _share(strategic, answers), _share(random, answers)
    lengths = sorted({each.num_words for each in random})
    strata = [[each for each in random if each.num_words == length] for length in lengths]
    shares = [_share(each, answers) for each in strata]
    shares = [each if each.judged else outside for each in shares]
    uses = [math.fsum(each.stands_for for each in stratum) for stratum in strata]
    set_uses = math.fsum(each.stands_for for each in strategic)
    found = set_uses * inside.value
    missed = math.fsum(number * each.value for number, each in zip(uses, shares, strict=True))
    generator = generator_for(0, "audit-recall")
    found_draws = set_uses * _posterior(inside, generator)
    missed_draws = np.sum(
        [number * _posterior(each, generator) for number, each in zip(uses, shares, strict=True)], axis=0
    )
    low, high = np.quantile(found_draws / (found_draws + missed_draws), (0.025, 0.975))
    judged, planning = inside.judged + outside.judged, inside.planning + outside.planning
    return Estimate(found / (found + missed), float(low), float(high), judged, planning)


def _posterior(share: Estimate, generator: np.random.Generator) -> NDArray[np.float64]:
    return generator.beta(share.planning + 0.5, share.judged - share.planning + 0.5, DRAWS)


def _replay(row: dict[str, Any], standing: list[tuple[str, bool]], *, where: str) -> None:
    gram, judged = row.get("gram"), row.get("judged")
    if not isinstance(gram, str) or judged not in ("planning", "not planning", "undo"):
        raise DataError("this is no line of an audit's journal", where=where, fix="Remove the line")
    if judged != "undo":
        standing.append((gram, judged == "planning"))
    elif standing and standing[-1][0] == gram:
        standing.pop()
    else:
        raise DataError(f"this takes back an answer about `{gram}` that is not the last one", where=where)
