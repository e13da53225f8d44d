"""annotate-grams: which candidates are strategic and which move they make, by one annotator or several.

Every annotator judges all grams, services as often as `votes` says. One judgement per gram is published as it is;
several are combined (see `grams/annotators/combine.py`), kept one by one in `judgements.jsonl`, and where they part
listed in `disagreements.jsonl`. What was paid for or took long lies beside the draft until publication, so that a
resumed run asks nothing twice.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hicra_cli.config.annotate import AnnotateConfig, AnnotatorName
from hicra_cli.config.root import HicraConfig
from hicra_cli.core.errors import ConfigError, ServiceError
from hicra_cli.core.filesystem import write_durably
from hicra_cli.core.progress import Progress
from hicra_cli.core.registry import Artifact, Registry
from hicra_cli.grams.annotators.base import Annotation, Annotator, Billed, Reporting, read_annotations
from hicra_cli.grams.annotators.combine import Combined, Judgement, agreement_figures, combine, disagreements
from hicra_cli.grams.candidate_file import FILE_NAME as CANDIDATES_NAME
from hicra_cli.grams.candidate_file import read_candidates
from hicra_cli.grams.candidates import Candidate

from .base import External, Input, Plan, Stage, Work, Workspace, execute
from .policies import folder_digest
from .solutions import rollouts_of, solutions_of

if TYPE_CHECKING:
    from hicra_cli.grams.annotators.service import Estimate

FILE_NAME = "annotations.jsonl"
JUDGEMENTS_NAME = "judgements.jsonl"
DISAGREEMENTS_NAME = "disagreements.jsonl"
CLUSTERS_NAME = "clusters.json"
# What else is in that section is patience, pace and money, which change no answer.
JUDGING_FIELDS = {"batch_size", "temperature", "canaries", "max_output_tokens"}

ServiceName = Literal["gemini", "openai"]


def run(config: HicraConfig, registry: Registry, progress: Progress) -> Artifact:
    """Annotate candidates and return the artifact; an equal run before is not repeated."""
    return execute(STAGE, config, registry, progress).artifact


def plan(config: HicraConfig, registry: Registry) -> Plan:
    """What can change an annotation; for services the model and the prompt, not the patience, concurrency or price."""
    annotate = config.annotate
    candidates = registry.resolve(annotate.candidates)
    inputs: dict[str, Input] = {"candidates": candidates}
    settings: dict[str, Any] = {"annotators": annotate.annotators, "max_grams": annotate.max_grams}
    if services := _service_names(annotate):
        settings |= _service_settings(annotate, services)
        settings["seed"] = config.seed
    if "cluster" in annotate.annotators:
        inputs["rollouts"] = rollouts_of(registry, candidates)
        inputs |= _encoder(annotate)
        embedder = inputs["embedder"].ref if "embedder" in inputs else "lsa"
        settings["cluster"] = annotate.cluster.model_dump(mode="json") | {"embedder": embedder}
        settings["seed"] = config.seed
    return Plan(annotate.name, inputs, settings)


def estimates(config: HicraConfig, registry: Registry) -> dict[str, "Estimate"]:
    """What asking the services would take, by annotator, with the first prompt in full; nothing is sent."""
    services = _service_names(config.annotate)
    if not services:
        return {}
    from hicra_cli.grams.annotators.service import estimate

    candidates = registry.resolve(config.annotate.candidates)
    chosen = read_candidates(candidates.file(CANDIDATES_NAME))[: config.annotate.max_grams]
    return {name: estimate(name, config.annotate, chosen, votes=config.annotate.votes) for name in services}


def work(space: Workspace) -> Work:
    """Write `annotations.jsonl`, in the order of the candidates, and what several judgements and clusters add."""
    candidates = read_candidates(space.artifact("candidates").file(CANDIDATES_NAME))
    chosen = candidates[: space.config.annotate.max_grams]
    voices = _voices(space)
    heard = [_heard(space, voice, chosen) for voice in voices]
    if len(heard) == 1:
        annotations, agreement = [each.annotation for each in heard[0]], {}
    else:
        combined = [combine(judgements) for judgements in zip(*heard, strict=True)]
        annotations = [each.annotation for each in combined]
        agreement = {"agreement": _write_judgements(space.folder, combined, chosen)}
    _write_lines(space.folder / FILE_NAME, annotations)
    summary = {
        **_summary(annotations, left_out=len(candidates) - len(chosen)),
        **_cost(voices),
        **_clusters(space.folder / CLUSTERS_NAME),
        **agreement,
    }
    if summary["unlabelled"]:
        space.progress.warn(f"{summary['unlabelled']} of {len(annotations)} grams got no usable answer")
    return Work(summary)


STAGE = Stage("annotate-grams", "annotations", "2", plan, work, resumable=True)


@dataclass(frozen=True, slots=True)
class _Voice:
    """One annotator asked one time, ready to judge."""

    annotator: Annotator
    vote: int


def _service_names(annotate: AnnotateConfig) -> list[ServiceName]:
    return [name for name in annotate.annotators if name == "gemini" or name == "openai"]


def _service_settings(annotate: AnnotateConfig, services: Sequence[ServiceName]) -> dict[str, Any]:
    from hicra_cli.grams.annotators.prompt import PROMPT_VERSION

    settings = annotate.service.model_dump(mode="json", include=JUDGING_FIELDS)
    if "gemini" in services:
        # Half the price, but the same model and the same questions.
        settings["gemini"] = annotate.gemini.model_dump(mode="json", exclude={"batch_api"})
    if "openai" in services:
        if not annotate.openai.model:
            raise ConfigError(
                "annotate.openai.model is not set: which model is to be asked?",
                fix="Name one that the server lists, with --model",
            )
        settings["openai"] = annotate.openai.model_dump(mode="json")
    return {**settings, "votes": annotate.votes, "prompt_version": PROMPT_VERSION}


def _encoder(annotate: AnnotateConfig) -> dict[str, Input]:
    """The encoder that `embedder` means here and now, by its content; nothing for lsa, which is made of the grams."""
    from hicra_cli.grams.embeddings import encoder_folder

    found = encoder_folder(annotate.cluster.embedder)
    return {} if found is None else {"embedder": External(found[0], folder_digest(found[1]), found[1])}


def _voices(space: Workspace) -> list[_Voice]:
    """Every annotator as often as it is asked. All are built before the first works: a missing key costs nothing."""
    annotate = space.config.annotate
    services = _service_names(annotate)
    if annotate.votes > 1 and not services:
        space.progress.note(
            "--votes asks gemini and openai several times; the offline annotators say the same each time"
        )
    asked = _services(space, services) if services else {}
    return [
        voice
        for name in annotate.annotators
        for voice in (asked[name] if name in asked else [_Voice(_offline(space, name), 0)])
    ]


def _services(space: Workspace, names: Sequence[ServiceName]) -> dict[str, list[_Voice]]:
    from hicra_cli.grams.annotators.budget import Budget
    from hicra_cli.grams.annotators.service import build_service

    annotate, seed, answers = space.config.annotate, space.config.seed, _answers(space)
    budget = Budget(annotate.service.max_cost)

    def voice(name: ServiceName, vote: int) -> _Voice:
        ledger = answers / f"{name}-{vote}.jsonl"
        return _Voice(build_service(name, annotate, ledger=ledger, seed=seed, vote=vote, budget=budget), vote)

    return {name: [voice(name, vote) for vote in range(annotate.votes)] for name in names}


def _answers(space: Workspace) -> Path:
    """Beside the payload of the draft: never published, there for a resumed run, gone with the draft."""
    folder = space.folder.parent / "answers"
    folder.mkdir(exist_ok=True)
    return folder


def _offline(space: Workspace, name: AnnotatorName) -> Annotator:
    if name == "cluster":
        from hicra_cli.grams.annotators.cluster import ClusterAnnotator

        solutions = solutions_of(space.registry, space.artifact("candidates"))
        return ClusterAnnotator(space.config.annotate, solutions=solutions, seed=space.config.seed)
    from hicra_cli.grams.annotators.lexicon import LexiconAnnotator

    return LexiconAnnotator()


def _heard(space: Workspace, voice: _Voice, chosen: Sequence[Candidate]) -> list[Judgement]:
    """All judgements of one voice. Raises ServiceError where it labelled nothing at all."""
    if isinstance(voice.annotator, Reporting):
        annotations = _clustered(space, voice.annotator, chosen)
    else:
        annotations = list(voice.annotator.annotate(chosen, space.progress))
    if annotations and not any(each.labelled for each in annotations):
        raise ServiceError(
            f"{voice.annotator.name} labelled none of {len(annotations)} grams: {annotations[0].reason}",
            fix="Try another model, or --annotator lexicon",
        )
    return [Judgement(each, voice.vote) for each in annotations]


def _clustered(space: Workspace, annotator: Annotator, chosen: Sequence[Candidate]) -> list[Annotation]:
    """The annotations of clusters, with `clusters.json`; a resumed run takes over those of an earlier attempt."""
    kept = _answers(space) / f"{annotator.name}.jsonl"
    if kept.exists():
        return read_annotations(kept)
    annotations = list(annotator.annotate(chosen, space.progress))
    assert isinstance(annotator, Reporting)
    text = json.dumps(annotator.report, ensure_ascii=False, indent=1)
    (space.folder / CLUSTERS_NAME).write_text(text + "\n", encoding="utf-8")
    write_durably(kept, _lines(annotations).encode())
    return annotations


def _lines(rows: Iterable[Annotation | Judgement]) -> str:
    return "".join(json.dumps(each.to_row(), ensure_ascii=False) + "\n" for each in rows)


def _write_lines(path: Path, rows: Iterable[Annotation | Judgement]) -> None:
    path.write_text(_lines(rows), encoding="utf-8", newline="\n")


def _write_judgements(folder: Path, combined: Sequence[Combined], chosen: Sequence[Candidate]) -> dict[str, Any]:
    """Keep every single judgement and list the disputed grams; returns the agreement figures."""
    _write_lines(folder / JUDGEMENTS_NAME, (judged for each in combined for judged in each.judgements))
    disputed = disagreements(combined, {candidate.gram: candidate for candidate in chosen})
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in disputed)
    (folder / DISAGREEMENTS_NAME).write_text(text, encoding="utf-8", newline="\n")
    return agreement_figures(combined)


def _summary(annotations: Sequence[Annotation], *, left_out: int) -> dict[str, Any]:
    moves = Counter(each.move.value if each.move else "none" for each in annotations if each.labelled)
    return {
        "grams": len(annotations),
        "labelled": sum(moves.values()),
        "unlabelled": len(annotations) - sum(moves.values()),
        "left_out": left_out,
        "moves": dict(sorted(moves.items())),
    }


def _cost(voices: Sequence[_Voice]) -> dict[str, Any]:
    """What the services have billed, all attempts together; nothing where none was asked. usd: None: price unknown."""
    spent = [voice.annotator.spent for voice in voices if isinstance(voice.annotator, Billed)]
    if not spent:
        return {}
    costs = [each.cost for each in spent]
    return {
        "cost": {
            "requests": sum(each.requests for each in spent),
            "input_tokens": sum(each.input_tokens for each in spent),
            "output_tokens": sum(each.output_tokens for each in spent),
            "usd": None if None in costs else round(sum(cost for cost in costs if cost is not None), 6),
            "lost_usd": round(sum(each.lost_cost for each in spent), 6),
        }
    }


def _clusters(path: Path) -> dict[str, int]:
    """How many clusters there are, where there are any."""
    return {"clusters": json.loads(path.read_text(encoding="utf-8"))["clusters"]} if path.exists() else {}
