"""The key-value cache of the decoding loop: one preallocated row per sample, left-aligned, kept without holes.

Position p of a row lies at column p of its storage. Live rows are the first `live` ones; a finished row is overwritten
by the last live one, so that every step works on a plain slice. Storage per layer: (rows, heads, columns, width), the
order attention reads it in (half the time of (rows, columns, heads, width) on CPU). Full attention only.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from hicra_cli.core.errors import EngineError

ATTENTION_NAME = "hicra_decode"


@dataclass(slots=True)
class _LayerRows:
    keys: Tensor
    values: Tensor


class RowCache(Cache):  # type: ignore[misc]
    """Keys and values of the live rows; the model writes through `update` as it would into any HF cache.

    Two modes: inside `prefilling` the prompts of several new rows are written (several rows may share one prompt,
    which runs through the model once); otherwise each call is one token of each live row, at column `length` of the
    row.
    """

    def __init__(self, *, rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(layers=[])
        self.live = 0
        self._rows = rows
        self._columns = columns
        self._layers: dict[int, _LayerRows] = {}
        self._bias = torch.full((rows, columns), float("-inf"), dtype=dtype, device=device)
        self._owner: Tensor | None = None
        self._lengths = torch.empty(0, dtype=torch.int64, device=device)
        self._slots: dict[int, Tensor] = {}
        self._longest = 0

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def device(self) -> torch.device:
        return self._bias.device

    @property
    def size_bytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._layers.values())

    def clear(self) -> None:
        """Forget every row; the memory stays."""
        self.live = 0

    def begin_step(self, lengths: Tensor, *, longest: int) -> Tensor:
        """Prepare one token per live row at column lengths (live,) int64; returns the additive attention mask.

        The mask is (live, 1, 1, longest + 1) of the model's type: 0 for the row's own columns and the new one, -inf
        beyond.
        """
        self._longest = longest + 1
        self._lengths = lengths
        self._slots = {}
        self._bias.view(-1).index_fill_(0, self._slots_of(heads=1), 0.0)
        return self._bias[: self.live, None, None, : self._longest]

    @contextmanager
    def prefilling(self, lengths: Tensor, owner: Tensor) -> Iterator[None]:
        """Inside, forwards write prompts into the rows after the live ones, which are live afterwards.

        lengths: (new rows,) int64, prompt columns of each. owner: (new rows,) int64, the prompt of each new row.
        """
        first, last = self.live, self.live + len(owner)
        columns = torch.arange(self._columns, device=self._bias.device)
        self._bias[first:last] = torch.where(columns < lengths[:, None], 0.0, float("-inf"))
        self._owner = owner
        try:
            yield
        finally:
            self._owner = None
        self.live = last

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Called by the model's attention: states are (rows or prompts, heads, new tokens, width)."""
        layer = self._layers.get(layer_idx)
        if layer is None:
            layer = self._layers[layer_idx] = _LayerRows(self._allocate(key_states), self._allocate(value_states))
        if self._owner is not None:
            self._write_prompts(layer.keys, key_states, self._owner)
            self._write_prompts(layer.values, value_states, self._owner)
            return key_states, value_states
        return self._write_token(layer.keys, key_states), self._write_token(layer.values, value_states)

    def write_token(self, keys: Tensor, values: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """`update` for one token of each live row, from states (rows, heads, width)."""
        return self.update(keys.unsqueeze(2), values.unsqueeze(2), layer_idx)

    def move(self, source: Tensor, target: Tensor, *, longest: int) -> None:
        """Copy the first `longest` columns of rows `source` over rows `target` (both (m,) int64, disjoint)."""
        for layer in self._layers.values():
            for storage in (layer.keys, layer.values):
                used = storage[:, :, :longest]
                used[target] = used[source]
        self._bias[target] = self._bias[source]

    def reserve(self, columns: int) -> None:
        """Make room for `columns` tokens per row, at least half as many again as before when it has to grow."""
        if columns <= self._columns:
            return
        columns = max(columns, self._columns + self._columns // 2)
        self._bias = nn.functional.pad(self._bias, (0, columns - self._columns), value=float("-inf"))
        for layer in self._layers.values():
            layer.keys = self._grown(layer.keys, columns)
            layer.values = self._grown(layer.values, columns)
        self._columns = columns

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0 if self._owner is not None else self._longest - 1

    def get_query_offset(self, layer_idx: int = 0) -> int:
        return self.get_seq_length(layer_idx)

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return (query_length if self._owner is not None else self._longest), 0

    def get_max_length(self, layer_idx: int | None = None) -> int:
        return self._columns

    def _allocate(self, states: Tensor) -> Tensor:
        _, heads, _, width = states.shape
        # Zeros, not empty: a masked column still meets a weight of 0, and 0 * NaN is NaN.
        return torch.zeros((self._rows, heads, self._columns, width), dtype=states.dtype, device=states.device)

    def _write_prompts(self, storage: Tensor, states: Tensor, owner: Tensor) -> None:
        rows = slice(self.live, self.live + len(owner))
        storage[rows, :, : states.shape[2]] = states.index_select(0, owner)

    def _write_token(self, storage: Tensor, states: Tensor) -> Tensor:
        rows, heads, _, width = states.shape
        storage.view(-1, width).index_copy_(0, self._slots_of(heads=heads), states.reshape(-1, width).to(storage.dtype))
        return storage[:rows, :, : self._longest]

    def _slots_of(self, *, heads: int) -> Tensor:
        """(live * heads,) int64: where this step's token lies in storage seen as (rows * heads * columns, width)."""
        slots = self._slots.get(heads)
        if slots is None:
            first = torch.arange(self.live * heads, device=self._lengths.device).view(-1, heads) * self._columns
            slots = self._slots[heads] = (first + self._lengths[:, None]).view(-1)
        return slots

    def _grown(self, storage: Tensor, columns: int) -> Tensor:
        grown = storage.new_zeros((self._rows, storage.shape[1], columns, storage.shape[3]))
        grown[:, :, : self._columns] = storage
        return grown


def require_full_attention(model: PreTrainedModel) -> None:
    """Raises EngineError where the model keeps anything but the plain keys and values of all its positions."""
    config = model.config.get_text_config(decoder=True)
    if getattr(model.config, "is_encoder_decoder", False):
        raise EngineError(
            f"{type(model).__name__} is an encoder-decoder model; the transformers engine decodes decoder-only models",
            fix="Choose a decoder-only model.",
        )
    kinds = {type(layer).__name__ for layer in DynamicCache(config=config).layers if type(layer) is not DynamicLayer}
    if kinds:
        raise EngineError(
            f"{type(model).__name__} has layers without full attention (cache kinds: {', '.join(sorted(kinds))}); "
            "the transformers engine keeps plain keys and values of every position only",
            fix="Use `--set engine.name=vllm`, or a model with full attention in every layer.",
        )
    if not getattr(model, "_supports_attention_backend", False):
        raise EngineError(
            f"{type(model).__name__} brings attention code of its own that cannot be replaced for decoding",
            fix="Use `--set engine.name=vllm`, or another model.",
        )


@contextmanager
def decode_attention_of(model: PreTrainedModel) -> Iterator[Callable[[bool], None]]:
    """Inside, the yielded switch chooses between decoding attention (True) and the model's own (False).

    The model is in evaluation mode inside; both are restored at the end, because the trainer shares the module.
    """
    AttentionInterface.register(ATTENTION_NAME, decode_attention)
    config = model.config
    own, training = config._attn_implementation, model.training

    def switch(decoding: bool) -> None:
        config._attn_implementation = ATTENTION_NAME if decoding else own

    model.eval()
    try:
        yield switch
    finally:
        config._attn_implementation = own
        model.train(training)


def decode_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of one new token per row; query (n, heads, 1, width), key and value (n, kv heads, columns, width).

    The query heads that share a key head become query positions of it, so keys and values are not repeated.
    """
    extras = ("softcap", "s_aux", "position_bias", "sliding_window")
    unsupported = [name for name in extras if kwargs.get(name) is not None]
    if unsupported:
        raise EngineError(
            f"{type(module).__name__} needs attention with {', '.join(unsupported)}, which this engine lacks",
            fix="Use `--set engine.name=vllm`, or another model.",
        )
    rows, heads, _, width = query.shape
    kv_heads = key.shape[1]
    grouped = query.reshape(rows, kv_heads, heads // kv_heads, width)
    mixed = nn.functional.scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
    return mixed.reshape(rows, 1, heads, value.shape[-1]), None
