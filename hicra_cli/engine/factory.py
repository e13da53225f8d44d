"""From configuration to an engine: device, precision, threads, and which engine is built."""

from pathlib import Path

import torch

from hicra_cli.config.root import HicraConfig
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import ConfigError
from hicra_cli.engine.base import Engine
from hicra_cli.engine.policy import LoadedPolicy, load_policy, policy_directory
from hicra_cli.engine.threads import fastest_threads, usable_cores

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def build_engine(
    config: HicraConfig,
    policy: LoadedPolicy | str | Path,
    *,
    sampling: SamplingConfig,
    longest_prompt: int | None = None,
) -> Engine:
    """The configured engine over `policy`.

    A LoadedPolicy is shared with the transformers engine (the trainer's own module; its updates cost nothing). vLLM
    loads the directory itself. `longest_prompt` (tokens), where known, bounds the memory vLLM sets aside. The engine
    openai samples from a server, so ConfigError is raised where it is to share a policy's weights.
    """
    if config.engine.name == "openai":
        return _served(config, policy)
    device = resolve_device(config)
    dtype = resolve_dtype(config, device)
    if config.engine.name == "vllm":
        from hicra_cli.engine.vllm_engine import VllmEngine

        path = policy.path if isinstance(policy, LoadedPolicy) else policy_directory(policy)
        needed = None if longest_prompt is None else longest_prompt + sampling.max_new_tokens
        return VllmEngine(
            path, config.engine, dtype=dtype, device=device, max_model_len=config.engine.max_model_len or needed
        )
    from hicra_cli.engine.transformers_engine import TransformersEngine

    loaded = policy if isinstance(policy, LoadedPolicy) else load_policy(policy, dtype=dtype, device=device)
    threads = config.engine.threads
    engine = TransformersEngine(
        loaded.model,
        loaded.tokenizer,
        stop_ids=loaded.stop_ids,
        max_rows=config.engine.max_rows,
        compute_dtype=dtype,
        threads=threads if isinstance(threads, int) else None,
    )
    if threads == "probe" and device.type == "cpu":
        engine.threads = fastest_threads(engine, most=torch.get_num_threads())
    return engine


def _served(config: HicraConfig, policy: LoadedPolicy | str | Path) -> Engine:
    from hicra_cli.engine.openai_engine import OpenAIEngine

    if isinstance(policy, LoadedPolicy):
        raise ConfigError(
            "the engine openai samples from a server's weights, not from those of this run: it is for eval only",
            where="engine.name",
            fix="Use `--set engine.name=transformers` or `vllm`",
        )
    return OpenAIEngine(policy_directory(policy), config.engine)


def resolve_device(config: HicraConfig) -> torch.device:
    """The device to compute on. Raises ConfigError where a GPU is asked for and there is none."""
    if config.device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    if config.device == "cuda":
        raise ConfigError(
            "no CUDA device is available to this torch",
            where="device",
            fix="Set `device: auto`, or see `hicra doctor`.",
        )
    return torch.device("cpu")


def resolve_dtype(config: HicraConfig, device: torch.device) -> torch.dtype:
    """The engine's precision: as configured, else float32 on CPU and bfloat16 on a GPU."""
    if config.engine.dtype != "auto":
        return _DTYPES[config.engine.dtype]
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def set_threads(config: HicraConfig, *, processes: int = 1) -> int:
    """Give torch its CPU threads, by default the cores that `processes` on this machine may share; returns them."""
    threads = config.threads or usable_cores(processes=processes)
    torch.set_num_threads(threads)
    return threads
