"""Sampling with a transformers model: an own decoding loop over the model's normal forward.

What makes it faster than `model.generate`: a prompt runs through the model once however many samples it has, finished
rows leave the batch at once, waiting requests take their place, and a step moves no keys or values about.

Token t of a sample is a function of its prompt's log-probs and of number t of the uniforms that belong to (seed,
purpose, step, prompt, sample). Who shares the batch cannot change it, except that a matrix product of another height
may round the logits differently in the last bit (about 1e-7), which flips a draw that falls that close to a border.
The same call on the same machine and number of threads gives the same bytes on CPU.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import EngineError
from hicra_cli.core.records import FinishReason, Rollout
from hicra_cli.core.seeds import uniforms_for
from hicra_cli.engine.base import Draws, Request
from hicra_cli.engine.requests import check_prompt, decode_response
from hicra_cli.engine.row_cache import RowCache, decode_attention_of, require_full_attention
from hicra_cli.engine.sampling_math import Drawn, draw_tokens

# Prompt tokens (with padding) of one prefill forward: bounds its memory.
_PREFILL_TOKENS = 16384
# Waiting requests are let in when this share of the rows is free: each time costs a forward of its own.
_REFILL_FRACTION = 1 / 8
# A larger cache is given back after each call: its memory is the trainer's in between. A smaller one saves allocating.
_KEPT_CACHE_BYTES = 1 << 30
# Columns allocated before any response is known to need them.
_FIRST_COLUMNS = 256


class TransformersEngine:
    """An `Engine` over a HF decoder-only model with full attention; `model` is used where it lies, not copied.

    stop_ids end a response (the emitted one belongs to it). compute_dtype other than the parameters' runs forwards
    under autocast, as a trainer with float32 master weights does. Raises EngineError for models it cannot decode.
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
        version: int = 0,
    ) -> None:
        require_full_attention(model)
        self.version = version
        self._model = model
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
    ) -> list[Rollout]:
        """Sample every request; see `Engine.generate`. A response also ends where the model's context is full."""
        context = context_length(self._model)
        for request in requests:
            check_prompt(request, context)
        rows = min(self._max_rows, sum(len(request.samples) for request in requests))
        if rows == 0:
            return []
        decoding = _Decoding(self._model, self._fresh_cache(rows, requests, sampling), sampling, self._stop_ids)
        waiting = _groups(requests, rows=rows, max_new_tokens=sampling.max_new_tokens, context=context)
        finished: dict[tuple[int, int], Rollout] = {}
        with (
            torch.inference_mode(),
            self._autocast(),
            decode_attention_of(self._model) as decoding.use_decode_attention,
        ):
            while waiting or decoding.live:
                decoding.admit(waiting, draws)
                for row, response in decoding.step():
                    rollout = finished[row.request_index, row.sample] = self._rollout(row, response)
                    if on_rollout is not None:
                        on_rollout(rollout)
        if self._cache is not None and self._cache.size_bytes > _KEPT_CACHE_BYTES:
            self._cache = None
        return [finished[index, sample] for index, request in enumerate(requests) for sample in request.samples]

    def update_weights(self, model: nn.Module, *, version: int) -> None:
        """See `Engine.update_weights`. The module the engine already decodes with is taken as it is, without a copy."""
        if model is not self._model:
            copy_parameters(model, self._model)
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

    def _autocast(self) -> Any:
        parameter = next(self._model.parameters())
        if self._compute_dtype in (None, parameter.dtype):
            return nullcontext()
        return torch.autocast(parameter.device.type, dtype=self._compute_dtype)

    def _rollout(self, row: "_Row", response: "_Response") -> Rollout:
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


