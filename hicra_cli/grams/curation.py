"""From annotated candidates to a gram-set: thresholds, nested grams, lists, a person's decisions, and why each fell.

A person's decision stands above every list, a list above every rule. Every considered gram leaves one line of history:
accepted or rejected, by which rule or by whom, and why.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hicra_cli.config.curate import CurateConfig
from hicra_cli.core.records import Move
from hicra_cli.grams.annotators.base import Annotation
from hicra_cli.grams.decisions import Decision

Verdict = Literal["accept", "reject"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A gram that a list or another gram-set brings. by: which one (`import:FILE`); source: where it has it from."""

    by: str
    source: str
    move: Move | None = None
    cluster: int | None = None


@dataclass(frozen=True, slots=True)
class Considered:
    """A gram before curation: what is said about it and its figures in the corpus.

    annotation: None where no annotator saw it. listed: where a list brings it.
    """

    gram: str
    annotation: Annotation | None
    count: int
    document_frequency: int
    contexts: tuple[str, ...] = ()
    listed: Listed | None = None

    @property
    def move(self) -> Move | None:
        """The list's move, else the annotator's."""
        listed = self.listed.move if self.listed else None
        return listed or (self.annotation.move if self.annotation else None)

    @property
    def cluster(self) -> int | None:
        """Number of its cluster, where there are any."""
        annotated = self.annotation.cluster if self.annotation else None
        return annotated if annotated is not None or self.listed is None else self.listed.cluster


@dataclass(frozen=True, slots=True)
class Ruling:
    """What became of a gram. by: `rule`, `person`, or the list that brings it (`import:FILE`); rule: its name (for a
    person `decision`, or `missed` for accepting what no annotator called strategic); reason: in words, with figures.
    """

    gram: str
    verdict: Verdict
    move: Move | None
    by: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Curated:
    """The rulings on all considered grams, most widespread first, and the accepted ones in the same order."""

    rulings: tuple[Ruling, ...]
    accepted: tuple[Considered, ...]
    _by_gram: Mapping[str, Ruling] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_gram", {each.gram: each for each in self.rulings})

    def ruling(self, gram: str) -> Ruling:
        """The ruling on a gram; KeyError where it was not considered."""
        return self._by_gram[gram]


@dataclass(frozen=True, slots=True)
class Question:
    """A gram the rules leave open, as a person is asked about it: with the rules' own view."""

    considered: Considered
    suggested: Ruling
    number: int
    total: int


def curate(considered: Sequence[Considered], decisions: Mapping[str, Decision], config: CurateConfig) -> Curated:
    """Decide about every gram. Does not depend on the order of `considered`."""
    ordered = sorted([*considered, *_additions(considered, decisions)], key=_rank)
    rulings = {each.gram: _ruling(each, decisions.get(each.gram), config) for each in ordered}
    rulings.update(_nested(ordered, rulings, config))
    rulings.update(_beyond(ordered, rulings, config.max_grams))
    return Curated(
        rulings=tuple(rulings[each.gram] for each in ordered),
        accepted=tuple(each for each in ordered if rulings[each.gram].verdict == "accept"),
    )


def open_questions(curated: Curated, considered: Sequence[Considered], config: CurateConfig) -> list[Question]:
    """The grams a person should see, if no person has decided them: those annotated with a move and common enough, then
    those a list brings.

    Those nearest to the confidence threshold come first: there a person's minute changes most.
    """
    asked = [each for each in considered if _is_open(each, curated.ruling(each.gram), config)]
    asked.sort(key=lambda each: (_distance(each, config), _rank(each)))
    return numbered([(each, curated.ruling(each.gram)) for each in asked])


def numbered(asked: Sequence[tuple[Considered, Ruling]]) -> list[Question]:
    """Questions in this order; the ruling is what becomes of the gram when nobody answers."""
    return [Question(each, suggested, at, len(asked)) for at, (each, suggested) in enumerate(asked, start=1)]


def decided_by(ruling: Ruling, considered: Considered | None) -> str:
    """Who or what decided: `person`, a list, the annotator with its model where its label decided, else `rule`."""
    annotation = considered.annotation if considered else None
    if ruling.by != "rule" or annotation is None or ruling.rule not in ("accepted", "not_strategic", "unlabelled"):
        return ruling.by
    return annotator_of(annotation)


def annotator_of(annotation: Annotation) -> str:
    """The annotator, with its model where it has one."""
    return ":".join(part for part in (annotation.annotator, annotation.model) if part)


def _is_open(each: Considered, ruling: Ruling, config: CurateConfig) -> bool:
    if each.listed is not None:
        return ruling.by != "person"
    return (
        each.annotation is not None
        and each.annotation.move is not None
        and each.document_frequency >= config.min_document_frequency
        and ruling.by == "rule"
        and ruling.rule in ("confidence", "accepted")
    )


def _distance(each: Considered, config: CurateConfig) -> float:
    if each.listed is not None or each.annotation is None:
        return math.inf
    return round(abs(each.annotation.confidence - config.min_confidence), 6)


def _rank(each: Considered) -> tuple[int, int, str]:
    return -each.document_frequency, -each.count, each.gram


def _additions(considered: Iterable[Considered], decisions: Mapping[str, Decision]) -> list[Considered]:
    """Grams a person decides about that no annotation covers: additions when accepted, notes when rejected."""
    known = {each.gram for each in considered}
    return [Considered(gram, None, 0, 0) for gram in decisions if gram not in known]


