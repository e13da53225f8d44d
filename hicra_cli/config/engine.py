"""The engine that samples responses: for collect-grams, train and eval alike."""

from typing import Annotated, Literal

from pydantic import Field

from hicra_cli.config.section import Section


class EngineConfig(Section):
    name: Literal["transformers", "vllm"] = Field(
        "transformers", description="`transformers`: own decoding loop; `vllm`: in process, needs the extra `vllm`."
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
        None, ge=8, description="vllm: longest prompt + response; by default what the stage's sampling needs."
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
