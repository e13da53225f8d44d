"""curate: annotations, lists and a person's decisions become a gram-set, with the history of every decision.

The artifact holds `grams.jsonl`, `history.jsonl` (who or what decided each gram), `decisions.jsonl` (a person's, where
there are any), `missed.jsonl` (proposals near the set), `coverage.json`, `review.html`, and `audit.jsonl` after a blind
round. A person's decisions come from a file, or in the terminal from the functions that the caller gives (see
`interactive`); they are written down one by one, so that nothing a person has decided is lost or asked twice.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import DataError, UsageError
from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.audit import AuditInterview, AuditResult, hold_audit
from hicra_cli.grams.candidates import Candidate
from hicra_cli.grams.curation import Considered, Curated, Question, Ruling, curate, numbered, open_questions
from hicra_cli.grams.decisions import Decision
from hicra_cli.grams.gram_set import FILE_NAME, GramSet
from hicra_cli.grams.history import HISTORY_NAME, curation_summary, gram_rows, gram_set_of, history_rows
from hicra_cli.grams.interview import Interview
from hicra_cli.grams.lists import write_gram_list
from hicra_cli.grams.missed import Missed, propose_missed
from hicra_cli.report.gram_review import GramFacts

from .base import Plan, Stage, Work, Workspace, execute
from .curate_controls import work_control
from .curate_inputs import (
    candidates_of,
    considered_grams,
    counted_grams,
    curate_inputs,
    decisions_path,
    given_decisions,
    journal_path,
    set_name,
)
from .curate_output import measure, write_lines, write_review

DECISIONS_NAME = "decisions.jsonl"
MISSED_NAME = "missed.jsonl"
RULE_FIELDS = {
    "min_confidence",
    "min_document_frequency",
    "nested",
    "nested_share",
    "max_grams",
    "missed",
    "audit",
    "placebo",
    "drop",
}
LEFT_OUT_ON_PURPOSE = ("nested", "max_grams", "confidence", "document_frequency")

Ask = Callable[[Interview | AuditInterview], None]
"""Leads a person through an interview or a blind round, to its end or until the person stops."""


def run(
    config: HicraConfig,
    registry: Registry,
    progress: Progress,
    *,
    ask: Ask | None = None,
) -> Artifact:
    """Curate and return the gram-set, written to `curate.export` too where that is given."""
    artifact = execute(interactive(ask), config, registry, progress).artifact
    if config.curate.export is not None:
        export_grams(artifact, config.curate.export)
    return artifact


def interactive(ask: Ask | None) -> Stage:
    """The stage with someone to ask; without, `curate.interactive` and `curate.audit` are refused."""
    return Stage("curate", "gram-set", "2", plan, partial(work, ask=ask))


def export_grams(artifact: Artifact, path: Path) -> None:
    """Write a published gram-set as a list (text, or JSON lines by the name). The stage itself may have been cached."""
    write_gram_list(path, GramSet.load(artifact.file(FILE_NAME)))


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """What the set is made from, files by their content, and the rules."""
    inputs = curate_inputs(config, registry)
    settings = config.curate.model_dump(mode="json", include=RULE_FIELDS)
    settings |= {"seed": config.seed, "coverage": config.train.coverage.model_dump(mode="json")}
    if config.curate.imports or "decisions" in inputs:
        settings["words"] = [config.collect.ngram_min, config.collect.ngram_max]
    if config.curate.interactive or config.curate.audit:
        settings["session"] = secrets.token_hex(8)  # a person's answers are no function of the inputs: never cached
    name = set_name(config, inputs.get("gram_set"))
    path = decisions_path(config, name)
    return Plan(name, inputs, settings, {} if path is None else {"decisions": str(path)})


def work(space: Workspace, *, ask: Ask | None = None) -> Work:
    """Write the artifact's files. DataError where no gram is accepted; nothing is published then."""
    _require_person(space.config, ask)
    if space.config.curate.placebo or space.config.curate.drop:
        return work_control(space)
    material = _material(space)
    decisions = given_decisions(space, material.counted)
    if ask is not None and space.config.curate.interactive:
        decisions = _asked(material, decisions, ask)
    elif not decisions and (kept := journal_path(space.config, space.plan.name)).is_file():
        space.progress.note(f"the answers in {kept} are not used here; --decisions {kept} applies them")
    considered, curated = material.curated(decisions)
    if not curated.accepted:
        raise _nothing_accepted(curated, space)
    return _written(material, considered, curated, decisions, ask)


STAGE = interactive(None)


@dataclass(frozen=True, slots=True)
class _Material:
    """What everything is made from."""

    space: Workspace
    candidates: Artifact | None
    counted: Mapping[str, Candidate]

    def curated(self, decisions: Mapping[str, Decision]) -> tuple[list[Considered], Curated]:
        """The considered grams and what becomes of them under these decisions."""
        considered = considered_grams(self.space, self.candidates, self.counted, decisions)
        return considered, curate(considered, decisions, self.space.config.curate)

    def missed(self, considered: Sequence[Considered], curated: Curated) -> list[Missed]:
        """Proposals near the accepted grams; nothing that was decided or is left out by a threshold."""
        known = {each.gram: each.cluster for each in considered}
        return propose_missed(
            gram_set_of(curated).grams,
            list(self.counted.values()),
            passed_over={
                each.gram for each in curated.rulings if each.by != "rule" or each.rule in LEFT_OUT_ON_PURPOSE
            },
            judged={each.gram for each in curated.rulings if each.rule == "not_strategic"},
            clusters={gram: cluster for gram, cluster in known.items() if cluster is not None},
            limit=self.space.config.curate.missed,
        )


