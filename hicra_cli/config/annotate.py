"""annotate-grams: which candidates are strategic, and by whose judgement."""

from typing import Literal

from pydantic import Field, field_validator

from hicra_cli.config.annotate_cluster import ClusterConfig
from hicra_cli.config.annotate_service import GeminiConfig, OpenAIConfig, ServiceConfig
from hicra_cli.config.collect import NAME_PATTERN, Name
from hicra_cli.config.section import Section

AnnotatorName = Literal["lexicon", "cluster", "gemini", "openai"]


class AnnotateConfig(Section):
    name: Name = Field("default", pattern=NAME_PATTERN, description="Name of the annotations artifact.")
    candidates: str = Field("candidates:default", description="Candidates to annotate.")
    annotators: list[AnnotatorName] = Field(
        ["lexicon"],
        min_length=1,
        description="Who judges; several are combined and their agreement measured. `lexicon`: offline rules; "
        "`cluster`: clusters of embeddings, offline; `gemini`: Google's API (needs GEMINI_API_KEY); `openai`: any "
        "OpenAI-compatible server.",
    )
    votes: int = Field(
        1,
        ge=1,
        le=15,
        description="Judgements per gram of gemini and openai, each asked anew in another order; at "
        "annotate.service.temperature 0 they differ by the order alone.",
    )
    max_grams: int = Field(3000, ge=1, description="Annotate the candidates ranked first, at most this many.")
    service: ServiceConfig = Field(default_factory=ServiceConfig, description="How gemini and openai are asked.")
    gemini: GeminiConfig = Field(default_factory=GeminiConfig, description="Google's API.")
    openai: OpenAIConfig = Field(default_factory=OpenAIConfig, description="An OpenAI-compatible server.")
    cluster: ClusterConfig = Field(default_factory=ClusterConfig, description="Embedding and clustering.")

    @field_validator("annotators")
    @classmethod
    def _distinct(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names):
            raise ValueError("an annotator is named twice; --votes asks one several times")
        return names
