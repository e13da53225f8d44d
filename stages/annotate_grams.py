"""annotate-grams: which candidates are strategic and which move they make, by the configured annotator."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ServiceError
from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.annotators.base import Annotation, Annotator, read_annotations
from hicra_cli.grams.candidate_file import FILE_NAME as CANDIDATES_NAME
from hicra_cli.grams.candidate_file import read_candidates

from .base import Plan, Stage, Work, Workspace, execute

FILE_NAME = "annotations.jsonl"
LEDGER_NAME = "answers.jsonl"


def run(config: HicraConfig, registry: Registry, progress: Progress) -> Artifact:
    """Annotate candidates and return the artifact; an equal run before is not repeated."""
    return execute(STAGE, config, registry, progress).artifact


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """What can change an annotation; for gemini the model and the prompt too, not the patience or the concurrency."""
    annotate = config.annotate
    candidates = registry.resolve(annotate.candidates)
    settings: dict[str, Any] = {"annotators": annotate.annotators, "max_grams": annotate.max_grams}
    if "gemini" in annotate.annotators:
        from hicra_cli.grams.annotators.gemini_prompt import PROMPT_VERSION

        settings["gemini"] = annotate.gemini.model_dump(mode="json")
        settings |= annotate.service.model_dump(mode="json", include={"batch_size", "temperature"})
        settings["prompt_version"] = PROMPT_VERSION
    return Plan(annotate.name, {"candidates": candidates}, settings)


def work(space: Workspace) -> Work:
    """Write `annotations.jsonl`, in the order of the candidates."""
    candidates = read_candidates(space.artifact("candidates").file(CANDIDATES_NAME))
    chosen = candidates[: space.config.annotate.max_grams]
    annotator = _annotator(space)
    path = space.folder / FILE_NAME
    # There in a resumed draft only: the earlier attempt was stopped after its last answer, before publication.
    annotations = read_annotations(path) if path.exists() else list(annotator.annotate(chosen, space.progress))
    summary = _summary(annotations, left_out=len(candidates) - len(chosen))
    if annotations and not summary["labelled"]:
        raise ServiceError(
            f"{annotator.name} labelled none of {len(annotations)} grams: {annotations[0].reason}",
            fix="Try another model, or --annotator lexicon",
        )
    _write(path, annotations)
    # Published are the answers in the candidates' order; the ledger's order is that of their arrival.
    (space.folder / LEDGER_NAME).unlink(missing_ok=True)
    if summary["unlabelled"]:
        space.progress.warn(f"{summary['unlabelled']} of {len(annotations)} grams got no usable answer")
    return Work(summary)


STAGE = Stage("annotate-grams", "annotations", "1", plan, work, resumable=True)


def _annotator(space: Workspace) -> Annotator:
    if space.config.annotate.annotators == ["gemini"]:
        from hicra_cli.grams.annotators.gemini import GeminiAnnotator, gemini_key

        ledger = space.folder / LEDGER_NAME
        return GeminiAnnotator(space.config.annotate, key=gemini_key(), ledger=ledger, seed=space.config.seed)
    from hicra_cli.grams.annotators.lexicon import LexiconAnnotator

    return LexiconAnnotator()


def _write(path: Path, annotations: list[Annotation]) -> None:
    """At once or not at all: until the file is there, the ledger is what a resumed run goes on from."""
    unfinished = path.with_suffix(".unfinished")
    lines = [json.dumps(each.to_row(), ensure_ascii=False) + "\n" for each in annotations]
    with unfinished.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(lines)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(unfinished, path)


def _summary(annotations: list[Annotation], *, left_out: int) -> dict[str, Any]:
    moves = Counter(each.move.value if each.move else "none" for each in annotations if each.labelled)
    return {
        "grams": len(annotations),
        "labelled": sum(moves.values()),
        "unlabelled": len(annotations) - sum(moves.values()),
        "left_out": left_out,
        "moves": dict(sorted(moves.items())),
    }
