"""curate: how annotations become a gram-set."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from hicra_cli.config.collect import NAME_PATTERN, Name
from hicra_cli.config.section import Section

NO_ANNOTATIONS = "none"


class CurateConfig(Section):
    name: Name | None = Field(
        None,
        pattern=NAME_PATTERN,
        description="Name of the gram-set artifact; by default `default`, with `gram_set` its name, and for a control "
        "that name with `-placebo` or `-drop-30`.",
    )
    annotations: str | None = Field(
        None,
        description="Annotations to curate, by default annotations:default. With `imports` they may be missing; `none` "
        "leaves them out.",
    )
    candidates: str | None = Field(
        None,
        description="Where figures, contexts, missed grams, placebos and the rollouts for the coverage come from; by "
        "default the candidates that annotations or gram-set were made from, else the newest.",
    )
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
        None,
        description="Start from this gram-set instead of annotations: an artifact, a shipped one (`default-en`) or a "
        "file. Controls start from gram-set:default where none is given.",
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

    @model_validator(mode="after")
    def _one_way(self) -> "CurateConfig":
        if self.placebo and self.drop:
            raise ValueError("placebo and drop are two controls; run curate once for each")
        given = [
            name
            for name, is_given in (
                ("annotations", self.annotations is not None),
                ("imports", bool(self.imports)),
                ("decisions", self.decisions is not None),
                ("interactive", self.interactive),
                ("audit", self.audit > 0),
            )
            if is_given
        ]
        if (self.placebo or self.drop) and given:
            raise ValueError(f"a control is drawn from a finished gram-set (gram_set): {given[0]} does not apply")
        if self.gram_set is not None and self.annotations not in (None, NO_ANNOTATIONS):
            raise ValueError("annotations and gram_set are two places to start from; give one")
        if self.interactive and self.audit:
            raise ValueError("interactive and audit are two rounds of questions; run curate once for each")
        return self
