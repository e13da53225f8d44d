"""eval: benchmarks, samples per question, decoding."""

from pydantic import Field

from hicra_cli.config.collect import NAME_PATTERN, Name
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.config.section import Section


class EvalConfig(Section):
    name: Name | None = Field(
        None, pattern=NAME_PATTERN, description="Name of the evaluation artifact; by default made of policy and bench."
    )
    policy: str = Field("nano", description="Policy to evaluate: artifact reference, path or HF id.")
    bench: list[str] = Field(
        default_factory=lambda: ["countdown"],
        description="Benchmarks: countdown, aime24, aime25, amc23, math500, minerva, olympiad, gsm8k or FILE.jsonl.",
    )
    samples: int | None = Field(
        None,
        ge=1,
        description="Samples per question; by default the paper's (AIME 32, AMC23 4, others 1), countdown 4.",
    )
    pass_k: list[int] = Field(
        default_factory=list, description="k of pass@k; by default the powers of two up to samples."
    )
    limit: int | None = Field(None, ge=1, description="Only the first so many questions of each benchmark.")
    countdown_questions: int = Field(512, ge=1, description="countdown: number of held-out questions.")
    sampling: SamplingConfig = Field(
        default_factory=lambda: SamplingConfig(temperature=0.6),
        description="How responses are sampled; the paper evaluates at temperature 0.6.",
    )
    gram_set: str | None = Field(
        None, description="Report the planning share of responses under this gram-set; none by default."
    )
