"""curate: annotations become a gram-set, with the history of every decision and the coverage on the rollouts.

A person's decisions come from a file, or in the terminal from the `ask` that the caller gives (see `interactive`); they
are written down one by one, so that nothing a person has decided is lost or asked twice.
"""

import json
import secrets
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ArtifactError, DataError, UsageError
from hicra_cli.core.progress import Progress
from hicra_cli.core.records import StrategicGram
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.annotators.base import read_annotations
from hicra_cli.grams.candidate_file import FILE_NAME as CANDIDATES_NAME
from hicra_cli.grams.candidate_file import read_candidates
from hicra_cli.grams.coverage import coverage
from hicra_cli.grams.curation import Ask, Considered, Curated, curate, open_questions
from hicra_cli.grams.decisions import Decision, append_decision, read_decisions
from hicra_cli.grams.gram_set import FILE_NAME, GramSet
from hicra_cli.grams.rollout_file import FILE_NAME as ROLLOUTS_NAME
from hicra_cli.grams.rollout_file import read_rollouts

from .annotate_grams import FILE_NAME as ANNOTATIONS_NAME
from .base import External, Input, Plan, Stage, Work, Workspace, execute
from .policies import resolve_policy

HISTORY_NAME = "history.jsonl"
RULE_FIELDS = {"min_confidence", "min_document_frequency", "nested", "nested_share", "max_grams"}


def run(config: HicraConfig, registry: Registry, progress: Progress, *, ask: Ask | None = None) -> Artifact:
    """Curate and return the gram-set; `ask` answers the questions of `curate.interactive`."""
    return execute(interactive(ask), config, registry, progress).artifact


def interactive(ask: Ask | None) -> Stage:
    """The stage with someone to ask; without one `curate.interactive` is refused."""
    return Stage("curate", "gram-set", "1", plan, partial(work, ask=ask))


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """The annotations, the decisions file by its content, and the rules."""
    annotations = registry.resolve(config.curate.annotations)
    inputs: dict[str, Input] = {"annotations": annotations}
    settings = config.curate.model_dump(mode="json", include=RULE_FIELDS)
    path = _decisions_path(config)
    if path is not None and (path.is_file() or not config.curate.interactive):
        inputs["decisions"] = _external(path)
    if config.curate.interactive:
        settings["session"] = secrets.token_hex(8)  # a person's answers are no function of the inputs: never cached
    return Plan(config.curate.name, inputs, settings, {} if path is None else {"decisions": str(path)})


def work(space: Workspace, *, ask: Ask | None = None) -> Work:
    """Write `grams.jsonl` and `history.jsonl`. DataError where no gram is accepted; nothing is published then."""
    candidates = _input_of(space.registry, space.artifact("annotations"), "candidates")
    considered = _considered(space.artifact("annotations"), candidates)
    decisions = read_decisions(space.plan.inputs["decisions"].path) if "decisions" in space.plan.inputs else {}
    curated = curate(considered, decisions, space.config.curate)
    if space.config.curate.interactive:
        decisions = _asked(space, curated, considered, decisions, ask)
        curated = curate(considered, decisions, space.config.curate)
    if not curated.accepted:
        raise _nothing_accepted(curated, space)
    gram_set = _gram_set(curated)
    _write_lines(space.folder / FILE_NAME, [_gram_row(each, curated) for each in curated.accepted])
    _write_lines(space.folder / HISTORY_NAME, _history(curated, considered))
    measured = _coverage(space, candidates, gram_set)
    return Work({**_summary(curated), "coverage": measured})


STAGE = interactive(None)


def _decisions_path(config: HicraConfig) -> Path | None:
    """The file a person's decisions are read from and, when asked in the terminal, added to."""
    if config.curate.decisions is not None or not config.curate.interactive:
        return config.curate.decisions
    return config.home / "decisions" / f"{config.curate.name}.jsonl"


def _external(path: Path) -> External:
    try:
        return External(str(path), sha256(path.read_bytes()).hexdigest(), path)
    except OSError as error:
        raise DataError(
            f"decisions cannot be read: {error.strerror}", where=str(path), fix="Check --decisions"
        ) from error


def _input_of(registry: Registry, artifact: Artifact, role: str) -> Artifact:
    for parent, found in registry.inputs(artifact):
        if found == role:
            return parent
    raise ArtifactError(f"{artifact.ref} does not know its {role}", fix=f"Make it again from {role}")


def _considered(annotations: Artifact, candidates: Artifact) -> list[Considered]:
    counted = {each.gram: each for each in read_candidates(candidates.file(CANDIDATES_NAME))}
    considered = []
    for annotation in read_annotations(annotations.file(ANNOTATIONS_NAME)):
        candidate = counted.get(annotation.gram)
        if candidate is None:
            raise ArtifactError(
                f"{annotations.ref} judges `{annotation.gram}`, which {candidates.ref} does not hold",
                fix="Repeat `hicra annotate-grams`",
            )
        considered.append(
            Considered(annotation.gram, annotation, candidate.count, candidate.document_frequency, candidate.contexts)
        )
    return considered


