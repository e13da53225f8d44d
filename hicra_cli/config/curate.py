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
        None, description="A person's decisions (JSONL, CSV or YAML): gram, decision accept|reject, move?, reason?."
    )
    interactive: bool = Field(False, description="Ask in the terminal about each gram the rules leave open.")
    gram_set: str | None = Field(
        None, description="Start from this gram-set instead of annotations (for --placebo, --drop, --audit, --export)."
    )
    imports: list[Path] = Field(
        default_factory=list, description="Add the grams of these lists (txt: one a line; JSONL: gram, move)."
    )
    export: Path | None = Field(None, description="Write the accepted grams to this file too (txt or JSONL).")
    missed: int = Field(
        200,
        ge=0,
        description="Propose at most this many grams that are not in the set but near it (the paper's expansion).",
    )
    audit: int = Field(
        0,
        ge=0,
        description="Ask blindly about this many grams, random ones mixed in: precision and recall.",
    )
    placebo: bool = Field(
        False,
        description="Draw random n-grams matched in number, length and frequency (the paper's control).",
    )
    drop: float = Field(
        0.0, ge=0, lt=1, description="Leave out this share of the grams at random (the paper's sensitivity test)."
    )
