"""The engine that samples responses: for collect-grams, train and eval alike."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from hicra_cli.config.section import Section


class EngineConfig(Section):
    name: Literal["transformers", "vllm", "openai"] = Field(
        "transformers",
        description="`transformers`: own decoding loop; `vllm`: in process, needs the extra `vllm`; `openai`: a server "
        "that speaks OpenAI's completions API, such as vLLM's, for eval only.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Precision of the engine's weights; auto is float32 on CPU and bfloat16 on a GPU."
    )
    max_rows: int = Field(
        256, ge=1, description="transformers: rows decoded together; a finished row makes room for the next."
    )
    threads: Annotated[int, Field(ge=1)] | Literal["auto", "probe"] = Field(
        "auto",
        description="transformers on CPU: threads that decode. auto: one for a model of under 4 million weights, whose "
        "steps are too short to share, else all; probe: the fastest number, measured at start (it may differ between "
        "runs, and with it the last bits of what is sampled).",
    )
    max_model_len: int | None = Field(
        None,
        ge=8,
        description="vllm, openai: longest prompt + response; by default what the sampling needs or the model and "
        "the server allow.",
    )
    gpu_memory_fraction: float = Field(0.5, gt=0, le=1, description="vllm on GPU: share of the memory it may take.")
    enforce_eager: bool | None = Field(
        None, description="vllm: no graph capture; by default true on CPU, where compiling costs a minute."
    )
    tensor_parallel: int = Field(1, ge=1, description="vllm: GPUs that share one model.")
    probe_tolerance: float | None = Field(
        None,
        gt=0,
        description="Largest log-prob difference (nats) between engine and trainer on the probe prompt after a "
        "weight update; beyond it the run stops. By default 1e-3 in float32 and 0.25 in 16 bits.",
    )
    base_url: str = Field(
        "http://127.0.0.1:8000/v1",
        description="openai: the server's address; the key, where it wants one, is taken from OPENAI_API_KEY.",
    )
    model: str | None = Field(None, min_length=1, description="openai: name of the model, as the server lists it.")
    prompt_as: Literal["tokens", "text"] = Field(
        "tokens",
        description="openai: send the rendered prompt as token ids, or as text to a server that takes no ids. Where "
        "the server reads other tokens from it than hicra, the run stops.",
    )
    concurrency: int = Field(32, ge=1, le=4096, description="openai: requests in flight.")
    timeout_s: float = Field(
        1800.0,
        gt=0,
        le=86_400,
        description="openai: seconds for one response, its wait in the server's queue included.",
    )
    max_attempts: int = Field(
        8, ge=1, le=100, description="openai: failed attempts per response before the run stops; rate limits are none."
    )
    retry_budget_s: float = Field(
        1800.0, gt=0, description="openai: seconds that waiting for further attempts may take in the whole run."
    )
    logprobs: bool = Field(
        False,
        description="openai: ask for log-probs. They are right only where the server reports those of the distribution "
        "it samples from (vLLM: --logprobs-mode processed_logprobs).",
    )

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("an address starts with http:// or https://")
        if any(sign in url for sign in "@?#"):
            raise ValueError("an address holds no user name, password or query; a key belongs into OPENAI_API_KEY")
        return url.rstrip("/")

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that decide what is sampled, and so belong to the key of what is stored."""
        always: dict[str, Any] = {"name": self.name, "dtype": self.dtype}
        if self.name != "openai":
            return always
        return {**always, "base_url": self.base_url, "model": self.model, "prompt_as": self.prompt_as}
