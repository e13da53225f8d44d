"""Sampling with a transformers model: an own decoding loop over the model's layers.

What makes it faster than `model.generate`: a prompt runs through the model once however many samples it has, finished
rows leave the batch at once, waiting requests take their place, a step moves no keys or values about, known layers run
without their Python (`lean.py`), and a large vocabulary is read once, in tiles (`head.py`).

Token t of a sample is a function of its prompt's log-probs and of number t of the uniforms that belong to (seed,
purpose, step, prompt, sample). Who shares the batch cannot change it, except that a matrix product of another height
may round the logits differently in the last bit (about 1e-7), which flips a draw that falls that close to a border.
The same call on the same machine and number of threads gives the same bytes on CPU.
"""

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.records import FinishReason, Rollout
from hicra_cli.engine.base import Draws, Request
from hicra_cli.engine.decoding import Decoding, Response, Row, groups_of
from hicra_cli.engine.forward import PolicyForward
from hicra_cli.engine.requests import check_prompt, decode_response
from hicra_cli.engine.row_cache import RowCache, decode_attention_of
from hicra_cli.engine.threads import cpu_threads, decoding_threads
from hicra_cli.engine.weights import copy_parameters, load_named

# A larger cache is given back after each call: its memory is the trainer's in between. A smaller one saves allocating.
_KEPT_CACHE_BYTES = 1 << 30
# Columns allocated before any response is known to need them.
_FIRST_COLUMNS = 256


class TransformersEngine:
    """An `Engine` over a HF decoder-only model with full attention; `model` is used where it lies, not copied.

    stop_ids end a response (the emitted one belongs to it). compute_dtype other than the parameters' runs forwards
    under autocast, as a trainer with float32 master weights does. threads: CPU threads that decode, by default one for
    a small model and torch's own number for others. Raises EngineError for models it cannot decode.
    """

    name = "transformers"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        stop_ids: Sequence[int],
        max_rows: int = 256,
        compute_dtype: torch.dtype | None = None,
        threads: int | None = None,
        version: int = 0,
    ) -> None:
        self.version = version
        self.threads = decoding_threads(model) if threads is None else threads
        self._model = model
        self._forward = PolicyForward(model)
        self._tokenizer = tokenizer
        self._max_rows = max_rows
        self._compute_dtype = compute_dtype
        self._stop_ids = np.array(sorted(set(stop_ids)), dtype=np.int64)
        self._cache: RowCache | None = None

    def generate(
        self,
        requests: Sequence[Request],
        sampling: SamplingConfig,
        draws: Draws,
        *,
        on_rollout: Callable[[Rollout], None] | None = None,
        keep: bool = True,
    ) -> list[Rollout]:
        """Sample every request; see `Engine.generate`. A response also ends where the model's context is full."""
        context = context_length(self._model)
        for request in requests:
            check_prompt(request, context)
        rows = min(self._max_rows, sum(len(request.samples) for request in requests))
        if rows == 0:
            return []
        cache = self._fresh_cache(rows, requests, sampling)
        waiting = groups_of(requests, rows=rows, max_new_tokens=sampling.max_new_tokens, context=context)
        finished: dict[tuple[int, int], Rollout] = {}
        autocast_dtype = self._autocast_dtype()
        with (
            cpu_threads(self.threads),
            torch.inference_mode(),
            torch.autocast(cache.device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None),
            decode_attention_of(self._forward.model) as use_decode_attention,
        ):
            step = self._forward.begin(autocast_dtype)
            backbone = self._forward.model.base_model
            decoding = Decoding(backbone, step, cache, sampling, self._stop_ids, use_decode_attention)
            while waiting or decoding.live:
                decoding.admit(waiting, draws)
                for row, response in decoding.step():
                    rollout = self._rollout(row, response)
                    if on_rollout is not None:
                        on_rollout(rollout)
                    if keep:
                        finished[row.request_index, row.sample] = rollout
        if self._cache is not None and self._cache.size_bytes > _KEPT_CACHE_BYTES:
            self._cache = None
        if not keep:
            return []
        return [finished[index, sample] for index, request in enumerate(requests) for sample in request.samples]

    def update_weights(self, model: nn.Module, *, version: int) -> None:
        """See `Engine.update_weights`. The module the engine already decodes with is taken as it is, without a copy."""
        if model is not self._model:
            copy_parameters(model, self._model)
        self.version = version

    def load_weights(self, named: Iterable[tuple[str, Tensor]], *, version: int) -> None:
        """See `Engine.load_weights`."""
        load_named(named, self._model)
        self.version = version

    def close(self) -> None:
        self._cache = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fresh_cache(self, rows: int, requests: Sequence[Request], sampling: SamplingConfig) -> RowCache:
        longest = max(len(request.token_ids) for request in requests)
        columns = longest + min(sampling.max_new_tokens, _FIRST_COLUMNS)
        if self._cache is None or self._cache.rows < rows:
            self._cache = None  # Frees the old one before the new one is allocated.
            parameter = next(self._model.parameters())
            self._cache = RowCache(rows=rows, columns=columns, dtype=parameter.dtype, device=parameter.device)
        self._cache.clear()
        self._cache.reserve(columns)
        return self._cache

    def _autocast_dtype(self) -> torch.dtype | None:
        """The precision to compute in, where it is not that of the parameters."""
        return None if self._compute_dtype == next(self._model.parameters()).dtype else self._compute_dtype

    def _rollout(self, row: Row, response: Response) -> Rollout:
        stopped = bool(np.isin(response.token_ids[-1], self._stop_ids))
        return Rollout(
            prompt=row.request.prompt,
            sample=row.sample,
            prompt_token_ids=row.request.token_ids,
            token_ids=response.token_ids,
            text=decode_response(self._tokenizer, response.token_ids),
            finish_reason=FinishReason.STOP if stopped else FinishReason.LENGTH,
            sampler_logprobs=response.logprobs,
            token_entropy=response.token_entropy,
        )


def context_length(model: Any) -> int:
    """Most tokens (prompt and response) the model has positions for; very many where it names no limit."""
    limit = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    return int(limit) if limit else 1 << 30
