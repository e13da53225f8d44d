"""eval: benchmarks, samples per question, decoding."""

from pydantic import Field

from hicra_cli.config.collect import NAME_PATTERN, Name
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.config.section import Section


class EvalSamplingConfig(SamplingConfig):
    # A default of its own in the field, not in a factory: setting another field of the section must not change it.
    temperature: float = Field(
        0.6, ge=0, le=10, description="Softmax temperature; the paper evaluates at 0.6. 0 decodes greedily."
    )


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
    shard: str | None = Field(
        None,
        pattern=r"^[1-9][0-9]{0,5}/[1-9][0-9]{0,5}$",
        description="i/n: only every n-th question from the i-th on, for job arrays; `--merge` joins the parts.",
    )
    limit: int | None = Field(None, ge=1, description="Only the first so many questions of each benchmark.")
    countdown_questions: int = Field(512, ge=1, description="countdown: number of held-out questions.")
    sampling: EvalSamplingConfig = Field(default_factory=EvalSamplingConfig, description="How responses are sampled.")
    gram_set: str | None = Field(
        None, description="Report the planning share of responses under this gram-set; none by default."
    )