def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Copy all weights by name. Raises EngineError, before anything is changed, where names or shapes differ."""
    new, old = source.state_dict(), target.state_dict()
    differing = sorted(new.keys() ^ old.keys()) or sorted(name for name in new if new[name].shape != old[name].shape)
    if differing:
        raise EngineError(
            f"the new weights do not fit the engine's model: {len(differing)} tensors differ in name or shape, "
            f"first {differing[0]}",
            fix="Give the engine the unwrapped model of the same architecture.",
        )
    with torch.no_grad():
        for name, tensor in old.items():
            tensor.copy_(new[name])


@dataclass(frozen=True, slots=True)
class _Row:
    """One sample on its way; `limit` is the most tokens its response may have."""

    request_index: int
    sample: int
    request: Request
    limit: int


@dataclass(frozen=True, slots=True)
class _Response:
    token_ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    token_entropy: NDArray[np.float32]


class _Decoding:
    """The state of one `generate`: which rows live, what they have said so far, and the numbers they draw with.

    The first `live` entries of every array belong to the live rows, in the order of the cache's rows. Bookkeeping
    lives on the host, because the end of a response has to be seen there at every step anyway.
    """

    def __init__(self, model: Any, cache: RowCache, sampling: SamplingConfig, stop_ids: NDArray[np.int64]) -> None:
        self.use_decode_attention: Callable[[bool], None] = lambda decoding: None
        self._model = model
        self._cache = cache
        self._sampling = sampling
        self._stop_ids = stop_ids
        self._device = next(model.parameters()).device
        size, longest = cache.rows, sampling.max_new_tokens
        self._rows: list[_Row] = []
        self._lengths = np.zeros(size, dtype=np.int64)  # columns filled; the newest token is not among them
        self._spoken = np.zeros(size, dtype=np.int64)  # response tokens so far
        self._limits = np.zeros(size, dtype=np.int64)
        self._newest = np.zeros(size, dtype=np.int64)
        self._uniforms = np.zeros((size, longest), dtype=np.float64)
        self._token_ids = np.zeros((size, longest), dtype=np.int32)
        self._logprobs = np.zeros((size, longest), dtype=np.float32)
        self._token_entropy = np.zeros((size, longest), dtype=np.float32)

    @property
    def live(self) -> int:
        return len(self._rows)

    def admit(self, waiting: deque[list[_Row]], draws: Draws) -> None:
        """Let waiting groups in where enough rows are free: their prompts run through the model, each once."""
        free = self._cache.rows - self.live
        if self.live and free < self._cache.rows * _REFILL_FRACTION:
            return
        arriving: list[list[_Row]] = []
        while waiting and len(waiting[0]) <= free:
            arriving.append(waiting.popleft())
            free -= len(arriving[-1])
        self.use_decode_attention(False)
        for batch in _prefill_batches(arriving):
            self._prefill(batch)
            for row in batch:
                self._enter(row, draws)

    def step(self) -> list[tuple[_Row, _Response]]:
        """One token for every live row; returns the rows that ended with it, which leave the batch."""
        live = self.live
        longest = int(self._lengths[:live].max())
        self._cache.reserve(longest + 1)
        self.use_decode_attention(True)
        lengths = self._to_device(self._lengths[:live])
        logits = self._model(
            input_ids=self._to_device(self._newest[:live]).unsqueeze(1),
            position_ids=lengths.unsqueeze(1),
            attention_mask=self._cache.begin_step(lengths, longest=longest),
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        numbers = np.arange(live), self._spoken[:live]
        self._keep(draw_tokens(logits, self._to_device(self._uniforms[numbers]), self._sampling), numbers)
        ended = (self._spoken[:live] == self._limits[:live]) | np.isin(self._newest[:live], self._stop_ids)
        return self._leave(np.flatnonzero(ended)) if ended.any() else []

    def _prefill(self, batch: list[_Row]) -> None:
        """Write all prompt tokens but the last into the cache; the last one is the first step's input."""
        prompts: dict[int, int] = {}
        owner = [prompts.setdefault(row.request_index, len(prompts)) for row in batch]
        lengths = np.array([len(row.request.token_ids) - 1 for row in batch], dtype=np.int64)
        width = int(lengths.max())
        self._cache.reserve(width + 1)
        input_ids = np.zeros((len(prompts), width), dtype=np.int64)
        for row, place in zip(batch, owner, strict=True):
            ids = row.request.token_ids[:-1]
            input_ids[place, : len(ids)] = ids
        owner_ids = torch.tensor(owner, device=self._device)
        with self._cache.prefilling(self._to_device(lengths), owner_ids):
            if width:
                # Padding stands on the right, so causal attention alone keeps it out of every real position.
                self._model.base_model(
                    input_ids=self._to_device(input_ids),
                    position_ids=torch.arange(width, device=self._device).unsqueeze(0),
                    past_key_values=self._cache,
                    use_cache=True,
                )

    def _enter(self, row: _Row, draws: Draws) -> None:
        place = self.live
        self._rows.append(row)
        self._lengths[place] = len(row.request.token_ids) - 1
        self._spoken[place] = 0
        self._limits[place] = row.limit
        self._newest[place] = row.request.token_ids[-1]
        prompt = row.request.prompt.id
        self._uniforms[place, : row.limit] = uniforms_for(
            row.limit, draws.seed, draws.purpose, step=draws.step, prompt=prompt, sample=row.sample
        )

    def _keep(self, drawn: Drawn, numbers: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
        live = self.live
        logprobs, token_entropy = drawn.logprobs.cpu().numpy(), drawn.token_entropy.cpu().numpy()
        broken = ~np.isfinite(logprobs + token_entropy)
        if broken.any():
            row = int(np.flatnonzero(broken)[0])
            raise EngineError(
                f"the model's distribution for prompt {self._rows[row].request.prompt.id!r}, sample "
                f"{self._rows[row].sample}, response token {self._spoken[row]} is not finite",
                fix="The weights are damaged or diverged: use an earlier checkpoint or a lower learning rate.",
            )
        self._newest[:live] = drawn.token_ids.cpu().numpy()
        self._token_ids[numbers] = self._newest[:live]
        self._logprobs[numbers] = logprobs
        self._token_entropy[numbers] = token_entropy
        self._spoken[:live] += 1
        self._lengths[:live] += 1

    def _leave(self, ended: NDArray[np.int64]) -> list[tuple[_Row, _Response]]:
        responses = [(self._rows[place], self._response(place)) for place in ended]
        remaining = self.live - len(ended)
        holes = ended[ended < remaining]
        movers = np.setdiff1d(np.arange(remaining, self.live), ended)
        if len(holes):
            longest = int(self._lengths[movers].max())
            self._cache.move(self._to_device(movers), self._to_device(holes), longest=longest)
            self._move_bookkeeping(movers, holes)
        del self._rows[remaining:]
        self._cache.live = remaining
        return responses

    def _move_bookkeeping(self, movers: NDArray[np.int64], holes: NDArray[np.int64]) -> None:
        for one_value in (self._lengths, self._spoken, self._limits, self._newest):
            one_value[holes] = one_value[movers]
        for mover, hole in zip(movers, holes, strict=True):
            self._rows[hole] = self._rows[mover]
            spoken, limit = self._spoken[mover], self._limits[mover]
            for history in (self._token_ids, self._logprobs, self._token_entropy):
                history[hole, :spoken] = history[mover, :spoken]
            self._uniforms[hole, spoken:limit] = self._uniforms[mover, spoken:limit]

    def _response(self, place: int) -> _Response:
        spoken = int(self._spoken[place])
        return _Response(
            self._token_ids[place, :spoken].copy(),
            self._logprobs[place, :spoken].copy(),
            self._token_entropy[place, :spoken].copy(),
        )

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device, copy=False)


def _groups(requests: Sequence[Request], *, rows: int, max_new_tokens: int, context: int) -> deque[list[_Row]]:
    """The samples of each request, together; in parts of `rows` where a request has more samples than that."""
    groups: deque[list[_Row]] = deque()
    for index, request in enumerate(requests):
        limit = min(max_new_tokens, context - len(request.token_ids))
        for first in range(0, len(request.samples), rows):
            samples = request.samples[first : first + rows]
            groups.append([_Row(index, sample, request, limit=limit) for sample in samples])
    return groups


def _prefill_batches(groups: list[list[_Row]]) -> list[list[_Row]]:
    """The rows of groups, in order, cut where the padded prompt tokens of one forward would exceed the bound."""
    batches: list[list[_Row]] = []
    prompts, width = 0, 0
    for group in groups:
        prompts, width = prompts + 1, max(width, len(group[0].request.token_ids))
        if not batches or prompts * width > _PREFILL_TOKENS:
            batches.append([])
            prompts, width = 1, len(group[0].request.token_ids)
        batches[-1].extend(group)
    return batches
