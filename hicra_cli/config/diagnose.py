"""diagnose: which runs are laid side by side and how the curves are computed."""

from typing import Literal

from pydantic import Field

from hicra_cli.config.collect import NAME_PATTERN, Name
from hicra_cli.config.section import Section


class DiagnoseConfig(Section):
    name: Name = Field("default", pattern=NAME_PATTERN, description="Name of the diagnosis artifact.")
    trainings: list[str] = Field(
        default_factory=list, description="Trainings to show side by side; by default the newest one of each name."
    )
    evaluations: list[str] = Field(
        default_factory=list,
        description="Evaluations shown in the report's table; by default the newest of each name whose policy a shown "
        "run started from or made.",
    )
    gram_set: str | None = Field(None, description="Count these grams; by default the first training's own gram-set.")
    window: int = Field(1, ge=1, description="Steps pooled for semantic and conditional entropy.")
    following_words: int = Field(3, ge=1, le=8, description="Conditional entropy: words after a strategic gram.")
    unit: Literal["nats", "bits"] = Field("nats", description="Unit of semantic entropy in figures.")
    sample_rollouts: int = Field(6, ge=0, le=100, description="Example rollouts shown with their planning tokens.")
