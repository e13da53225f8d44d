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
        description="Benchmarks: countdown, aime24, aime25, amc23, math500, minerva, olympiad, gsm8k, amc22_23, "
        "hmmt_24_25; paper-text, aime or all for several; a file (JSONL, Parquet) or folder of questions; "
        "hf:OWNER/NAME[:SUBSET][@COMMIT] of the hub; a benchmark's own YAML.",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="How a file, folder or data set of the hub names problem, answer, id and context, and by which "
        "rule `gold` is read: auto, plain, gsm8k (after ####), boxed (last box) or list. The usual names need none.",
    )
    split: str | None = Field(None, description="Split of a folder or of a data set of the hub; by default test.")
    accept_other_data: bool = Field(
        False,
        description="Evaluate a known benchmark although its questions or golds are not the published ones; by default "
        "such a copy is refused.",
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
