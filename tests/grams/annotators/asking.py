"""What the tests of both services share: candidates, settings, and one call of an annotator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from hicra_cli.config.annotate import AnnotateConfig
from hicra_cli.config.annotate_service import GeminiConfig, OpenAIConfig
from hicra_cli.core.progress import Progress, SilentProgress
from hicra_cli.grams.annotators.base import Annotation
from hicra_cli.grams.annotators.budget import Budget
from hicra_cli.grams.annotators.service import ServiceAnnotator, build_service
from hicra_cli.grams.candidates import Candidate

from .service_server import ServiceServer, move_of

Provider = Literal["gemini", "openai"]
SECRET = "sk-AIza-test-key-that-must-never-be-seen"
VARIABLE = {"gemini": "GEMINI_API_KEY", "openai": "OPENAI_API_KEY"}
GRAMS = ("let me check", "this implies that", "another way to", "is equal to the", "we know that", "wait that is not")
EXPECTED = {gram: move_of(gram) for gram in GRAMS}
LEDGER = "answers.jsonl"


def candidates(*grams: str) -> list[Candidate]:
    return [Candidate(gram, len(gram.split()), 9, 5, 4, (), (f"so {gram} we see", "elsewhere")) for gram in grams]


def settings(provider: Provider, server: ServiceServer, **changes: Any) -> AnnotateConfig:
    """A setting named in `changes` goes to the provider's section where it is one of its fields, else to `service`."""
    base_url = server.base_url + ("/v1" if provider == "openai" else "")
    own: dict[str, Any] = {"base_url": base_url} | ({"model": "asked-model"} if provider == "openai" else {})
    service: dict[str, Any] = {"batch_size": 3, "concurrency": 1, "timeout_s": 20.0}
    fields = (GeminiConfig if provider == "gemini" else OpenAIConfig).model_fields
    for name, value in changes.items():
        (own if name in fields else service)[name] = value
    return AnnotateConfig.model_validate({"annotators": [provider], provider: own, "service": service})


def built(
    provider: Provider, server: ServiceServer, folder: Path, *, vote: int = 0, seed: int = 0, **changes: Any
) -> ServiceAnnotator:
    config = settings(provider, server, **changes)
    return build_service(
        provider,
        config,
        ledger=folder / LEDGER,
        seed=seed,
        vote=vote,
        budget=Budget(config.service.max_cost),
        first_backoff_s=0.02,
        poll_s=0.05,
    )


def annotate(
    provider: Provider,
    server: ServiceServer,
    folder: Path,
    grams: Sequence[str] = GRAMS,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> list[Annotation]:
    annotator = built(provider, server, folder, **changes)
    return list(annotator.annotate(candidates(*grams), progress or SilentProgress()))


def moves(annotations: Sequence[Annotation]) -> dict[str, str]:
    return {each.gram: each.move.value if each.move else "none" for each in annotations}