def _material(space: Workspace) -> _Material:
    candidates = candidates_of(space)
    return _Material(space, candidates, counted_grams(candidates))


def _require_person(config: HicraConfig, ask: Ask | None) -> None:
    if config.curate.interactive and ask is None:
        raise UsageError("curate.interactive needs a terminal to ask in", fix="Use --decisions FILE instead")
    if config.curate.audit and ask is None:
        raise UsageError("curate.audit needs a terminal to ask in", fix="Run `hicra curate --audit` in one")


def _asked(material: _Material, decisions: Mapping[str, Decision], ask: Ask) -> dict[str, Decision]:
    """Ask about the grams the rules leave open, then about missed ones; each answer is on disk before the next."""
    questions = _questions(material, decisions)
    with Interview(questions, journal_path(material.space.config, material.space.plan.name), decisions) as interview:
        ask(interview)
        return interview.decisions


def _questions(material: _Material, decisions: Mapping[str, Decision]) -> list[Question]:
    """All that is to be asked. The first part does not depend on decisions, so that a resumed interview finds its
    place; what was missed does: near a gram accepted today lies what is asked tomorrow.
    """
    config = material.space.config.curate
    plain, by_rules = material.curated({})
    asked = [(each.considered, each.suggested) for each in open_questions(by_rules, plain, config)]
    known = {each.gram for each, _ in asked}
    considered, curated = material.curated(decisions)
    asked += [
        (each, Ruling(each.gram, "reject", each.move, "rule", "missed", "decided before"))
        for each in considered
        if each.gram in decisions and each.gram not in known
    ]
    by_gram = {each.gram: each for each in considered}
    for missed in material.missed(considered, curated) if curated.accepted else ():
        gram = missed.candidate.gram
        ruling = Ruling(gram, "reject", missed.move, "rule", "missed", missed.reason)
        asked.append((by_gram.get(gram) or _of_candidate(missed.candidate), ruling))
    return numbered(asked)


def _of_candidate(candidate: Candidate) -> Considered:
    return Considered(candidate.gram, None, candidate.count, candidate.document_frequency, candidate.contexts)


def _nothing_accepted(curated: Curated, space: Workspace) -> DataError:
    rules = Counter(each.rule for each in curated.rulings)
    counted = ", ".join(f"{number} by {rule}" for rule, number in rules.most_common())
    return DataError(
        f"no gram was accepted, so there is no gram-set: {counted or 'there were no annotations'}",
        where=", ".join(each.ref for role, each in space.plan.inputs.items() if role in ("annotations", "gram_set")),
        fix="Lower --min-confidence or --min-df, accept grams with --decisions, or collect from more solutions",
    )


def _written(
    material: _Material,
    considered: Sequence[Considered],
    curated: Curated,
    decisions: Mapping[str, Decision],
    ask: Ask | None,
) -> Work:
    """All files of the artifact and its summary."""
    space = material.space
    history = history_rows(curated, considered)
    write_lines(space.folder / FILE_NAME, gram_rows(curated))
    write_lines(space.folder / HISTORY_NAME, history)
    if decisions:
        write_lines(space.folder / DECISIONS_NAME, [decision.to_row() for decision in decisions.values()])
    missed = material.missed(considered, curated) if material.counted else []
    if material.counted:
        write_lines(space.folder / MISSED_NAME, [each.to_row() for each in missed])
    measured = measure(space, material.candidates, gram_set_of(curated))
    audit = _audited(material, curated, ask)
    contexts = {each.gram: each.contexts for each in considered}
    write_review(space, history, contexts, missed=list(map(_missed_facts, missed)), measured=measured, audit=audit)
    summary = {
        **curation_summary(curated, considered),
        "missed": len(missed),
        "coverage": measured.coverage.to_summary() if measured else {},
    }
    return Work(summary if audit is None else {**summary, "audit": audit.to_summary()})


def _audited(material: _Material, curated: Curated, ask: Ask | None) -> AuditResult | None:
    """The blind round over this set, where one is wanted."""
    config = material.space.config
    if ask is None or not config.curate.audit:
        return None
    return hold_audit(
        curated.accepted,
        list(material.counted.values()),
        size=config.curate.audit,
        seed=config.seed,
        journal=config.home / "audits" / f"{material.space.plan.name}.jsonl",
        ask=ask,
        folder=material.space.folder,
    )


def _missed_facts(missed: Missed) -> GramFacts:
    return GramFacts(
        gram=missed.candidate.gram,
        move=missed.move.value if missed.move else None,
        by="rule",
        rule="missed",
        reason=missed.reason,
        count=missed.candidate.count,
        document_frequency=missed.candidate.document_frequency,
        contexts=missed.candidate.contexts,
    )