def _asked(
    space: Workspace, curated: Curated, considered: list[Considered], decisions: Mapping[str, Decision], ask: Ask | None
) -> dict[str, Decision]:
    """Ask about the grams the rules leave open; each answer is on disk before the next question."""
    if ask is None:
        raise UsageError("curate.interactive needs a terminal to ask in", fix="Use --decisions FILE instead")
    path = _decisions_path(space.config)
    assert path is not None
    answered = dict(decisions)
    for question in open_questions(curated, considered, space.config.curate):
        answer = ask(question)
        if answer == "stop":
            break
        if isinstance(answer, Decision):
            append_decision(path, answer)
            answered[answer.gram] = answer
    return answered


def _nothing_accepted(curated: Curated, space: Workspace) -> DataError:
    rules = Counter(each.rule for each in curated.rulings)
    counted = ", ".join(f"{number} by {rule}" for rule, number in rules.most_common())
    return DataError(
        f"no gram was accepted, so there is no gram-set: {counted or 'there were no annotations'}",
        where=space.artifact("annotations").ref,
        fix="Lower --min-confidence or --min-df, accept grams with --decisions, or collect from more solutions",
    )


def _gram_set(curated: Curated) -> GramSet:
    return GramSet(
        tuple(
            StrategicGram(tuple(each.gram.split()), curated.ruling(each.gram).move, source=_source(each, curated))
            for each in curated.accepted
        )
    )


def _source(each: Considered, curated: Curated) -> str:
    """Who brought the gram: the annotator (with its model), or a person who accepted it."""
    if curated.ruling(each.gram).by == "person" or each.annotation is None:
        return "person"
    return ":".join(part for part in (each.annotation.annotator, each.annotation.model) if part)


def _gram_row(each: Considered, curated: Curated) -> dict[str, Any]:
    move = curated.ruling(each.gram).move
    return {
        "gram": each.gram,
        "move": move.value if move else None,
        "cluster": None,
        "document_frequency": each.document_frequency,
        "count": each.count,
        "confidence": each.annotation.confidence if each.annotation else None,
        "source": _source(each, curated),
    }


def _history(curated: Curated, considered: list[Considered]) -> list[dict[str, Any]]:
    by_gram = {each.gram: each for each in considered}
    rows = []
    for ruling in curated.rulings:
        known = by_gram.get(ruling.gram)
        annotation = known.annotation if known else None
        rows.append(
            {
                "gram": ruling.gram,
                "verdict": ruling.verdict,
                "move": ruling.move.value if ruling.move else None,
                "by": ruling.by,
                "rule": ruling.rule,
                "reason": ruling.reason,
                "annotator": annotation.annotator if annotation else None,
                "model": annotation.model if annotation else None,
                "confidence": annotation.confidence if annotation else None,
                "document_frequency": known.document_frequency if known else None,
                "count": known.count if known else None,
            }
        )
    return rows


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _coverage(space: Workspace, candidates: Artifact, gram_set: GramSet) -> dict[str, float]:
    """The planning share on the rollouts that the candidates come from; empty where they are gone."""
    try:
        rollouts = _input_of(space.registry, candidates, "rollouts")
        path = rollouts.file(ROLLOUTS_NAME)
    except ArtifactError as error:
        space.progress.note(f"coverage was not measured: {error.what}")
        return {}
    tokenizer_of = lru_cache(maxsize=8)(partial(_tokenizer, space.registry))
    with space.progress.phase("measure coverage", rollouts.summary.get("rollouts")) as advance:

        def rows() -> Any:
            for row in read_rollouts(path):
                yield row
                advance()

        return coverage(gram_set, rows(), tokenizer_of).to_summary()


def _tokenizer(registry: Registry, policy: str | None) -> Any | None:
    """The tokenizer of a sampled policy, where its folder can still be reached."""
    if policy is None:
        return None
    from hicra_cli.engine.policy import load_tokenizer

    try:
        return load_tokenizer(resolve_policy(policy, registry).path)
    except (ArtifactError, UsageError):
        return None


def _summary(curated: Curated) -> dict[str, Any]:
    moves = Counter(str(curated.ruling(each.gram).move or "none") for each in curated.accepted)
    rejected = Counter(each.rule for each in curated.rulings if each.verdict == "reject")
    return {
        "grams": len(curated.accepted),
        "moves": dict(sorted(moves.items())),
        "rejected": dict(sorted(rejected.items())),
        "by_person": sum(each.by == "person" for each in curated.rulings),
    }
