"""collect-grams: where solutions come from and which n-grams are counted."""

from pathlib import Path
from typing import Literal

from pydantic import ByteSize, Field, model_validator

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.config.section import Section

Name = str
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"


class RolloutFields(Section):
    """Names of the fields in a user's rollout file."""

    problem_id: str | None = Field(
        None, description="Names the problem; by default `id` of the problem text, so equal texts are one problem."
    )
    problem: str = Field("problem", description="The question.")
    response: str = Field("response", description="The solution's full text.")
    correct: str | None = Field("correct", description="true, false or null (unknown); empty: grade against `gold`.")
    gold: str | None = Field("gold", description="Gold answer, graded strictly where `correct` is absent.")
    policy: str | None = Field("model", description="Which model wrote it.")
    step: str | None = Field("step", description="Its RL step.")


class CollectConfig(Section):
    name: Name = Field("default", pattern=NAME_PATTERN, description="Name of the candidates artifact.")
    policies: list[str] = Field(
        default_factory=lambda: ["nano"],
        description="Policies to sample: artifact references, paths or HF ids; several = different iterations.",
    )
    training: str | None = Field(None, description="Sample the checkpoints of this training instead of `policies`.")
    points: int = Field(5, ge=1, description="How many checkpoints of `training`, spread evenly over the run.")
    rollouts: list[Path] = Field(
        default_factory=list,
        description="Read existing rollouts instead of sampling: files (JSONL, .gz or .zst, Parquet), folders of them, "
        "a saved data set, hf:OWNER/NAME[/SUBSET][@REVISION][:SPLIT], rollouts:NAME, training:NAME.",
    )
    fields: RolloutFields = Field(default_factory=RolloutFields, description="Field names of `rollouts`.")
    num_prompts: int = Field(256, ge=1, description="Training problems to sample.")
    samples: int = Field(4, ge=1, description="Rollouts per problem and policy.")
    sampling: SamplingConfig = Field(default_factory=SamplingConfig, description="How to sample.")
    successful_only: bool = Field(True, description="Count only solutions that are correct (the paper's rule).")
    unknown_is_success: bool = Field(False, description="Count solutions whose correctness is unknown.")
    ngram_min: int = Field(3, ge=1, le=8, description="Shortest gram, in words.")
    ngram_max: int = Field(5, ge=1, le=8, description="Longest gram, in words.")
    min_document_frequency: int = Field(
        3, ge=1, description="Drop grams that fewer *problems* use (rollouts of one problem count once)."
    )
    document: Literal["problem", "solution"] = Field(
        "problem", description="What document frequency counts: problems (many rollouts of one are one) or solutions."
    )
    drop_names: bool = Field(True, description="Drop grams with a name that comes from the problem text.")
    merge_phrases: bool = Field(
        True,
        description="Drop grams that are hardly used but inside a longer one (C-value), so that a phrase is one gram.",
    )
    rank_by: Literal["combined", "document_frequency", "log_odds", "growth"] = Field(
        "combined",
        description="Order of the candidates: problems that use the gram, association with success, growth from early "
        "to late checkpoints, or all of them together with sparsity inside a solution.",
    )
    balance: bool = Field(
        True,
        description="Rank as if each policy and step had given equally many solutions, so that late checkpoints, which "
        "solve more, do not decide alone; no count changes.",
    )
    memory: ByteSize = Field(ByteSize(2 * 10**9), ge=10**8, description="Memory counting may take, e.g. 500MB or 4GB.")
    workers: int = Field(0, ge=0, description="Processes that count; 0 is one per core.")
    max_candidates: int = Field(20000, ge=1, description="Keep the candidates ranked first, at most this many.")
    contexts: int = Field(3, ge=0, le=20, description="Example contexts kept per gram.")

    @model_validator(mode="after")
    def _range(self) -> "CollectConfig":
        if self.ngram_min > self.ngram_max:
            raise ValueError(f"ngram_min ({self.ngram_min}) is larger than ngram_max ({self.ngram_max})")
        return self
