"""curate: how annotations become a gram-set."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from hicra_cli.config.collect import NAME_PATTERN, Name
from hicra_cli.config.section import Section


class CurateConfig(Section):
    name: Name = Field("default", pattern=NAME_PATTERN, description="Name of the gram-set artifact.")
    annotations: str = Field("annotations:default", description="Annotations to curate.")
    min_confidence: float = Field(0.5, ge=0, le=1, description="Accept grams at or above this confidence.")
    min_document_frequency: int = Field(3, ge=1, description="Accept grams that at least this many problems use.")
    nested: Literal["maximal", "shortest", "keep"] = Field(
        "maximal",
        description="A gram inside a longer accepted one that accounts for most of its uses: `maximal` keeps the "
        "longer, `shortest` the shorter, `keep` both.",
    )
    nested_share: float = Field(
        0.8, gt=0, le=1, description="Nested rule: share of the shorter gram's uses that the longer must cover."
    )
    max_grams: int = Field(500, ge=1, description="Keep the most widespread accepted grams, at most this many.")
    decisions: Path | None = Field(
        None, description="JSONL of a person's decisions: {gram, decision: accept|reject, move?, reason?}."
    )
    interactive: bool = Field(False, description="Ask in the terminal about each gram the rules leave open.")