def _ruling(each: Considered, decision: Decision | None, config: CurateConfig) -> Ruling:
    if decision is not None:
        return _by_person(each, decision)
    if each.listed is not None:
        return Ruling(each.gram, "accept", each.move, each.listed.by, "listed", f"from {each.listed.source}")
    return _by_threshold(each, config)


def _by_person(each: Considered, decision: Decision) -> Ruling:
    was_missed = decision.verdict == "accept" and each.listed is None and each.move is None
    rule = "missed" if was_missed else "decision"
    return Ruling(each.gram, decision.verdict, decision.move or each.move, "person", rule, decision.reason)


def _by_threshold(each: Considered, config: CurateConfig) -> Ruling:
    annotation = each.annotation
    if annotation is None:
        return Ruling(each.gram, "reject", None, "rule", "unknown", "no annotation")
    if not annotation.labelled:
        return _reject(each, "unlabelled", annotation.reason)
    if annotation.move is None:
        return _reject(each, "not_strategic", annotation.reason)
    if each.document_frequency < config.min_document_frequency:
        figures = f"{each.document_frequency} problems use it, {config.min_document_frequency} are needed"
        return _reject(each, "document_frequency", figures)
    if annotation.confidence < config.min_confidence:
        figures = f"confidence {annotation.confidence:g} is below {config.min_confidence:g}: {annotation.reason}"
        return _reject(each, "confidence", figures)
    return Ruling(each.gram, "accept", annotation.move, "rule", "accepted", annotation.reason)


def _reject(each: Considered, rule: str, reason: str) -> Ruling:
    move = each.annotation.move if each.annotation else None
    return Ruling(each.gram, "reject", move, "rule", rule, reason)


def _nested(ordered: Sequence[Considered], rulings: Mapping[str, Ruling], config: CurateConfig) -> dict[str, Ruling]:
    """Rejections of grams that occur mostly as part of a kept longer one (or, with `shortest`, the other way round).

    Lengths are gone through from the kept end, so that a gram is only ever dropped for one that stays. Neither a
    person's decision nor a list is overruled.
    """
    if config.nested == "keep":
        return {}
    accepted = [each for each in ordered if rulings[each.gram].verdict == "accept"]
    by_gram = {each.gram: each for each in accepted}
    dropped: dict[str, Ruling] = {}
    for longer in sorted(accepted, key=lambda each: -len(each.gram.split())) if config.nested == "maximal" else ():
        if longer.gram in dropped:
            continue
        for inner in _inside(longer.gram):
            shorter = by_gram.get(inner)
            if shorter is not None and _covers(longer, shorter, config) and rulings[inner].by == "rule":
                dropped.setdefault(inner, _reject(shorter, "nested", _share(longer, shorter)))
    if config.nested == "shortest":
        for longer in sorted(accepted, key=lambda each: len(each.gram.split())):
            for inner in _inside(longer.gram):
                shorter = by_gram.get(inner)
                if shorter is None or inner in dropped or rulings[longer.gram].by != "rule":
                    continue
                if _covers(longer, shorter, config):
                    dropped.setdefault(longer.gram, _reject(longer, "nested", _share(longer, shorter)))
    return dropped


def _inside(gram: str) -> list[str]:
    """The distinct shorter grams inside a gram."""
    words = gram.split()
    found = {
        " ".join(words[start : start + length])
        for length in range(1, len(words))
        for start in range(len(words) - length + 1)
    }
    return sorted(found)


def _covers(longer: Considered, shorter: Considered, config: CurateConfig) -> bool:
    return shorter.count > 0 and longer.count >= config.nested_share * shorter.count


def _share(longer: Considered, shorter: Considered) -> str:
    return f"{longer.count} of {shorter.count} uses of `{shorter.gram}` are inside `{longer.gram}`"


def _beyond(ordered: Sequence[Considered], rulings: Mapping[str, Ruling], limit: int) -> dict[str, Ruling]:
    """Rejections beyond the limit, in grams the rules accepted; listed and a person's only count.

    First go grams whose every word lies inside shorter accepted ones (the mask is the same without them: 65 of the 500
    most widespread in real long rollouts), then the least widespread.
    """
    accepted = [each for each in ordered if rulings[each.gram].verdict == "accept"]
    members = {tuple(each.gram.split()) for each in accepted}
    by_rule = [each for each in accepted if rulings[each.gram].by == "rule"]
    covered = [each for each in by_rule if not num_uncovered(tuple(each.gram.split()), members)]
    needed = {each.gram for each in by_rule} - {each.gram for each in covered}
    first_kept = [*(each for each in by_rule if each.gram in needed), *covered]
    room = max(0, limit - (len(accepted) - len(by_rule)))
    dropped = {}
    for each in first_kept[room:]:
        reason = f"the {limit} most widespread are kept"
        if each.gram not in needed:
            reason += ", and this one's words lie inside shorter grams of the set"
        dropped[each.gram] = replace(rulings[each.gram], verdict="reject", rule="max_grams", reason=reason)
    return dropped


def num_uncovered(words: tuple[str, ...], members: Collection[tuple[str, ...]]) -> int:
    """Words of a gram that no shorter one of `members` inside it covers."""
    covered = [False] * len(words)
    for length in range(1, len(words)):
        for start in range(len(words) - length + 1):
            if words[start : start + length] in members:
                covered[start : start + length] = [True] * length
    return covered.count(False)
