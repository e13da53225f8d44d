"""How responses are sampled; a section inside `collect`, `train` and `eval`."""

from pydantic import Field

from hicra_cli.config.section import Section


class SamplingConfig(Section):
    temperature: float = Field(1.0, ge=0, le=10, description="Softmax temperature; 0 decodes greedily.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus sampling; 1 is off. Refused for training.")
    top_k: int = Field(0, ge=0, description="Sample from the k likeliest tokens; 0 is off. Refused for training.")
    max_new_tokens: int = Field(
        192, ge=1, description="Response limit in tokens; a longer response is cut and its outcome is `truncated`."
    )
