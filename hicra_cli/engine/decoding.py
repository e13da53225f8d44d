"""One call of the transformers engine, token by token: which rows live, what they have said, when they leave.

The model's forward, the cache's rows and the draws come together here. Requests, rollouts and weights belong to
`transformers_engine.py`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hicra_cli.config.sampling import SamplingConfig
from hicra_cli.core.errors import EngineError
from hicra_cli.core.seeds import uniforms_for
from hicra_cli.engine.base import Draws, Request
from hicra_cli.engine.forward import Step
from hicra_cli.engine.row_cache import RowCache
from hicra_cli.engine.sampling_math import Drawn

# Prompt tokens (with padding) of one prefill forward: bounds its memory.
_PREFILL_TOKENS = 16384
# Waiting requests are let in when this share of the rows is free: each time costs a forward of its own.
_REFILL_FRACTION = 1 / 8


@dataclass(frozen=True, slots=True)
class Row:
    """One sample on its way; `limit` is the most tokens its response may have."""

    request_index: int
    sample: int
    request: Request
    limit: int


@dataclass(frozen=True, slots=True)
class Response:
    token_ids: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    token_entropy: NDArray[np.float32]


class Decoding:
    """The state of one `generate`: which rows live, what they have said so far, and the numbers they draw with.

    The first `live` entries of every array belong to the live rows, in the order of the cache's rows. Bookkeeping
    lives on the host, because the end of a response has to be seen there at every step anyway.
    """

    def __init__(
        self,
        backbone: Any,
        step: Step,
        cache: RowCache,
        sampling: SamplingConfig,
        stop_ids: NDArray[np.int64],
        use_decode_attention: Callable[[bool], None],
    ) -> None:
        self._backbone = backbone
        self._step = step
        self._use_decode_attention = use_decode_attention
        self._cache = cache
        self._sampling = sampling
        # One place more than the largest stop id, which stands for all tokens beyond it.
        self._is_stop = np.zeros(int(stop_ids.max(initial=-1)) + 2, dtype=np.bool_)
        self._is_stop[stop_ids] = True
        self._device = next(backbone.parameters()).device
        size, longest = cache.rows, sampling.max_new_tokens
        self._rows: list[Row] = []
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

    def admit(self, waiting: deque[list[Row]], draws: Draws) -> None:
        """Let waiting groups in where enough rows are free: their prompts run through the model, each once."""
        free = self._cache.rows - self.live
        if not waiting or (self.live and free < self._cache.rows * _REFILL_FRACTION):
            return
        arriving: list[list[Row]] = []
        while waiting and len(waiting[0]) <= free:
            arriving.append(waiting.popleft())
            free -= len(arriving[-1])
        self._use_decode_attention(False)
        for batch in prefill_batches(arriving):
            self._prefill(batch)
            for row in batch:
                self._enter(row, draws)
        self._use_decode_attention(True)

    def step(self) -> list[tuple[Row, Response]]:
        """One token for every live row; returns the rows that ended with it, which leave the batch."""
        live = self.live
        longest = int(self._lengths[:live].max())
        self._cache.reserve(longest + 1)
        lengths = self._to_device(self._lengths[:live])
        mask = self._cache.begin_step(lengths, longest=longest)
        states = self._step.states(self._to_device(self._newest[:live]), lengths, mask, self._cache)
        numbers = np.arange(live), self._spoken[:live]
        self._keep(self._step.draw(states, self._to_device(self._uniforms[numbers]), self._sampling), numbers)
        stopped = self._is_stop[np.minimum(self._newest[:live], len(self._is_stop) - 1)]
        ended = stopped | (self._spoken[:live] == self._limits[:live])
        return self._leave(np.flatnonzero(ended)) if ended.any() else []

    def _prefill(self, batch: list[Row]) -> None:
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
                self._backbone(
                    input_ids=self._to_device(input_ids),
                    position_ids=torch.arange(width, device=self._device).unsqueeze(0),
                    past_key_values=self._cache,
                    use_cache=True,
                )

    def _enter(self, row: Row, draws: Draws) -> None:
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

    def _leave(self, ended: NDArray[np.int64]) -> list[tuple[Row, Response]]:
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

    def _response(self, place: int) -> Response:
        spoken = int(self._spoken[place])
        return Response(
            self._token_ids[place, :spoken].copy(),
            self._logprobs[place, :spoken].copy(),
            self._token_entropy[place, :spoken].copy(),
        )

    def _to_device(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device, copy=False)


def groups_of(requests: Sequence[Request], *, rows: int, max_new_tokens: int, context: int) -> deque[list[Row]]:
    """The samples of each request, together; in parts of `rows` where a request has more samples than that."""
    groups: deque[list[Row]] = deque()
    for index, request in enumerate(requests):
        limit = min(max_new_tokens, context - len(request.token_ids))
        for first in range(0, len(request.samples), rows):
            samples = request.samples[first : first + rows]
            groups.append([Row(index, sample, request, limit=limit) for sample in samples])
    return groups


def prefill_batches(groups: list[list[Row]]) -> list[list[Row]]:
    """The rows of groups, in order, cut where the padded prompt tokens of one forward would exceed the bound."""
    batches: list[list[Row]] = []
    prompts, width = 0, 0
    for group in groups:
        prompts, width = prompts + 1, max(width, len(group[0].request.token_ids))
        if not batches or prompts * width > _PREFILL_TOKENS:
            batches.append([])
            prompts, width = 1, len(group[0].request.token_ids)
        batches[-1].extend(group)
    return batches
