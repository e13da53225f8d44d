"""annotate-grams: which candidates are strategic, and by whose judgement."""

from typing import Literal

from pydantic import Field

from hicra_cli.config.collect import NAME_PATTERN, Name
from hicra_cli.config.section import Section


class AnnotateConfig(Section):
    name: Name = Field("default", pattern=NAME_PATTERN, description="Name of the annotations artifact.")
    candidates: str = Field("candidates:default", description="Candidates to annotate.")
    annotator: Literal["lexicon", "gemini"] = Field(
        "lexicon", description="`lexicon`: offline rules; `gemini`: Google's API (needs GEMINI_API_KEY)."
    )
    max_grams: int = Field(3000, ge=1, description="Annotate the most widespread candidates, at most this many.")
    model: str = Field("gemini-2.5-flash", description="gemini: model name; the paper used Gemini-2.5.")
    base_url: str | None = Field(None, description="gemini: another endpoint that speaks its API.")
    batch_size: int = Field(40, ge=1, le=500, description="gemini: grams per request.")
    concurrency: int = Field(4, ge=1, le=64, description="gemini: requests in flight.")
    max_attempts: int = Field(5, ge=1, le=20, description="gemini: attempts per request before it is given up.")
    timeout_s: float = Field(120.0, gt=0, description="gemini: deadline of one request in seconds.")
    retry_budget_s: float = Field(900.0, gt=0, description="gemini: total seconds that waiting for retries may take.")
    temperature: float = Field(0.0, ge=0, le=2, description="gemini: sampling temperature.")
